package urlsession

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// cached is a session with a cache, and an origin whose resource has versions.
type cached struct {
	t   *testing.T
	s   *Session
	srv *urlsessiontest.Server
}

// inBubble runs a test of a session with a cache, by the bubble's clock.
func inBubble(t *testing.T, change func(*Configuration), test func(c *cached)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, srv := startInBubble(t, change)
		test(&cached{t, s, srv})
	})
}

const page = "/page"

// has has the origin have this version, fresh for a minute unless header says otherwise.
func (c *cached) has(version string, header ...string) {
	h := http.Header{"Cache-Control": {"max-age=60"}}
	for _, f := range header {
		name, value, _ := strings.Cut(f, ": ")
		h.Set(name, value)
	}
	c.srv.Publish(page, urlsessiontest.Resource{Content: urlsessiontest.Bytes(version), ETag: `"` + version + `"`, Header: h})
}

// answer is what a request brings.
type answer struct {
	status int
	body   string
	from   FetchType
	asked  int // requests that reached the server
}

// do runs a data task.
func (c *cached) do(r Request) (answer, *Response, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	before := len(c.srv.Requests())
	made, err := c.s.DataTask(ctx, r)
	if err != nil {
		return answer{}, nil, err
	}
	var a answer
	for ev, err := range made.Events(ctx) {
		if err != nil {
			c.t.Fatal(err)
		}
		if m, ok := ev.(Metrics); ok {
			a.from = m.Transactions[len(m.Transactions)-1].Fetch
		}
	}
	a.asked = len(c.srv.Requests()) - before
	body, err := made.Body(ctx)
	if err != nil {
		return a, nil, err
	}
	resp, _ := made.Wait(ctx)
	a.status, a.body = resp.StatusCode, string(body)
	return a, resp, nil
}

// want is do of a GET, whose answer must be this.
func (c *cached) want(want answer, p CachePolicy, header ...string) *Response {
	c.t.Helper()
	got, resp, err := c.do(c.get(p, header...))
	if err != nil || got != want {
		c.t.Errorf("policy %d, %q: %+v, %v; want %+v", p, header, got, err, want)
	}
	return resp
}

func (c *cached) get(p CachePolicy, header ...string) Request {
	r := Get(c.srv.URL + page)
	r.CachePolicy, r.Header = p, make(http.Header)
	for _, f := range header {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func (c *cached) post() {
	c.t.Helper()
	if _, _, err := c.s.Upload(c.t.Context(), Post(c.srv.URL+page, Text("x"))); err != nil {
		c.t.Error(err)
	}
}

// lastAsked is a field of the request that reached the server last.
func (c *cached) lastAsked(name string) string {
	all := c.srv.Requests()
	return strings.Join(all[len(all)-1].Header[name], ", ")
}

// TestCachePolicies: each policy, where nothing is stored, where it is fresh, stale, and stale and no more right.
func TestCachePolicies(t *testing.T) {
	network := func(body string) answer { return answer{200, body, FetchNetwork, 1} }
	stored := answer{200, "1", FetchCache, 0}
	validated := answer{200, "1", FetchValidated, 1}
	for policy, want := range map[CachePolicy]struct {
		miss, fresh, stale, changed answer
		sends                       map[string]string // to the server, where something is stored
	}{
		CachePolicyDefault:                {network("1"), stored, validated, network("2"), map[string]string{"If-None-Match": `"1"`}},
		CacheUseProtocol:                  {network("1"), stored, validated, network("2"), map[string]string{"If-None-Match": `"1"`}},
		CacheReloadIgnoringLocal:          {network("1"), network("1"), network("1"), network("2"), map[string]string{"If-None-Match": "", "Cache-Control": ""}},
		CacheReturnElseLoad:               {network("1"), stored, stored, stored, nil},
		CacheReturnDontLoad:               {answer{}, stored, stored, stored, nil},
		CacheReloadIgnoringLocalAndRemote: {network("1"), network("1"), network("1"), network("2"), map[string]string{"If-None-Match": "", "Cache-Control": "no-cache", "Pragma": "no-cache"}},
		CacheReloadRevalidating:           {network("1"), validated, validated, network("2"), map[string]string{"If-None-Match": `"1"`, "Cache-Control": "max-age=0"}},
	} {
		for where, set := range map[string]func(c *cached) CachePolicy{
			"request":       func(c *cached) CachePolicy { return policy },
			"configuration": func(c *cached) CachePolicy { return CachePolicyDefault },
		} {
			t.Run(fmt.Sprintf("%d of the %s", policy, where), func(t *testing.T) {
				inBubble(t, func(c *Configuration) {
					if where == "configuration" {
						c.RequestCachePolicy = policy
					} else if policy != CachePolicyDefault {
						c.RequestCachePolicy = CacheReloadRevalidating // which the request's own wins over
					}
				}, func(c *cached) {
					p := set(c)
					c.has("1")
					if want.miss == (answer{}) {
						_, _, err := c.do(c.get(p))
						wantCode(t, err, ErrCannotLoadFromNetwork)
						if n := len(c.srv.Requests()); n != 0 {
							t.Errorf("a miss asked the server %d times", n)
						}
						c.want(network("1"), CacheUseProtocol)
					} else {
						c.want(want.miss, p)
					}
					c.want(want.fresh, p)
					time.Sleep(2 * time.Minute)
					c.want(want.stale, p)
					time.Sleep(2 * time.Minute)
					c.has("2")
					c.want(want.changed, p)
					if want.sends == nil {
						return
					}
					for name, value := range want.sends {
						if got := c.lastAsked(name); got != value {
							t.Errorf("%s is %q, want %q", name, got, value)
						}
					}
				})
			})
		}
	}
}

// TestPoliciesWithoutACache: what is asked for is not stored; what speaks to other caches does.
func TestPoliciesWithoutACache(t *testing.T) {
	inBubble(t, func(c *Configuration) { c.URLCache = nil }, func(c *cached) {
		c.has("1")
		_, _, err := c.do(c.get(CacheReturnDontLoad))
		wantCode(c.t, err, ErrCannotLoadFromNetwork)
		for range 2 {
			c.want(answer{200, "1", FetchNetwork, 1}, CacheReturnElseLoad)
			c.want(answer{200, "1", FetchNetwork, 1}, CacheUseProtocol)
		}
		c.want(answer{200, "1", FetchNetwork, 1}, CacheReloadIgnoringLocalAndRemote)
		if got := c.lastAsked("Cache-Control"); got != "no-cache" {
			c.t.Errorf("Cache-Control is %q", got)
		}
		if err := c.s.Flush(c.t.Context()); err != nil {
			c.t.Error(err)
		}
	})
}

func TestWhatMakesStoredResponsesWrong(t *testing.T) {
	inBubble(t, nil, func(c *cached) {
		c.has("1", "Vary: Accept-Language")
		c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
		c.want(answer{200, "1", FetchCache, 0}, CachePolicyDefault)
		c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault, "Accept-Language: de")
		c.want(answer{200, "1", FetchCache, 0}, CachePolicyDefault, "Accept-Language: de")
		c.want(answer{200, "1", FetchCache, 0}, CachePolicyDefault)
		c.srv.Script(page, urlsessiontest.Respond(500, "text/plain", "no"))
		c.post()
		c.want(answer{200, "1", FetchCache, 0}, CachePolicyDefault)
		c.post()
		for _, language := range []string{"Accept-Language: de", "Accept-Language: en"} {
			c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault, language)
		}
	})
}

// TestAccountsDoNotShareResponses: one account's answer is not another's, nor anybody's, unless it is public.
func TestAccountsDoNotShareResponses(t *testing.T) {
	inBubble(t, nil, func(c *cached) {
		for _, public := range []bool{false, true} {
			c.has("1")
			if public {
				c.has("1", "Cache-Control: public, max-age=60")
				c.post()
			}
			c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault, "Authorization: Bearer a")
			c.want(answer{200, "1", FetchCache, 0}, CachePolicyDefault, "Authorization: Bearer a")
			other := answer{200, "1", FetchNetwork, 1}
			if public {
				other = answer{200, "1", FetchCache, 0}
			}
			c.want(other, CachePolicyDefault, "Authorization: Bearer b")
			c.want(other, CachePolicyDefault)
		}
	})
}

// TestRequestsOwnDirectives are obeyed as RFC 9111 says, and a 504 of the cache's own is not tried again.
func TestRequestsOwnDirectives(t *testing.T) {
	inBubble(t, func(c *Configuration) { c.Retries = 5 }, func(c *cached) {
		begin := time.Now()
		c.want(answer{504, "", FetchCache, 0}, CachePolicyDefault, "Cache-Control: only-if-cached")
		if took := time.Since(begin); took != 0 {
			c.t.Errorf("only-if-cached took %v", took)
		}
		c.has("1")
		c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault, "Cache-Control: no-store")
		c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
		c.want(answer{200, "1", FetchValidated, 1}, CachePolicyDefault, "Cache-Control: no-cache")
		c.want(answer{200, "1", FetchValidated, 1}, CachePolicyDefault, "Pragma: no-cache")
		c.want(answer{200, "1", FetchCache, 0}, CachePolicyDefault, "Cache-Control: only-if-cached")
		time.Sleep(90 * time.Second)
		c.want(answer{200, "1", FetchCache, 0}, CachePolicyDefault, "Cache-Control: max-stale=60")
		c.want(answer{504, "", FetchCache, 0}, CachePolicyDefault, "Cache-Control: only-if-cached")
		c.want(answer{200, "1", FetchValidated, 1}, CachePolicyDefault, "Cache-Control: max-stale=10")
	})
}

// TestStoredErrorsAreNotTriedAgain: the next try would be answered by them, too.
func TestStoredErrorsAreNotTriedAgain(t *testing.T) {
	inBubble(t, nil, func(c *cached) {
		down := urlsessiontest.All(urlsessiontest.Respond(503, "text/plain", "down"), urlsessiontest.SetHeader("Cache-Control", "max-age=60"))
		c.srv.Script(page, down)
		c.want(answer{503, "down", FetchNetwork, 1}, CachePolicyDefault)
		config := c.s.Configuration()
		config.Retries = 5
		s, err := New(config)
		if err != nil {
			c.t.Fatal(err)
		}
		defer s.Close()
		patient := &cached{c.t, s, c.srv}
		begin := time.Now()
		patient.want(answer{503, "down", FetchCache, 0}, CachePolicyDefault)
		if took := time.Since(begin); took != 0 {
			c.t.Errorf("it was tried again, for %v", took)
		}
	})
}

func TestRangesAndHeads(t *testing.T) {
	inBubble(t, nil, func(c *cached) {
		c.has("0123456789")
		c.want(answer{206, "23", FetchNetwork, 1}, CachePolicyDefault, "Range: bytes=2-3")
		c.want(answer{206, "23", FetchNetwork, 1}, CachePolicyDefault, "Range: bytes=2-3")
		// A task that asks for codings, and one for a range that does not, ask for the same where nothing is coded.
		c.want(answer{200, "0123456789", FetchNetwork, 1}, CachePolicyDefault)
		resp := c.want(answer{206, "23", FetchCache, 0}, CachePolicyDefault, "Range: bytes=2-3")
		if got := resp.Header.Get("Content-Range"); got != "bytes 2-3/10" {
			c.t.Errorf("Content-Range is %q", got)
		}
		c.want(answer{416, "", FetchCache, 0}, CachePolicyDefault, "Range: bytes=10-")
		c.want(answer{206, "9", FetchCache, 0}, CachePolicyDefault, "Range: bytes=-1", `If-Range: "0123456789"`)
		c.want(answer{200, "0123456789", FetchCache, 0}, CachePolicyDefault, "Range: bytes=-1", `If-Range: "old"`)

		got, head, err := c.do(Head(c.srv.URL + page))
		if err != nil || got != (answer{200, "", FetchCache, 0}) || head.Header.Get("Etag") != `"0123456789"` || head.ContentLength != 10 {
			c.t.Errorf("HEAD: %+v, %+v, %v", got, head, err)
		}
		time.Sleep(2 * time.Minute)
		c.has("new")
		if got, _, err := c.do(Head(c.srv.URL + page)); err != nil || got != (answer{200, "", FetchNetwork, 1}) {
			c.t.Errorf("HEAD of a stale one: %+v, %v", got, err)
		}
		_, _, err = c.do(c.get(CacheReturnDontLoad)) // HEAD has told that it is another
		wantCode(c.t, err, ErrCannotLoadFromNetwork)
	})
}

// TestCodedResponses are stored as they came, and decoded anew.
func TestCodedResponses(t *testing.T) {
	inBubble(t, nil, func(c *cached) {
		c.has("text")
		c.srv.Script(page, urlsessiontest.Gzip())
		c.want(answer{200, "text", FetchNetwork, 1}, CachePolicyDefault)
		c.want(answer{200, "text", FetchCache, 0}, CachePolicyDefault)
		c.want(answer{200, "text", FetchNetwork, 1}, CachePolicyDefault, "Accept-Encoding: identity")
		all, err := c.s.config.URLCache.Entries(c.srv.URL + page)
		if err != nil || len(all) != 2 || !slices.Contains(all[1].Vary, "accept-encoding") {
			c.t.Errorf("%+v, %v", all, err)
		}
	})
}

func TestWillCache(t *testing.T) {
	asked := 0
	var seen Response
	inBubble(t, func(c *Configuration) {
		c.WillCache = func(r *Response) bool {
			asked++
			seen = *r
			seen.Header = r.Header.Clone()
			r.Header.Set("X-Seen", "yes")
			r.Header.Set("Cache-Control", "max-age=10")
			if r.Header.Get("X-Empty") != "" {
				r.Header = nil
			}
			return r.Header.Get("X-Private") == ""
		}
	}, func(c *cached) {
		c.has("1", "X-Private: yes")
		for range 2 {
			c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
		}
		c.has("2")
		if resp := c.want(answer{200, "2", FetchNetwork, 1}, CachePolicyDefault); resp.Header.Get("X-Seen") != "" {
			c.t.Error("what is stored changes the response")
		}
		if resp := c.want(answer{200, "2", FetchCache, 0}, CachePolicyDefault); resp.Header.Get("X-Seen") != "yes" {
			c.t.Error("the change is not stored")
		}
		if asked != 3 || seen.URL != c.srv.URL+page || seen.StatusCode != 200 || seen.Header.Get("Etag") != `"2"` || seen.ContentLength != 1 {
			c.t.Errorf("asked %d times, about %+v", asked, seen)
		}
		time.Sleep(11 * time.Second)
		c.want(answer{200, "2", FetchValidated, 1}, CachePolicyDefault)
		c.post()
		c.has("3", "X-Empty: yes")
		c.want(answer{200, "3", FetchNetwork, 1}, CachePolicyDefault)
		c.want(answer{200, "3", FetchCache, 0}, CacheReturnElseLoad)
	})
}

// TestCacheConfigurations that mean nothing are refused, by the field's name.
func TestCacheConfigurations(t *testing.T) {
	inBackground := func() Configuration { return Background("com.example.cache") }
	for field, c := range map[string]func() Configuration{
		"RequestCachePolicy is":     func() Configuration { c := Ephemeral(); c.RequestCachePolicy = 9; return c },
		"RequestCachePolicy is -1":  func() Configuration { c := Ephemeral(); c.RequestCachePolicy = -1; return c },
		"URLCache was not":          func() Configuration { c := Ephemeral(); c.URLCache = new(URLCache); return c },
		"URLCache is set":           func() Configuration { c := inBackground(); c.URLCache = NewURLCache(0); return c },
		"RequestCachePolicy is set": func() Configuration { c := inBackground(); c.RequestCachePolicy = CacheReturnElseLoad; return c },
		"WillCache is set": func() Configuration {
			c := inBackground()
			c.WillCache = func(*Response) bool { return true }
			return c
		},
	} {
		if _, err := New(c()); err == nil || !strings.Contains(err.Error(), "Configuration."+field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	s, srv := start(t, nil)
	for _, p := range []CachePolicy{-1, 7} {
		r := Get(srv.URL)
		r.CachePolicy = p
		if _, _, err := s.Data(t.Context(), r); err == nil || !strings.Contains(err.Error(), "Request.CachePolicy") {
			t.Errorf("policy %d: %v", p, err)
		}
	}
	b, _, _ := background(t)
	r := Get(srv.URL)
	r.CachePolicy = CacheUseProtocol
	if _, _, err := b.Data(within(t), r); err == nil || !strings.Contains(err.Error(), "Request.CachePolicy") {
		t.Errorf("in the background: %v", err)
	}
}
