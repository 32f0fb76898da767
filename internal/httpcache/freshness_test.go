package httpcache

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"
)

// TestFreshnessProperties holds what must be so whatever a response says.
func TestFreshnessProperties(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	base := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	seconds := func(most int64) time.Duration { return time.Duration(r.Int64N(most)) * time.Second }
	for range 4_000 {
		h := &head{Status: []int{200, 302, 404}[r.IntN(3)], Header: make(http.Header)}
		h.Requested = base.Add(seconds(1000))
		h.Received = h.Requested.Add(seconds(100))
		made := h.Received.Add(seconds(2000) - 1000*time.Second)
		field := func(name string, value any) {
			if r.IntN(2) == 0 {
				h.Header.Set(name, fmt.Sprint(value))
			}
		}
		field("Date", made.Format(http.TimeFormat))
		field("Age", r.Int64N(500))
		field("Expires", made.Add(seconds(5000)-2500*time.Second).Format(http.TimeFormat))
		field("Last-Modified", made.Add(seconds(1e8)-5e7*time.Second).Format(http.TimeFormat))
		field("Cache-Control", fmt.Sprintf("max-age=%d", r.Int64N(5000)))
		now := h.Received.Add(seconds(10_000))
		age, lifetime := h.age(now), h.lifetime()
		fail := func(what string) {
			t.Helper()
			t.Fatalf("seed %d: %s: age %v, lifetime %v of %+v at %v", seed, what, age, lifetime, h, now)
		}
		said, _ := parseSeconds(h.Header.Get("Age"))
		switch {
		case lifetime < 0 || age < 0:
			fail("negative")
		case age < now.Sub(h.Received):
			fail("younger than it lies here")
		case age < said:
			fail("younger than it said")
		case h.Header.Get("Date") != "" && age < now.Sub(made):
			fail("younger than its date")
		case h.age(now.Add(time.Second)) != age+time.Second:
			fail("does not age by the clock")
		case h.age(h.Received.Add(-time.Minute)) != forever:
			fail("the clock was set back, and it is trusted")
		}
		if h.Header.Get("Cache-Control") == "" && h.Header.Get("Expires") == "" {
			if lifetime > maxHeuristic || h.Status == 302 && lifetime > 0 {
				fail("heuristic")
			}
		}

		q := &query{req: &http.Request{Header: make(http.Header)}}
		if got, want := q.judge(h, now) == serve, age < lifetime; got != want {
			fail("judged otherwise")
		}
		n := seconds(5000)
		ask := func(format string) verdict {
			q.cc = parseDirectives([]string{fmt.Sprintf(format, int64(n/time.Second))})
			return q.judge(h, now)
		}
		if got, want := ask("max-stale=%d") == serve, age < lifetime+n || age == lifetime+n; got != want && age >= lifetime {
			fail(fmt.Sprintf("max-stale %v", n))
		}
		if got, want := ask("min-fresh=%d") == serve, age < lifetime && age+n <= lifetime; got != want {
			fail(fmt.Sprintf("min-fresh %v", n))
		}
		if got, want := ask("max-age=%d") == serve, age < lifetime && age <= n; got != want {
			fail(fmt.Sprintf("max-age %v", n))
		}
		h.Header.Set("Cache-Control", "must-revalidate")
		if ask("max-stale=%d") == serve && h.age(now) >= h.lifetime() {
			fail("must-revalidate is not kept")
		}
		q.policy = ReloadRevalidating
		if q.judge(h, now) != validate {
			fail("reloadRevalidating does not ask")
		}
	}
}

func TestHugeAges(t *testing.T) {
	t.Parallel()
	h := &head{Status: 200, Header: http.Header{"Age": {"99999999999999999999"}, "Cache-Control": {"max-age=99999999999999999999"}}}
	h.Received = time.Unix(1e9, 0)
	h.Requested = h.Received
	if got := h.lifetime(); got != maxSeconds*time.Second {
		t.Errorf("lifetime %v", got)
	}
	if got := h.age(h.Received); got != maxSeconds*time.Second {
		t.Errorf("age %v", got)
	}
	h.Header.Set("Date", "Mon, 01 Jan 0001 00:00:00 GMT")
	if got := h.age(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)); got < 0 {
		t.Errorf("age %v", got)
	}
}
