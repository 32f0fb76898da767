package transfer

import (
	"io"
	"slices"
	"sync/atomic"
	"testing"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

// counted is a stream that tells how much of it was read, and that it was closed.
type counted struct {
	io.Reader
	read   *atomic.Int64
	closed chan<- struct{}
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c *counted) Close() error {
	c.closed <- struct{}{}
	return nil
}

// fromCounted is fromStream of counted streams.
func fromCounted(a *Attempt, body Body) (opened, read *atomic.Int64, closed chan struct{}) {
	fromStream(a, body, body.Size)
	opened, read, closed = new(atomic.Int64), new(atomic.Int64), make(chan struct{}, 100)
	a.Body = func() (io.ReadCloser, error) {
		opened.Add(1)
		return &counted{body.Reader(), read, closed}, nil
	}
	return opened, read, closed
}

// A stream that is sent in pieces is read once.
func TestStreamInPieces(t *testing.T) {
	u := newCareful(t, bulk, UploadLimits(UploadLimit{MaxAppendSize: 7_001}))
	opened, read, closed := fromCounted(u.a, bulk)
	u.uploaded(u.retried(1))
	if <-closed; opened.Load() != 1 || read.Load() != bulk.Size || len(closed) != 0 {
		t.Errorf("opened %d times, %d bytes read, and closed %d times more", opened.Load(), read.Load(), len(closed))
	}
	if n := len(u.srv.RequestsBy("PATCH")); n != 86 {
		t.Errorf("%d pieces", n)
	}
}

// Where a piece does not follow the one before, the stream is opened anew; each is closed.
func TestStreamGoesBack(t *testing.T) {
	u := newCareful(t, bulk, UploadLimits(UploadLimit{MaxAppendSize: 100_000}))
	opened, read, closed := fromCounted(u.a, bulk)
	u.srv.Always("/f", UploadAll(nth("PATCH", 2, UploadConflicts()), nth("PATCH", 5, UploadCut(50_000)), nth("HEAD", 2, UploadRollsBack(90_000))))
	u.uploaded(u.retried(2))
	for range 3 {
		<-closed
	}
	if opened.Load() != 3 || len(closed) != 0 {
		t.Errorf("opened %d times, closed %d times more", opened.Load(), len(closed))
	}
	if n := read.Load(); n > 2*bulk.Size {
		t.Errorf("%d bytes were read", n)
	}
}

// A stream that is kept for a next piece is closed with the attempt, also by a transport that reads on after that.
func TestStreamIsClosed(t *testing.T) {
	u := newCareful(t, bulk, UploadLimits(UploadLimit{MaxAppendSize: 100_000}))
	_, _, closed := fromCounted(u.a, bulk)
	u.srv.Always("/f", nth("PATCH", 2, UploadStatus(403)))
	if res, err := u.attempt(); err != nil || res.Response.Status != 403 {
		t.Errorf("%v, %+v", err, res.Response)
	}
	<-closed

	b := &requestBody{run: &run{Attempt: u.a}, size: bulk.Size, to: 5}
	from, err := b.stream()
	if err != nil {
		t.Fatal(err)
	}
	b.close()
	if p, err := io.ReadAll(from); err != nil || !slices.Equal(p, bulk.Bytes()[:5]) {
		t.Errorf("%d bytes, %v", len(p), err)
	}
	if <-closed; from.Close() != nil || len(closed) != 0 {
		t.Errorf("closed %d times more", len(closed))
	}
}
