package transport

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/credential/credentialtest"
	"github.com/urlsession/urlsession/internal/task"
)

// slowBody comes to no end until it is stopped.
type slowBody struct {
	stop chan struct{}
	once sync.Once
}

func (b *slowBody) Read(p []byte) (int, error) {
	select {
	case <-b.stop:
		return 0, errStopped
	case <-time.After(30 * time.Second):
		return 0, errors.New("it is still wanted")
	}
}

func (b *slowBody) Stop()        { b.once.Do(func() { close(b.stop) }) }
func (b *slowBody) Close() error { return nil }

// What is left of a long body is not sent once the request was refused, and a short one is not broken off.
func TestRefusedBodyIsNotSent(t *testing.T) {
	g := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", "Basic realm=x")
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(g.Close)
	for _, length := range []int64{-1, 1 << 30} {
		req := get(t, g.URL+"/")
		long := &slowBody{stop: make(chan struct{})}
		req.Method, req.Body, req.ContentLength = "PUT", long, length
		req.GetBody = func() (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(zeroes{}, max(length, 4))), nil
		}
		req.Header.Set("Expect", "100-continue")
		if length > 0 {
			req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("no more") }
		}
		_, _, err := fetch(newTransport(t, Options{Authenticator: knowing(t, req, alice("p"))}), req)
		if length < 0 && err != nil || length > 0 && !errors.Is(err, task.BodyStreamExhausted) {
			t.Errorf("%d: %v", length, err)
		}
		select {
		case <-long.stop:
		default:
			t.Errorf("a body of %d bytes is still sent", length)
		}
	}
	short := &slowBody{stop: make(chan struct{})}
	stopSending(&http.Request{Body: short, ContentLength: refusalLimit})
	select {
	case <-short.stop:
		t.Error("a short body is broken off")
	default:
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A long body is read from its file for each sending, and nothing keeps it.
func TestLongBodyIsNotKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "body")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var most atomic.Uint64
	var base runtime.MemStats
	var received atomic.Int64
	count := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 256<<10)
		total, next := int64(0), int64(0)
		for {
			n, err := r.Body.Read(buf)
			if total += int64(n); total >= next {
				next += r.ContentLength / 16
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most.Store(max(most.Load(), m.HeapInuse))
			}
			if err != nil {
				break
			}
		}
		received.Add(total)
	})
	for name, c := range map[string]struct {
		gate credentialtest.Gate
		size int64
	}{
		"Basic":  {credentialtest.Basic("alice", "p"), 64 << 20},
		"Digest": {credentialtest.Digest("SHA-256", "alice", "p"), 1 << 30},
		"NTLM":   {credentialtest.NTLM("NTLM"), 64 << 20},
	} {
		if err := file.Truncate(c.size); err != nil { // of zeroes that take no room
			t.Fatal(err)
		}
		// It takes all of a body before it refuses, as a server may that has never heard of Expect.
		s := start(t, credentialtest.NewServer(func(r *http.Request, value string) (string, bool) {
			challenge, ok := c.gate(r, value)
			if !ok && r.ContentLength > 0 {
				count(nil, r)
			}
			return challenge, ok
		}, count))
		cred := alice("p")
		if name == "NTLM" {
			cred = ntlmUser()
		}
		open := func() (io.ReadCloser, error) { return NewFileBody(file, 0, c.size, false, nil), nil }
		req := get(t, s.URL+"/")
		req.Method, req.ContentLength, req.GetBody = "PUT", c.size, open
		req.Body, _ = open()
		tr := newTransport(t, Options{Authenticator: knowing(t, req, cred)})
		runtime.GC()
		runtime.ReadMemStats(&base)
		most.Store(0)
		received.Store(0)
		resp, _, err := fetch(tr, req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %v, %v", name, resp, err)
		}
		if got := received.Load(); got != 2*c.size {
			t.Errorf("%s: the server has received %d bytes, want twice %d", name, got, c.size)
		}
		if grown := int64(most.Load()) - int64(base.HeapInuse); grown > 16<<20 {
			t.Errorf("%s: the heap grew by %d bytes", name, grown)
		}
	}
}

// onceBody is a body that ends where it is opened anew.
type onceBody struct {
	io.Reader
	newest *atomic.Pointer[onceBody]
}

func openOnce(newest *atomic.Pointer[onceBody]) *onceBody {
	b := &onceBody{strings.NewReader("body"), newest}
	newest.Store(b)
	return b
}

func (b *onceBody) Read(p []byte) (int, error) {
	if b.newest.Load() != b {
		return 0, os.ErrClosed
	}
	return b.Reader.Read(p)
}

func (b *onceBody) Close() error { return nil }

// A proof that is of the body, too (RFC 7616 auth-int), is sent unasked, and the body after it.
func TestBodyThatIsProved(t *testing.T) {
	bodies := make(chan string, 9)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Digest realm="r", nonce="n", qop="auth-int"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(srv.Close)
	tr := newTransport(t, Options{Authenticator: knowing(t, get(t, srv.URL), alice("p"))})
	for _, sendings := range []int{2, 1} {
		var newest atomic.Pointer[onceBody]
		req := put(t, srv.URL+"/")
		req.Body = openOnce(&newest)
		req.GetBody = func() (io.ReadCloser, error) { return openOnce(&newest), nil }
		if resp, _, err := fetch(tr, req); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v, %v", resp, err)
		}
		if len(bodies) != sendings {
			t.Fatalf("sent %d times, want %d", len(bodies), sendings)
		}
		for range sendings {
			if body := <-bodies; body != "body" {
				t.Errorf("the server has got %q", body)
			}
		}
	}
}
