package transport

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"testing"
)

// Reading a body allocates nothing of ours, however long it is. Over TLS crypto/tls allocates 24 bytes each time it reads
// from the socket, two records at once; a further object a read would be seen.
func TestReadAllocatesNothing(t *testing.T) {
	const warm, rest, record = 8 << 20, 32 << 20, 16 << 10
	piece := make([]byte, 256<<10)
	for _, c := range []struct {
		name string
		tls  bool
		most int
	}{{"plain", false, rest / (512 << 10)}, {"TLS", true, rest / record * 3 / 4}} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", strconv.Itoa(warm+rest))
				for range (warm + rest) / len(piece) {
					w.Write(piece)
				}
			}))
			if c.tls {
				srv.TLS = serverTLS()
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			tr := newTransport(t, Options{TLS: trusted()})
			defer tr.CloseIdleConnections()
			resp, err := tr.RoundTrip(get(t, srv.URL))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			buf := make([]byte, 64<<10)
			for range warm / len(buf) {
				if _, err := io.ReadFull(resp.Body, buf); err != nil {
					t.Fatal(err)
				}
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			reads := 0
			for left := rest; left > 0; reads++ {
				n, err := resp.Body.Read(buf)
				if left -= n; err != nil && left > 0 {
					t.Fatal(err)
				}
			}
			runtime.ReadMemStats(&after)
			if n := int(after.Mallocs - before.Mallocs); n > c.most {
				t.Errorf("%d objects were allocated in %d reads of %d MiB, want at most %d", n, reads, rest>>20, c.most)
			}
		})
	}
}
