package transfer

import (
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"testing"
)

// crumbs is a body of n zeros that come 1 KiB at a time.
type crumbs struct{ n int }

func (c *crumbs) Read(p []byte) (int, error) {
	if c.n == 0 {
		return 0, io.EOF
	}
	n := min(len(p), c.n, 1<<10)
	c.n -= n
	return n, nil
}

func (*crumbs) Close() error { return nil }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A download allocates nothing a read: what it does all in all is not an object for each tenth one.
func TestDownloadAllocatesNothingPerRead(t *testing.T) {
	const size, reads = 3 << 20, 3 << 10
	rt := roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Proto: "HTTP/1.1", Header: http.Header{}, ContentLength: size, Body: &crumbs{size}, Request: r}, nil
	})
	a := newDownload(t, rt, "http://example.com/f", filepath.Join(t.TempDir(), "file.bin"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Run(t.Context(), a)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if n := after.Mallocs - before.Mallocs; n > reads/10 {
		t.Errorf("%d objects were allocated in %d reads", n, reads)
	}
}
