package httpcache

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkCache is what a request costs beside what the origin does, whose part "none" is.
func BenchmarkCache(b *testing.B) {
	body := strings.Repeat("x", 1024)
	for _, response := range []struct{ name, cc string }{{"not storable", "no-store"}, {"plain", ""}, {"stored", "max-age=0"}, {"found", "max-age=3600"}} {
		answer := origin(func(*http.Request) (*http.Response, error) {
			resp := &http.Response{StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: 1024,
				Header: http.Header{"Content-Type": {"text/plain"}, "Content-Length": {"1024"}}, Body: io.NopCloser(strings.NewReader(body))}
			if response.cc != "" {
				resp.Header["Cache-Control"] = []string{response.cc}
			}
			if response.cc == "max-age=0" {
				resp.Header["Etag"] = []string{`"1"`}
			}
			return resp, nil
		})
		for _, storage := range []string{"none", "memory", "folder", "sealed"} {
			b.Run(response.name+"/"+storage, func(b *testing.B) {
				var rt http.RoundTripper = answer
				switch storage {
				case "memory":
					rt = New(answer, InMemory(1<<20), Options{})
				case "folder":
					rt = New(answer, open(b, b.TempDir(), FolderOptions{}), Options{})
				case "sealed":
					rt = New(answer, open(b, b.TempDir(), FolderOptions{Sealer: newSealer("key")}), Options{})
				}
				req := newRequest(b, "https://example.com/some/path?query=1", "Accept-Encoding: gzip, br, zstd")
				buffer := make([]byte, 2048)
				b.ReportAllocs()
				for b.Loop() {
					resp, err := rt.RoundTrip(req)
					if err != nil {
						b.Fatal(err)
					}
					for err == nil {
						_, err = resp.Body.Read(buffer)
					}
					resp.Body.Close()
				}
			})
		}
	}
}
