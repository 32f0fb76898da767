package httpcache

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// A test starts this binary anew as one of these, in order to kill it or to run several at once.
const childEnv = "HTTPCACHE_TEST_CHILD"

var children = map[string]func(folder string){"rewrite": childRewrite, "share": childShare}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		time.AfterFunc(time.Minute, func() { os.Exit(3) }) // whatever becomes of the parent
		children[name](os.Getenv(childEnv + "_FOLDER"))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// origin is a server in the process.
type origin func(*http.Request) (*http.Response, error)

func (o origin) RoundTrip(req *http.Request) (*http.Response, error) { return o(req) }

// reply is a response with header fields "Name: value".
func reply(status int, body string, fields ...string) *http.Response {
	resp := &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), ContentLength: int64(len(body)), Body: http.NoBody,
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		resp.Header.Add(name, value)
	}
	if resp.Header["Date"] == nil {
		resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	if body != "" {
		resp.Body = io.NopCloser(strings.NewReader(body))
	}
	return resp
}

// world is a Cache over an origin that answers by a script.
type world struct {
	t       *testing.T
	cache   *Cache
	storage *Storage
	asked   []*http.Request // what reached the origin
	answer  func(*http.Request) *http.Response
	err     error // in place of an answer
	source  Source
}

func newWorld(t *testing.T, s *Storage, o Options) *world {
	w := &world{t: t, storage: s}
	w.cache = New(origin(func(req *http.Request) (*http.Response, error) {
		w.asked = append(w.asked, req)
		if w.err != nil {
			return nil, w.err
		}
		resp := w.answer(req)
		resp.Request = req
		return resp, nil
	}), s, o)
	t.Cleanup(func() { w.cache.Close() })
	return w
}

// Fetched is Reporter.
func (w *world) Fetched(s Source) { w.source = s }

// says has the origin answer with this from now on.
func (w *world) says(status int, body string, fields ...string) {
	w.answer = func(*http.Request) *http.Response { return reply(status, body, fields...) }
}

// newRequest makes a request of "METHOD URL" or "URL", with header fields "Name: value".
func newRequest(t testing.TB, what string, fields ...string) *http.Request {
	t.Helper()
	method, url, ok := strings.Cut(what, " ")
	if !ok {
		method, url = http.MethodGet, what
	}
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Add(name, value)
	}
	return req
}

// do sends req and reads all that comes.
func (w *world) do(req *http.Request) (*http.Response, string) {
	w.t.Helper()
	w.source = -1
	resp, err := w.cache.RoundTrip(req.WithContext(WithReport(req.Context(), w)))
	if err != nil {
		w.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("%s %s: read: %v", req.Method, req.URL, err)
	}
	resp.Body.Close()
	if resp.Request != req && resp.Request.URL != req.URL {
		w.t.Errorf("the response is to another request")
	}
	return resp, string(body)
}

// get is do of newRequest; it checks status, body and source.
func (w *world) get(what string, wantStatus int, wantBody string, want Source, fields ...string) *http.Response {
	w.t.Helper()
	resp, body := w.do(newRequest(w.t, what, fields...))
	if resp.StatusCode != wantStatus || body != wantBody || w.source != want {
		w.t.Errorf("%s %q: %d %q from %d, want %d %q from %d", what, fields, resp.StatusCode, body, w.source, wantStatus, wantBody, want)
	}
	return resp
}

func (w *world) under(p Policy, what string, fields ...string) *http.Request {
	req := newRequest(w.t, what, fields...)
	return req.WithContext(WithPolicy(req.Context(), p))
}

// lastAsked is the value of a field of the request that reached the origin last.
func (w *world) lastAsked(name string) string {
	if len(w.asked) == 0 {
		return ""
	}
	return strings.Join(w.asked[len(w.asked)-1].Header[name], ", ")
}

// inEach runs a test with fake time, in a Storage of each kind.
func inEach(t *testing.T, o Options, fn func(t *testing.T, w *world)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { fn(t, newWorld(t, InMemory(1<<20), o)) })
	})
	t.Run("folder", func(t *testing.T) {
		folder := t.TempDir()
		synctest.Test(t, func(t *testing.T) { fn(t, newWorld(t, open(t, folder, FolderOptions{Capacity: 8 << 20}), o)) })
	})
	t.Run("sealed", func(t *testing.T) {
		folder := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			fn(t, newWorld(t, open(t, folder, FolderOptions{Capacity: 8 << 20, Sealer: newSealer("key")}), o))
		})
	})
}

func open(t testing.TB, folder string, o FolderOptions) *Storage {
	t.Helper()
	if o.Warn == nil {
		o.Warn = func(err error) { t.Errorf("warned: %v", err) }
	}
	s, err := Open(folder, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// gcm is a Sealer of one key.
type gcm struct{ aead cipher.AEAD }

func newSealer(key string) Sealer {
	block, err := aes.NewCipher([]byte(fmt.Sprintf("%-32s", key)))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return gcm{aead}
}

func (g gcm) Seal(dst, secret []byte) ([]byte, error) {
	return g.aead.Seal(dst, nil, secret, []byte("cache")), nil
}

func (g gcm) Open(dst, sealed []byte) ([]byte, error) {
	secret, err := g.aead.Open(dst, nil, sealed, []byte("cache"))
	if err != nil {
		return nil, ErrDamaged
	}
	return secret, nil
}

// pattern is n bytes that tell where they are and which seed they are of.
func pattern(seed byte, n int) []byte {
	b := bytes.Repeat([]byte{seed, 0, 1, 2, 3, 5, 8, 13, 21, 34, 55}, n/11+1)[:n]
	for i := 0; i+8 < n; i += 4096 {
		copy(b[i:], fmt.Sprintf("%08x", i))
	}
	return b
}

var errBroken = errors.New("broken")

// timeout bounds a wait that should take milliseconds.
func timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}
