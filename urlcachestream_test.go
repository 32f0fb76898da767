package urlsession

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// plentiful answers every GET with size bytes that may be kept, and costs next to nothing.
func plentiful(t *testing.T, size int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	piece := make([]byte, 1<<20)
	for i := range piece {
		piece[i] = byte(i)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: %d\r\n\r\n", size)
					for left := size; left > 0; left -= len(piece) {
						if _, err := c.Write(piece[:min(left, len(piece))]); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/"
}

// TestMemoryOfALargeResponse counts every byte that is allocated while 256 MiB come through a session, in each way that does not
// hold them, and come again: the cache is to cost 8 MiB at most. It has the default cache's seal.
func TestMemoryOfALargeResponse(t *testing.T) {
	const size, most = 256 << 20, 8 << 20
	url := plentiful(t, size)
	ways := map[string]func(*Session) (int, error){
		"Request.Stream": func(s *Session) (n int, err error) {
			r := Get(url)
			r.Stream = true
			made, err := s.DataTask(t.Context(), r)
			if err != nil {
				return 0, err
			}
			for ev, err := range made.Events(t.Context()) {
				if err != nil {
					return n, err
				}
				if piece, ok := ev.(DataReceived); ok {
					n += len(piece.Data)
				}
			}
			_, err = made.Wait(t.Context())
			return n, err
		},
		"RoundTripper": func(s *Session) (n int, err error) {
			resp, err := (&http.Client{Transport: s.RoundTripper()}).Get(url)
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			buffer := make([]byte, 256<<10)
			for err == nil {
				var m int
				m, err = resp.Body.Read(buffer)
				n += m
			}
			if err == io.EOF {
				err = nil
			}
			return n, err
		},
	}
	for name, through := range ways {
		t.Run(name, func(t *testing.T) {
			allocated := func(s *Session) int64 {
				t.Helper()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				if n, err := through(s); n != size || err != nil {
					t.Fatalf("%d bytes, %v", n, err)
				}
				runtime.ReadMemStats(&after)
				return int64(after.TotalAlloc - before.TotalAlloc)
			}
			plain, _ := start(t, func(c *Configuration) { c.URLCache = nil })
			without := allocated(plain)
			cache, err := OpenURLCache(t.TempDir(), 4<<30) // an entry is an eighth at most
			if err != nil {
				t.Fatal(err)
			}
			s, _ := start(t, func(c *Configuration) { c.URLCache = cache })
			for _, what := range []string{"stored", "found"} {
				with := allocated(s)
				if with-without > most {
					t.Errorf("%s: %d KiB were allocated, and %d KiB without a cache", what, with>>10, without>>10)
				}
				t.Logf("%s: %d KiB were allocated, and %d KiB without a cache", what, with>>10, without>>10)
			}
			if all, err := cache.Entries(); err != nil || len(all) != 1 || all[0].Length != size {
				t.Errorf("%+v, %v", all, err)
			}
		})
	}
}

// TestTheHeadDoesNotWaitForTheBody, with a cache that stores it.
func TestTheHeadDoesNotWaitForTheBody(t *testing.T) {
	cache, err := OpenURLCache(t.TempDir(), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	s, srv := start(t, func(c *Configuration) { c.URLCache = cache })
	body := urlsessiontest.Body{Seed: 8, Size: 1 << 20}
	srv.Publish("/f", urlsessiontest.Resource{Content: body, ETag: `"v1"`, Header: http.Header{"Cache-Control": {"max-age=3600"}}})

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	hold := func() *urlsessiontest.Gate {
		gate := urlsessiontest.NewGate()
		srv.Script("/f", urlsessiontest.HoldAt(urlsessiontest.AtBody(0), gate))
		return gate
	}
	gate := hold()
	defer gate.Open()
	req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/f", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.RoundTripper().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	gate.Open()
	if err := body.Check(resp.Body); err != nil {
		t.Error(err)
	}

	gate = hold()
	defer gate.Open()
	r := Get(srv.URL + "/f")
	r.CachePolicy = CacheReloadIgnoringLocal
	made, err := s.DataTask(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for ev, err := range made.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := ev.(ResponseReceived); ok {
			told = true
			gate.Open()
		}
	}
	if got, err := made.Body(ctx); err != nil || int64(len(got)) != body.Size || !told {
		t.Errorf("%d bytes, told %v, %v", len(got), told, err)
	}
	if all, err := cache.Entries(); err != nil || len(all) != 1 || all[0].Length != body.Size {
		t.Errorf("%+v, %v", all, err)
	}
}
