package httpcache

import (
	"math"
	"net/http"
	"strings"
	"time"
)

const (
	heuristicPart = 10                 // a response without an expiry is fresh for this part of the age it had
	maxHeuristic  = 7 * 24 * time.Hour // and for so long at most
	clockSlack    = 5 * time.Second    // that a clock may be set back without notice
	forever       = time.Duration(math.MaxInt64)
)

// heuristic are the statuses that may be used without an explicit expiry (RFC 9110, section 15.1). 206 is not stored.
var heuristic = map[int]bool{
	200: true, 203: true, 204: true, 300: true, 301: true, 308: true, 404: true, 405: true, 410: true, 414: true, 501: true,
}

// date is when the server made the response.
func (h *head) date() time.Time {
	if t, err := http.ParseTime(h.Header.Get("Date")); err == nil {
		return t
	}
	return h.Received
}

// lifetime is how old the response may be and still be fresh (RFC 9111, section 4.2.1). It is never negative.
func (h *head) lifetime() time.Duration {
	cc := responseDirectives(h.Header)
	if s, ok := cc.seconds("max-age"); ok {
		return s
	}
	if values, ok := h.Header["Expires"]; ok {
		t, err := http.ParseTime(strings.Join(values, ","))
		if err != nil { // "0" is usual
			return 0
		}
		return max(0, t.Sub(h.date()))
	}
	if h.lastModified() == "" || !heuristic[h.Status] && !cc.has("public") {
		return 0
	}
	modified, err := http.ParseTime(h.lastModified())
	if err != nil {
		return 0
	}
	return min(maxHeuristic, max(0, h.date().Sub(modified)/heuristicPart))
}

// usableStale reports whether the response allows itself to be used when it is stale (RFC 5861).
func (h *head) usableStale() bool {
	cc := responseDirectives(h.Header)
	return cc.has("stale-while-revalidate") || cc.has("stale-if-error")
}

// age is the response's age at now (RFC 9111, section 4.2.3). It is forever where the clock has been set back since the
// response came, for then there is no telling.
func (h *head) age(now time.Time) time.Duration {
	resident := now.Round(0).Sub(h.Received)
	if resident < -clockSlack {
		return forever
	}
	apparent := max(0, h.Received.Sub(h.date()))
	said, _ := parseSeconds(strings.TrimSpace(h.Header.Get("Age")))
	corrected := said + max(0, h.Received.Sub(h.Requested))
	return add(max(apparent, corrected), max(0, resident))
}

// add is a+b of two durations that are not negative, without overflow.
func add(a, b time.Duration) time.Duration {
	if a > forever-b {
		return forever
	}
	return a + b
}

// verdict is what may be done with a stored response.
type verdict int

const (
	validate      verdict = iota // ask the server first
	serve                        // use it
	serveAndRenew                // use it, and ask the server meanwhile (RFC 5861, section 3)
)

// judge says what q may do with h at now (RFC 9111, section 4).
func (q *query) judge(h *head, now time.Time) verdict {
	switch q.policy {
	case ReturnElseLoad, ReturnDontLoad:
		return serve
	case ReloadRevalidating:
		return validate
	}
	cc := responseDirectives(h.Header)
	if cc.always("no-cache") || q.cc.has("no-cache") {
		return validate
	}
	age, lifetime := h.age(now), h.lifetime()
	fresh := age < lifetime
	most, limited := q.cc.seconds("max-age")
	if limited && age > most && !(most == 0 && fresh && cc.has("immutable")) { // a reload says max-age=0 (RFC 8246)
		return validate
	}
	if least, ok := q.cc.seconds("min-fresh"); ok && (age > lifetime || lifetime-age < least) {
		return validate
	}
	if fresh {
		return serve
	}
	if cc.has("must-revalidate") || age == forever {
		return validate
	}
	if q.cc.always("max-stale") {
		return serve
	}
	if most, ok := q.cc.seconds("max-stale"); ok && age-lifetime <= most {
		return serve
	}
	if most, ok := cc.seconds("stale-while-revalidate"); ok && age-lifetime <= most && !limited &&
		!q.cc.has("min-fresh") && !q.cc.has("no-store") && !q.cc.has("only-if-cached") {
		return serveAndRenew
	}
	return validate
}

// insteadOfError reports whether q may have h where the server could not be asked, or failed (RFC 5861, section 4).
func (q *query) insteadOfError(h *head, now time.Time) bool {
	cc := responseDirectives(h.Header)
	if cc.always("no-cache") || cc.has("must-revalidate") || q.cc.has("no-cache") || q.policy == ReloadRevalidating {
		return false
	}
	age, lifetime := h.age(now), h.lifetime()
	for _, d := range []directives{cc, q.cc} {
		if most, ok := d.seconds("stale-if-error"); ok && age != forever && age-lifetime <= most {
			return true
		}
	}
	return false
}
