package httpcache

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"
)

// endless is a body of n bytes, made while it is read.
type endless struct{ left int64 }

var filling = pattern('x', 64<<10)

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.left)
	e.left -= int64(copy(p[:n], filling))
	return int(min(n, int64(len(filling)))), nil
}

// noted is a Reporter.
type noted Source

func (n *noted) Fetched(s Source) { *n = noted(s) }

// TestMemoryOfALargeBody counts every byte that is allocated while 256 MiB are stored, and read again.
func TestMemoryOfALargeBody(t *testing.T) {
	const size, most = 256 << 20, 8 << 20
	s := open(t, t.TempDir(), FolderOptions{Capacity: 4 << 30})
	c := New(origin(func(*http.Request) (*http.Response, error) {
		resp := reply(200, "", "Cache-Control: max-age=3600")
		resp.ContentLength, resp.TransferEncoding, resp.Body = -1, []string{"chunked"}, io.NopCloser(&endless{size})
		return resp, nil
	}), s, Options{})
	defer c.Close()
	buffer := make([]byte, 64<<10)
	for _, want := range []Source{FromNetwork, FromCache} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		source := noted(-1)
		req := newRequest(t, page)
		resp, err := c.RoundTrip(req.WithContext(WithReport(req.Context(), &source)))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for err == nil {
			var m int
			m, err = resp.Body.Read(buffer)
			n += m
		}
		resp.Body.Close()
		runtime.ReadMemStats(&after)
		if err != io.EOF || n != size || Source(source) != want {
			t.Fatalf("%d bytes from %d, %v", n, source, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > most {
			t.Errorf("%d bytes were allocated", got)
		} else {
			t.Logf("%d KiB were allocated in all", got>>10)
		}
	}
}

// TestStreams: head and body arrive while the server still sends, over a real connection.
func TestStreams(t *testing.T) {
	t.Parallel()
	step := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.WriteHeader(200)
		for range 3 {
			w.(http.Flusher).Flush()
			select {
			case <-step:
			case <-time.After(30 * time.Second):
				panic(http.ErrAbortHandler)
			}
			w.Write([]byte("part"))
		}
	}))
	defer server.Close()
	base := &http.Transport{DisableCompression: true}
	defer base.CloseIdleConnections()
	c := New(base, InMemory(1<<20), Options{})
	defer c.Close()
	resp, err := c.RoundTrip(newRequest(t, server.URL))
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 4)
	for i := range 3 {
		step <- struct{}{}
		if _, err := io.ReadFull(resp.Body, part); err != nil || string(part) != "part" {
			t.Fatalf("%q, %v", part, err)
		}
		if all, _ := c.storage.Entries(); len(all) != 0 && i < 2 { // the end may come with the last part
			t.Fatal("it is an entry before its end")
		}
	}
	if n, err := resp.Body.Read(part); n != 0 || err != io.EOF {
		t.Fatal(n, err)
	}
	resp.Body.Close()
	if all, _ := c.storage.Entries(); len(all) != 1 {
		t.Error("it is no entry")
	}
}

// TestEnds: an entry is what was read to its clean end, and nothing else.
func TestEnds(t *testing.T) {
	t.Parallel()
	whole := pattern('A', 2*chunkSize)
	for name, c := range map[string]struct {
		length int64
		body   io.Reader
		read   int64 // before Close
		http10 bool
		want   bool
	}{
		"read to the end":                {int64(len(whole)), bytes.NewReader(whole), 1 << 40, false, true},
		"all of the length, not the end": {int64(len(whole)), bytes.NewReader(whole), int64(len(whole)), false, true},
		"abandoned":                      {int64(len(whole)), bytes.NewReader(whole), int64(len(whole)) - 1, false, false},
		"never read":                     {int64(len(whole)), bytes.NewReader(whole), 0, false, false},
		"chunked":                        {-1, bytes.NewReader(whole), 1 << 40, false, true},
		"chunked, not the end":           {-1, bytes.NewReader(whole), int64(len(whole)), false, false},
		"broken":                         {-1, io.MultiReader(bytes.NewReader(whole), failing{}), 1 << 40, false, false},
		"cut":                            {int64(len(whole)) + 1, bytes.NewReader(whole), 1 << 40, false, false},
		"until the connection ends":      {-1, bytes.NewReader(whole), 1 << 40, true, false},
	} {
		folder := t.TempDir()
		for kind, s := range map[string]*Storage{"memory": InMemory(64 << 20), "folder": open(t, folder, FolderOptions{})} {
			body := c.body
			if r, ok := body.(*bytes.Reader); ok {
				r.Seek(0, io.SeekStart)
			} else {
				body = io.MultiReader(bytes.NewReader(whole), failing{})
			}
			cache := New(origin(func(*http.Request) (*http.Response, error) {
				resp := reply(200, "", "Cache-Control: max-age=60")
				resp.ContentLength, resp.Body = c.length, io.NopCloser(body)
				if c.length < 0 && !c.http10 {
					resp.TransferEncoding = []string{"chunked"}
				}
				return resp, nil
			}), s, Options{})
			resp, err := cache.RoundTrip(newRequest(t, page))
			if err != nil {
				t.Fatal(err)
			}
			io.CopyN(io.Discard, resp.Body, c.read)
			resp.Body.Close()
			all, err := s.Entries()
			if err != nil || (len(all) == 1) != c.want {
				t.Errorf("%s, %s: %d entries, %v", name, kind, len(all), err)
			}
			if len(s.writers) != 0 {
				t.Errorf("%s, %s: a writer is left", name, kind)
			}
			cache.Close()
		}
		if left := files(t, folder)[temporaryFile]; len(left) > 0 {
			t.Errorf("%s: left are %v", name, left)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
