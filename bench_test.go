package urlsession

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// lean answers every GET on a kept connection, and costs next to nothing.
func lean(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	reply := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						return
					}
					if len(line) == 2 {
						if _, err := c.Write(reply); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/"
}

// BenchmarkData compares a data task with the least that a program with net/http does for the same bytes; the figure to
// look at is the CPU of both, which Go's does not show, and the allocations. The response cannot be kept: what a cache costs
// there is lost.
func BenchmarkData(b *testing.B) {
	url := lean(b)
	b.Run("net/http", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16, MaxConnsPerHost: 16}}
		defer client.CloseIdleConnections()
		b.ReportAllocs()
		for b.Loop() {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
			if err != nil {
				b.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				b.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || len(body) != 1024 {
				b.Fatal(err)
			}
		}
	})
	for name, c := range map[string]func() Configuration{
		"session": Ephemeral,
		"session without cache": func() Configuration {
			c := Ephemeral()
			c.URLCache = nil
			return c
		},
		"session, cache on disk": func() Configuration {
			c := Ephemeral()
			cache, err := OpenURLCache(b.TempDir(), 0)
			if err != nil {
				b.Fatal(err)
			}
			c.URLCache = cache
			return c
		},
	} {
		b.Run(name, func(b *testing.B) {
			s, err := New(c())
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			b.ReportAllocs()
			for b.Loop() {
				body, _, err := s.Data(b.Context(), Get(url))
				if err != nil || len(body) != 1024 {
					b.Fatal(err)
				}
			}
		})
	}
}
