package freshness

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// exchange is a response and, after a while, a request. What is -1 or none is not there. Times are in whole seconds, those of
// dates from the moment that the response came.
type exchange struct {
	Status                      int
	MaxAge, Age                 int
	Date, Expires, LastModified *int
	NoCache, MustRevalidate     bool

	Wait int

	WantMaxAge, MinFresh, MaxStale int
	AnyStale                       bool // max-stale without a number
}

func drawCase(t *rapid.T) exchange {
	number := func(name string, most int) int { return rapid.IntRange(-most/2, most).Draw(t, name) }
	some := func(name string, most int) int { return max(-1, number(name, most)) }
	date := func(name string, least, most int) *int {
		return rapid.OneOf(rapid.Just[*int](nil), rapid.Ptr(rapid.IntRange(least, most), false)).Draw(t, name)
	}
	c := exchange{
		Status: rapid.SampledFrom([]int{200, 404, 302}).Draw(t, "status"),
		MaxAge: some("max-age", 1000), Age: some("age", 500),
		Date: date("date", -1000, 500), Expires: date("expires", -1000, 2000), LastModified: date("last-modified", -1e8, 1000),
		NoCache: rapid.IntRange(0, 9).Draw(t, "no-cache") == 9, MustRevalidate: rapid.Bool().Draw(t, "must-revalidate"),
		WantMaxAge: some("request's max-age", 2000), MinFresh: some("min-fresh", 1000), MaxStale: some("max-stale", 2000),
		AnyStale: rapid.IntRange(0, 9).Draw(t, "any stale") == 9,
	}
	// Mostly it is about when an answer changes.
	fresh := int(c.lifetime()/time.Second) - int(c.age()/time.Second)
	at := rapid.SampledFrom([]int{0, fresh, fresh, fresh + c.MaxStale, fresh - c.MinFresh, c.WantMaxAge - int(c.age()/time.Second)}).Draw(t, "at")
	c.Wait = max(0, at+rapid.IntRange(-2, 2).Draw(t, "wait"))
	return c
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// response is the header of the response that comes now.
func (c *exchange) response(now time.Time) http.Header {
	h := http.Header{"Etag": {`"v"`}}
	for name, offset := range map[string]*int{"Date": c.Date, "Expires": c.Expires, "Last-Modified": c.LastModified} {
		if offset != nil {
			h.Set(name, now.Add(seconds(*offset)).UTC().Format(http.TimeFormat))
		}
	}
	if c.Age >= 0 {
		h.Set("Age", fmt.Sprint(c.Age))
	}
	var cc []string
	if c.MaxAge >= 0 {
		cc = append(cc, fmt.Sprintf("max-age=%d", c.MaxAge))
	}
	if c.NoCache {
		cc = append(cc, "no-cache")
	}
	if c.MustRevalidate {
		cc = append(cc, "must-revalidate")
	}
	if len(cc) > 0 {
		h.Set("Cache-Control", strings.Join(cc, ", "))
	}
	return h
}

// request is the header of the request that comes after Wait.
func (c *exchange) request() http.Header {
	h := http.Header{}
	for name, n := range map[string]int{"max-age": c.WantMaxAge, "min-fresh": c.MinFresh, "max-stale": c.MaxStale} {
		if n >= 0 && !(name == "max-stale" && c.AnyStale) {
			h.Add("Cache-Control", fmt.Sprintf("%s=%d", name, n))
		}
	}
	if c.AnyStale {
		h.Add("Cache-Control", "max-stale")
	}
	return h
}

// date is when the server says that it made the response, else when it came.
func (c *exchange) date() int {
	if c.Date == nil {
		return 0
	}
	return *c.Date
}

// lifetime is section 4.2.1, and a tenth of the age that the content had, a week at most, where that is left to the cache.
func (c *exchange) lifetime() time.Duration {
	switch {
	case c.MaxAge >= 0:
		return seconds(c.MaxAge)
	case c.Expires != nil:
		return max(0, seconds(*c.Expires-c.date()))
	case c.LastModified != nil && c.Status != 302: // RFC 9110, section 15.1
		return min(7*24*time.Hour, max(0, seconds(c.date()-*c.LastModified)/10))
	}
	return 0
}

// age is section 4.2.3; the answer took no time.
func (c *exchange) age() time.Duration {
	return seconds(max(0, -c.date(), c.Age) + c.Wait)
}

// mayBeUsed is sections 3, 4 and 5.2: the response without asking the server.
func (c *exchange) mayBeUsed() bool {
	if c.Status == 302 && c.MaxAge < 0 && c.Expires == nil || c.NoCache {
		return false
	}
	age, lifetime := c.age(), c.lifetime()
	if c.WantMaxAge >= 0 && age > seconds(c.WantMaxAge) {
		return false
	}
	if c.MinFresh >= 0 && lifetime-age < seconds(c.MinFresh) {
		return false
	}
	switch {
	case age < lifetime:
		return true
	case c.MustRevalidate:
		return false
	}
	return c.AnyStale || c.MaxStale >= 0 && age-lifetime <= seconds(c.MaxStale)
}
