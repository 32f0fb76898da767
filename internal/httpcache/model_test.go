package httpcache

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestModel plays random requests, changes and waits against an origin with versions: whatever happens, what is given away is
// what the origin had for that request within its time, and one's own change is always seen.
func TestModel(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		r := rand.New(rand.NewPCG(seed, 0))
		type resource struct {
			version int
			changed time.Time // when version came
			maxAge  int
			stale   int // seconds of stale-while-revalidate
		}
		all := make(map[string]*resource)
		for i := range 4 {
			all[numberedURL(i)] = &resource{maxAge: 10 * i, stale: 7 * (i % 2), changed: time.Now()}
		}
		w.answer = func(req *http.Request) *http.Response {
			res := all[req.URL.String()]
			etag := fmt.Sprintf(`"%d-%s"`, res.version, req.Header.Get("Accept"))
			fields := []string{fmt.Sprintf("Cache-Control: max-age=%d, stale-while-revalidate=%d", res.maxAge, res.stale), "Etag: " + etag, "Vary: Accept"}
			if req.Method == http.MethodPost {
				res.version, res.changed = res.version+1, time.Now()
				return reply(200, "done")
			}
			if req.Header.Get("If-None-Match") == etag {
				return reply(304, "", fields...)
			}
			return reply(200, fmt.Sprintf("%d for %s", res.version, req.Header.Get("Accept")), fields...)
		}
		seen := make(map[string]int) // the version that was there after one's own last change
		for step := range 400 {
			synctest.Wait() // for renewals
			u := numberedURL(r.IntN(len(all)))
			res := all[u]
			fail := func(format string, args ...any) {
				t.Helper()
				t.Fatalf("seed %d, step %d, %s %+v: %s", seed, step, u, *res, fmt.Sprintf(format, args...))
			}
			switch r.IntN(10) {
			case 0:
				w.do(newRequest(t, "POST "+u))
				seen[u] = res.version
			case 1: // somebody else changes it
				res.version, res.changed = res.version+1, time.Now()
			case 2, 3:
				time.Sleep(time.Duration(r.IntN(15_000)) * time.Millisecond)
			default:
				accept := []string{"a", "b"}[r.IntN(2)]
				policy := []Policy{UseProtocol, UseProtocol, UseProtocol, ReloadIgnoringLocal, ReloadRevalidating, ReturnElseLoad}[r.IntN(6)]
				_, body := w.do(w.under(policy, u, "Accept: "+accept))
				var version int
				var of string
				if n, _ := fmt.Sscanf(body, "%d for %s", &version, &of); n != 2 || of != accept {
					fail("%q for %q", body, accept)
				}
				late := time.Since(res.changed)
				allowed := time.Duration(res.maxAge+res.stale+1) * time.Second // Age and Date count whole seconds
				switch {
				case version > res.version || version < seen[u]:
					fail("version %d, after %d was seen", version, seen[u])
				case policy != UseProtocol && policy != ReturnElseLoad && version != res.version:
					fail("policy %d gives version %d", policy, version)
				case policy == UseProtocol && version != res.version && late > allowed:
					fail("version %d is given %v after it was replaced", version, late)
				case w.source == FromNetwork && version != res.version:
					fail("the network gives version %d", version)
				}
			}
		}
	})
}
