package urlsession

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// TestDownloadsGoPastTheCache: they neither read nor store, and what else they do at the server counts.
func TestDownloadsGoPastTheCache(t *testing.T) {
	s, srv := start(t, func(c *Configuration) { c.RequestCachePolicy = CacheReturnElseLoad })
	c := &cached{t, s, srv}
	c.has("1")
	c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
	c.has("2")
	dir := t.TempDir()
	download := func(r Request, name string) {
		t.Helper()
		before := len(srv.Requests())
		resp, err := s.Download(t.Context(), r, filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := os.ReadFile(resp.Path); string(text) != "2" || len(srv.Requests()) != before+1 {
			t.Errorf("%q, asked %d times", text, len(srv.Requests())-before)
		}
	}
	download(Get(srv.URL+page), "a")
	c.want(answer{200, "1", FetchCache, 0}, CachePolicyDefault)
	download(Post(srv.URL+page, Text("x")), "b")
	c.want(answer{200, "2", FetchNetwork, 1}, CachePolicyDefault)

	r := c.get(CacheReturnDontLoad)
	_, err := s.Download(t.Context(), r, filepath.Join(dir, "c"))
	if err == nil || !strings.Contains(err.Error(), "Request.CachePolicy") {
		t.Errorf("a download with a policy: %v", err)
	}
}

// TestRedirectsAreStored, and each hop is a transaction of its own.
func TestRedirectsAreStored(t *testing.T) {
	inBubble(t, nil, func(c *cached) {
		c.has("1")
		c.srv.Script("/old", urlsessiontest.All(urlsessiontest.Redirect(301, page), urlsessiontest.SetHeader("Cache-Control", "max-age=60")))
		for _, want := range []string{"[ ]", "[cache cache]"} {
			made, err := c.s.DataTask(c.t.Context(), Get(c.srv.URL+"/old"))
			if err != nil {
				c.t.Fatal(err)
			}
			for ev := range made.Events(c.t.Context()) {
				m, ok := ev.(Metrics)
				if !ok {
					continue
				}
				var from []FetchType
				for _, x := range m.Transactions {
					from = append(from, x.Fetch)
					if x.Fetch == FetchCache && (x.Connect != 0 || x.DNS != 0 || x.TLS != 0 || x.Remote != "" || x.Reused) {
						c.t.Errorf("without a connection, and %+v", x)
					}
				}
				if got := fmt.Sprint(from); got != want || m.Transactions[0].StatusCode != 301 {
					c.t.Errorf("%s, want %s: %+v", got, want, m.Transactions)
				}
			}
			if body, err := made.Body(c.t.Context()); err != nil || string(body) != "1" {
				c.t.Errorf("%q, %v", body, err)
			}
		}
	})
}

func TestRoundTripperUsesTheCache(t *testing.T) {
	for policy, want := range map[CachePolicy]string{CachePolicyDefault: "1", CacheReloadIgnoringLocal: "2"} {
		inBubble(t, func(c *Configuration) { c.RequestCachePolicy = policy }, func(c *cached) {
			client := &http.Client{Transport: c.s.RoundTripper()}
			get := func(directive string) string {
				c.t.Helper()
				req, err := http.NewRequest("GET", c.srv.URL+page, nil)
				if err != nil {
					c.t.Fatal(err)
				}
				if directive != "" {
					req.Header.Set("Cache-Control", directive)
				}
				resp, err := client.Do(req)
				if err != nil {
					c.t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.Request != req {
					c.t.Error(resp.Request, err)
				}
				return string(body)
			}
			c.has("1")
			get("")
			c.has("2")
			if got := get(""); got != want {
				c.t.Errorf("policy %d gives %q", policy, got)
			}
			if got := get("no-cache"); got != "2" {
				c.t.Errorf("no-cache gives %q", got)
			}
		})
	}
	s, srv := start(t, func(c *Configuration) { c.RequestCachePolicy = CacheReturnDontLoad })
	client := &http.Client{Transport: s.RoundTripper()}
	_, err := client.Get(srv.URL + "/?key=hunter2")
	if e, ok := err.(interface{ Unwrap() error }); !ok || strings.Contains(e.Unwrap().Error(), "hunter2") {
		t.Error(err)
	} else {
		wantCode(t, e.Unwrap(), ErrCannotLoadFromNetwork)
	}
}

// TestRenewals go on behind an answer, keep cookies, trace nothing, and end with the session.
func TestRenewals(t *testing.T) {
	inBubble(t, nil, func(c *cached) {
		c.has("1", "Cache-Control: max-age=60, stale-while-revalidate=600")
		c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
		time.Sleep(2 * time.Minute)
		c.has("2", "Cache-Control: max-age=60, stale-while-revalidate=600")
		c.srv.Script(page, urlsessiontest.SetCookie("k=v"))
		got, _, err := c.do(c.get(CachePolicyDefault))
		if err != nil || got.body != "1" || got.from != FetchCache {
			c.t.Errorf("%+v, %v", got, err)
		}
		synctest.Wait()
		if n := len(c.srv.Requests()); n != 2 {
			c.t.Errorf("the server was asked %d times", n)
		}
		c.want(answer{200, "2", FetchCache, 0}, CachePolicyDefault)
		if _, _, err := c.s.Data(c.t.Context(), Get(c.srv.URL+"/other")); err != nil {
			c.t.Error(err)
		}
		if got := c.lastAsked("Cookie"); got != "k=v" {
			c.t.Errorf("after the renewal's cookie %q is sent", got)
		}
		time.Sleep(2 * time.Minute)
		c.srv.Script(page, urlsessiontest.Delay(urlsessiontest.Forever))
		if got, _, err := c.do(c.get(CachePolicyDefault)); err != nil || got.from != FetchCache {
			c.t.Errorf("%+v, %v", got, err)
		}
		synctest.Wait()
		begin := time.Now()
		if err := c.s.Close(); err != nil {
			c.t.Error(err)
		}
		if took := time.Since(begin); took != 0 {
			c.t.Errorf("Close waited %v for a renewal", took)
		}
	})
}

// TestRenewalsShareTheConnections of the session, and the next request waits for its turn.
func TestRenewalsShareTheConnections(t *testing.T) {
	s, srv := start(t, func(c *Configuration) { c.MaximumConnectionsPerHost = 1 })
	c := &cached{t, s, srv}
	c.has("1", "Cache-Control: max-age=0, stale-while-revalidate=600")
	c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
	gate := urlsessiontest.NewGate()
	srv.Script(page, urlsessiontest.HoldAt(urlsessiontest.BeforeHeader(), gate))
	if got, _, err := c.do(c.get(CachePolicyDefault)); err != nil || got.from != FetchCache {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := srv.WaitRequests(within(t), page, 2); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, _, err := s.Data(within(t), Get(srv.URL+"/other")); done <- err }()
	gate.Open()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := srv.Load().TotalConnections; n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestStaleIfError: where the server fails, or cannot be reached, what is stored is used if it says so, and nothing is tried again.
func TestStaleIfError(t *testing.T) {
	inBubble(t, func(c *Configuration) { c.Retries = 3 }, func(c *cached) {
		c.has("1", "Cache-Control: max-age=60, stale-if-error=600")
		c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
		time.Sleep(2 * time.Minute)
		begin := time.Now()
		c.srv.Script(page, urlsessiontest.Silent(), urlsessiontest.Respond(503, "text/plain", "down"))
		for range 2 {
			c.want(answer{200, "1", FetchCache, 1}, CachePolicyDefault)
		}
		if took := time.Since(begin); took != 0 {
			c.t.Errorf("it was tried again, for %v", took)
		}
		c.want(answer{200, "1", FetchValidated, 1}, CachePolicyDefault)
	})
}

// TestWhatIsNotReadIsNotStored: a body that was cut, is too large for its task, or was given up.
func TestWhatIsNotReadIsNotStored(t *testing.T) {
	inBubble(t, nil, func(c *cached) {
		body := strings.Repeat("x", 100_000)
		for name, fail := range map[string]func(r *Request) error{
			"cut":       func(*Request) error { c.srv.Script(page, urlsessiontest.Truncate(50_000)); return ErrConnectionLost },
			"too large": func(r *Request) error { r.Limit = 1000; return ErrDataTooLarge },
			"an error":  func(r *Request) error { r.FailOnHTTPError = true; return ErrBadServerResponse },
		} {
			header := []string{}
			if name == "an error" {
				c.srv.Script(page, urlsessiontest.All(urlsessiontest.Respond(404, "text/plain", body), urlsessiontest.SetHeader("Cache-Control", "max-age=60")))
			}
			c.has(body, header...)
			r := c.get(CachePolicyDefault)
			want := fail(&r)
			_, _, err := c.do(r)
			wantCode(c.t, err, want.(Code))
			if all, err := c.s.config.URLCache.Entries(); err != nil || len(all) != 0 {
				c.t.Errorf("%s: stored are %+v, %v", name, all, err)
			}
		}
		ctx, cancel := context.WithCancel(c.t.Context())
		c.srv.Script(page, urlsessiontest.StallAt(urlsessiontest.AtBody(50_000), urlsessiontest.Forever))
		time.AfterFunc(time.Second, cancel)
		_, _, err := c.s.Data(ctx, c.get(CachePolicyDefault))
		wantCode(c.t, err, ErrCancelled)
		if all, err := c.s.config.URLCache.Entries(); err != nil || len(all) != 0 {
			c.t.Errorf("given up: stored are %+v, %v", all, err)
		}
		c.want(answer{200, body, FetchNetwork, 1}, CachePolicyDefault)
		c.want(answer{200, body, FetchCache, 0}, CachePolicyDefault)
	})
}
