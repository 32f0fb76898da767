package transport

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

func writeFile(t testing.TB, body []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func filePut(t testing.TB, url, path string, offset, n int64, onSent func(int)) *http.Request {
	t.Helper()
	open := func() (io.ReadCloser, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		return NewFileBody(f, offset, n, true, onSent), nil
	}
	body, err := open()
	if err != nil {
		t.Fatal(err)
	}
	req := get(t, url)
	req.Method, req.Body, req.GetBody, req.ContentLength = "PUT", body, open, n
	return req
}

func TestFileBody(t *testing.T) {
	body := make([]byte, 5<<20+123)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	path := writeFile(t, body)
	for _, c := range []struct {
		name    string
		tls, h2 bool
		length  bool
	}{
		{"plain", false, false, true}, {"chunked", false, false, false}, {"TLS", true, false, true}, {"h2", true, true, true}, {"h2 without length", true, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []byte
			var proto string
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got, _ = io.ReadAll(r.Body)
				proto = r.Proto
			}))
			if c.tls {
				srv.EnableHTTP2 = c.h2
				srv.TLS = serverTLS()
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			tr := newTransport(t, Options{TLS: trusted()})
			defer tr.CloseIdleConnections()
			for _, part := range [][2]int64{{0, int64(len(body))}, {1234, 4 << 20}, {int64(len(body)) - 1, 1}} {
				var sent atomic.Int64
				var calls atomic.Int32
				req := filePut(t, srv.URL, path, part[0], part[1], func(n int) { sent.Add(int64(n)); calls.Add(1) })
				if !c.length {
					req.ContentLength = -1
				}
				resp, _, err := fetch(tr, req)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, body[part[0]:part[0]+part[1]]) {
					t.Errorf("%d bytes from %d: other bytes came (%d)", part[1], part[0], len(got))
				}
				if sent.Load() != part[1] {
					t.Errorf("%d bytes were reported as sent, want %d", sent.Load(), part[1])
				}
				if (proto == "HTTP/2.0") != c.h2 || resp.StatusCode != 200 {
					t.Errorf("%s %s", proto, resp.Status)
				}
				if c.name == "plain" && part[1] > 1<<20 && calls.Load() < 4 {
					t.Errorf("%d reports of progress in %d bytes", calls.Load(), part[1])
				}
			}
		})
	}
}

// A file that was cut since it was measured fails the upload, by sendfile and by read.
func TestFileBodyCut(t *testing.T) {
	path := writeFile(t, make([]byte, 2<<20))
	for _, secure := range []bool{false, true} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
		srv.Config.ErrorLog = quiet()
		if srv.TLS = serverTLS(); secure {
			srv.StartTLS()
		} else {
			srv.TLS = nil
			srv.Start()
		}
		tr := newTransport(t, Options{TLS: trusted()})
		_, _, err := fetch(tr, filePut(t, srv.URL, path, 0, 3<<20, nil))
		wantCode(t, err, task.SourceChanged)
		tr.CloseIdleConnections()
		srv.Close()
	}
}

// Two bodies of one file do not disturb each other, nor the file's position.
func TestFileBodyShares(t *testing.T) {
	f, err := os.Open(writeFile(t, []byte("0123456789")))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, b := NewFileBody(f, 0, 5, false, nil), NewFileBody(f, 3, 4, false, nil)
	one := make([]byte, 2)
	io.ReadFull(a, one)
	other, _ := io.ReadAll(b)
	rest, _ := io.ReadAll(a)
	a.Close()
	b.Close()
	all, err := io.ReadAll(f)
	if string(one)+string(rest) != "01234" || string(other) != "3456" || string(all) != "0123456789" || err != nil {
		t.Errorf("%q %q %q %q %v", one, rest, other, all, err)
	}
}

// What is stopped sends no more, by either way.
func TestFileBodyStops(t *testing.T) {
	path := writeFile(t, make([]byte, 4<<20))
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	t.Cleanup(srv.Close)
	var body *FileBody
	req := filePut(t, srv.URL, path, 0, 4<<20, func(int) { body.Stop() })
	body = req.Body.(*FileBody)
	if _, err := newTransport(t, Options{}).RoundTrip(req); !errors.Is(err, errStopped) {
		t.Errorf("the whole was sent: %v", err)
	}
	if n, err := body.Read(make([]byte, 1)); n != 0 || err != errStopped {
		t.Errorf("%d, %v", n, err)
	}
}

// pacer lets so many bytes pass at once, and after a while none.
type pacer struct {
	piece, left    int
	taken, used    int
	takes, settled int
}

var errPaced = errors.New("enough")

func (p *pacer) Take(n int) (int, error) {
	n = min(n, p.piece, p.left)
	if n == 0 {
		return 0, errPaced
	}
	p.takes++
	p.taken += n
	p.left -= n
	return n, nil
}

func (p *pacer) Settle(taken, used int) {
	p.settled++
	p.taken -= taken
	p.used += used
}

// A body is sent by the pieces that its pacer says, by sendfile and by read, and no further.
func TestFileBodyPace(t *testing.T) {
	const size = 2 << 20
	path := writeFile(t, make([]byte, size))
	for _, secure := range []bool{false, true} {
		for _, left := range []int{size, size / 2} {
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
			srv.Config.ErrorLog = quiet()
			if secure {
				srv.TLS = serverTLS()
				srv.StartTLS()
			} else {
				srv.Start()
			}
			tr := newTransport(t, Options{TLS: trusted()})
			most := 0
			req := filePut(t, srv.URL, path, 0, size, func(n int) { most = max(most, n) })
			p := &pacer{piece: 10_000, left: left}
			req.Body.(*FileBody).Pace(p)
			_, _, err := fetch(tr, req)
			if left == size && err != nil || left < size && !errors.Is(err, errPaced) {
				t.Errorf("%d of %d bytes: %v", left, size, err)
			}
			if p.used != left || p.taken != 0 || p.takes != p.settled || most != p.piece {
				t.Errorf("%d of %d bytes: %d were sent, %d at most, %d are out; %d times taken, %d settled", left, size, p.used, most, p.taken, p.takes, p.settled)
			}
			tr.CloseIdleConnections()
			srv.Close()
		}
	}
}
