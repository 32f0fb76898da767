package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
	"github.com/urlsession/urlsession/internal/transport"
	"github.com/urlsession/urlsession/urlsessiontest"
)

const partSize = 100_000

// wire is a way to a server that can be cut off.
type wire struct {
	dial func(context.Context, string, string) (net.Conn, error)
	down atomic.Bool
	mu   sync.Mutex
	all  []net.Conn
}

func (n *wire) Dial(ctx context.Context, netw, address string) (net.Conn, error) {
	if n.down.Load() {
		return nil, errors.New("it is cut off")
	}
	c, err := n.dial(ctx, netw, address)
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.all = append(n.all, c)
	}
	return c, err
}

func (n *wire) cut() {
	n.down.Store(true)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.all {
		c.Close()
	}
}

// partStore is a store for objects in parts, and a file of some parts.
type partStore struct {
	*urlsessiontest.MultipartServer
	m    *urlsessiontest.Multipart
	body urlsessiontest.Body
	spec task.Spec
}

func newPartStore(t *testing.T, folder string, parts int) *partStore {
	srv := urlsessiontest.NewMultipartServer(urlsessiontest.UploadsInMemory(), urlsessiontest.MinimumPart(partSize))
	s := &partStore{srv, srv.Create("film.mp4", parts), urlsessiontest.Body{Seed: 4, Size: int64(parts) * partSize}, task.Spec{}}
	path := filepath.Join(folder, "film.mp4")
	if err := os.WriteFile(path, s.body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.spec = get(s.m.Complete, upload, func(spec *task.Spec) {
		spec.Request.Body = &task.Body{Path: path, Size: s.body.Size}
		spec.Policy.RequestTimeout = time.Minute
		spec.Policy.Retries = 9
		spec.Upload = &task.UploadSpec{Multipart: &task.Multipart{Parts: s.m.Parts, PartSize: partSize, Completes: true, Abort: s.m.Abort}}
	})
	return s
}

// over has an engine reach the store, at a rate that is shared by all parts, in bytes a second.
func (s *partStore) over(n *wire, rate int64) func(*engine.Options) {
	return func(o *engine.Options) {
		n.dial = s.DialContext
		rt, err := transport.New(transport.Options{Dial: n.Dial})
		if err != nil {
			panic(err)
		}
		o.RoundTripper, o.RateLimit, o.Run = rt, rate, nil
	}
}

// uploaded checks that the store has the object, and that no more came than that and lost bytes.
func (s *partStore) uploaded(t *testing.T, rec task.Record, lost int64) {
	t.Helper()
	if rec.Failure != nil || rec.Response == nil || rec.Response.Status != 200 {
		t.Fatalf("%+v, %+v", rec.Failure, rec.Response)
	}
	if err := s.m.Check(s.body); err != nil {
		t.Error(err)
	}
	got := s.Received()
	for _, r := range s.RequestsBy("POST") {
		got -= r.BodySize
	}
	if got > s.body.Size+lost {
		t.Errorf("%d bytes came, of %d, and %d may have been lost", got, s.body.Size, lost)
	}
	wantParts(t, rec, int(s.body.Size/partSize))
}

// wantParts checks that a record has so many parts, and none of the upload's URLs.
func wantParts(t *testing.T, rec task.Record, n int) {
	t.Helper()
	if rec.Upload == nil && n > 0 || rec.Upload != nil && len(rec.Upload.Parts) != n {
		t.Errorf("%d parts: %+v", n, rec.Upload)
	}
	if text := fmt.Sprintf("%+v %+v", rec.Spec.Upload.Multipart, rec.Upload); strings.Contains(text, "Signature") {
		t.Errorf("it has URLs: %s", text)
	}
	if rec.Spec.Upload.Multipart.PartSize != partSize {
		t.Errorf("%+v", rec.Spec.Upload.Multipart)
	}
}

// inBubble runs f with a store.
func inBubble(t *testing.T, parts int, f func(t *testing.T, s *partStore)) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newPartStore(t, folder, parts)
		defer s.Close()
		f(t, s)
	})
}

// An upload goes on after failures of parts and of its completion, and its parts are handed back.
func TestMultipart(t *testing.T) {
	inBubble(t, 12, func(t *testing.T, s *partStore) {
		s.m.Script(3, urlsessiontest.UploadCut(1000), urlsessiontest.UploadStatus(500))
		s.m.Script(7, urlsessiontest.UploadAll(urlsessiontest.UploadStatus(503), urlsessiontest.UploadHeader("Retry-After", "7")))
		s.m.Script(0, urlsessiontest.UploadLosesAnswer(), urlsessiontest.MultipartFails("InternalError", "again"))
		e := start(t, nil, s.over(new(wire), 0))
		begun := time.Now()
		rec := end(t, e, create(t, e, s.spec))
		s.uploaded(t, rec, 1000+64<<10)
		if time.Since(begun) < 7*time.Second {
			t.Errorf("it took %v, and the host was to be left alone for 7 s", time.Since(begun))
		}
	})
}

// Bytes that are in memory are read at several places at once.
func TestMultipartOfBytes(t *testing.T) {
	inBubble(t, 5, func(t *testing.T, s *partStore) {
		e := start(t, nil, s.over(new(wire), 0))
		s.spec.Request.Body = &task.Body{Size: s.body.Size}
		id, err := e.Create(t.Context(), s.spec, bytes.NewReader(s.body.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		s.uploaded(t, end(t, e, id), 0)
	})
}

// A suspended upload keeps its parts, and a cancelled one is dropped at the store, also where no attempt has begun.
func TestMultipartStops(t *testing.T) {
	inBubble(t, 20, func(t *testing.T, s *partStore) {
		e := start(t, nil, s.over(new(wire), partSize))
		id := create(t, e, s.spec)
		time.Sleep(10 * time.Second)
		e.Suspend(t.Context(), id)
		synctest.Wait()
		rec, _ := e.Task(t.Context(), id)
		held := len(s.m.Held())
		if held < 3 || held > 11 {
			t.Fatalf("%d parts are there", held)
		}
		wantParts(t, rec, held)
		time.Sleep(time.Hour)
		e.Resume(t.Context(), id)
		s.uploaded(t, end(t, e, id), 6*partSize) // those that were on their way
	})
	for _, begins := range []bool{true, false} {
		inBubble(t, 20, func(t *testing.T, s *partStore) {
			e := start(t, nil, s.over(new(wire), partSize))
			s.spec.Suspended = !begins
			id := create(t, e, s.spec)
			time.Sleep(10 * time.Second)
			e.Cancel(t.Context(), id)
			rec := end(t, e, id)
			e.Close()
			if s.m.State() != urlsessiontest.MultipartAborted || rec.Failure.Code != task.Cancelled || rec.Upload != nil {
				t.Errorf("begun %t: %v, %+v", begins, s.m.State(), rec.Upload)
			}
		})
	}
}

// A completion's URL may be replaced; the parts stay.
func TestMultipartMoves(t *testing.T) {
	inBubble(t, 20, func(t *testing.T, s *partStore) {
		e := start(t, nil, s.over(new(wire), partSize))
		s.spec.Request.URL = strings.Replace(s.m.Complete, "X-Amz-Signature=", "X-Amz-Signature=0", 1)
		id := create(t, e, s.spec)
		time.Sleep(10 * time.Second)
		e.ReplaceURL(t.Context(), id, s.m.Complete)
		s.uploaded(t, end(t, e, id), 6*partSize)
	})
	synctest.Test(t, func(t *testing.T) { // and to another host
		var l attempts
		e := start(t, l.run(steps(inParts(3, hang), answer(200))))
		id := create(t, e, get("http://h/", upload, multipart))
		synctest.Wait()
		e.ReplaceURL(t.Context(), id, "http://g/")
		end(t, e, id)
		if had := l.list()[1].Upload; had == nil || len(had.Parts) != 3 {
			t.Errorf("it went on from %+v", had)
		}
	})
}

func multipart(s *task.Spec) {
	s.Upload = &task.UploadSpec{Multipart: &task.Multipart{Parts: []string{"http://h/1?secret"}, PartSize: partSize, Completes: true}}
}

// inParts is an attempt that brings n parts, and then does as next.
func inParts(n int, next runFunc) runFunc {
	return func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
		for i := range n {
			a.Observer.(transfer.Resumer).Resumable(partsOf(i + 1))
		}
		return next(ctx, a)
	}
}

func partsOf(n int) *task.UploadState {
	s := &task.UploadState{Protocol: task.ResumableParts}
	for i := range n {
		s.Parts = append(s.Parts, task.Part{Number: i + 1, ETag: `"e"`})
	}
	return s
}

// A process that was killed leaves to the next one what it has stored: only what was on its way, and came in the last two seconds,
// is sent again.
func TestMultipartOutlivesItsProcess(t *testing.T) {
	for _, at := range []time.Duration{time.Second, 5 * time.Second, 13_700 * time.Millisecond, 19 * time.Second} {
		inBubble(t, 20, func(t *testing.T, s *partStore) {
			d := newDisk()
			n := new(wire)
			p := d.boot(t, nil, s.over(n, partSize))
			id := create(t, p.Engine, s.spec)
			time.Sleep(at)
			p.crash()
			n.cut()
			p = d.boot(t, nil, s.over(new(wire), partSize))
			s.uploaded(t, end(t, p.Engine, id), (6+2)*partSize)
		})
	}
}

// Parts are stored once in two seconds, and before the completion leaves; the first at once.
func TestMultipartIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		var saves atomic.Int32
		p := d.start(t, &process{afterSave: func(*task.Record) error { saves.Add(1); return nil }}, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			o := a.Observer.(transfer.Resumer)
			for i := range 100 {
				o.Resumable(partsOf(i + 1))
				time.Sleep(100 * time.Millisecond)
			}
			s := partsOf(100)
			s.Whole = true
			o.Resumable(s)
			return hang(ctx, a)
		})
		id := create(t, p.Engine, get("http://h/", upload, multipart))
		stored := func() int {
			synctest.Wait()
			if u := d.record(t, id).Upload; u != nil {
				return len(u.Parts)
			}
			return 0
		}
		if n := stored(); n != 1 {
			t.Errorf("%d parts at first", n)
		}
		for i := range 9 {
			time.Sleep(time.Second)
			if n, there := stored(), 10*(i+1); n < there-20 {
				t.Errorf("%d of %d parts after %d s", n, there, i+1)
			}
		}
		if n := saves.Load(); n > 6 {
			t.Errorf("%d writes in 9 s", n)
		}
		time.Sleep(time.Second + time.Millisecond)
		if u := d.record(t, id).Upload; len(u.Parts) != 100 || !u.Whole {
			t.Errorf("%d parts, whole %t, when it is to be completed", len(u.Parts), u.Whole)
		}
		rec, _ := p.Task(t.Context(), id)
		wantParts(t, rec, 100)
	})
}

// A kill does not make parts whole, of which the store is not asked whether they are.
func TestMultipartAfterAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, inParts(3, hang))
		id := create(t, p.Engine, get("http://h/", upload, multipart))
		time.Sleep(3 * time.Second)
		p.crash()
		var l attempts
		p = d.boot(t, l.run(inParts(4, answer(200))))
		wantParts(t, end(t, p.Engine, id), 4)
		if had := l.list()[0].Upload; had == nil || len(had.Parts) != 3 || had.Whole {
			t.Errorf("it went on from %+v", had)
		}
		if rec := d.record(t, id); rec.Upload == nil || len(rec.Upload.Parts) != 4 {
			t.Errorf("left: %+v", rec.Upload)
		}
	})
}

// Its parts take connections as a download's do, up to what it may have.
func TestMultipartTakes(t *testing.T) {
	for most, want := range map[int]int{0: 3, 2: 1, 1: -1} {
		synctest.Test(t, func(t *testing.T) {
			var s splits
			e := start(t, s.run, perHost(4))
			taken := -1
			if c := s.of(create(t, e, get("http://h/", upload, multipart, atMost(most)))); c != nil {
				taken = take(c, "http://h/", 100)
			}
			if taken != want {
				t.Errorf("of %d: %d were taken", most, taken)
			}
		})
	}
}
