package httpcache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		do := func(p Policy, wantBody string, want Source) {
			t.Helper()
			if _, body := w.do(w.under(p, page)); body != wantBody || w.source != want {
				t.Errorf("policy %d: %q from %d, want %q from %d", p, body, w.source, wantBody, want)
			}
		}
		_, err := w.cache.RoundTrip(w.under(ReturnDontLoad, page+"?token=hidden"))
		if !errors.Is(err, task.CannotLoadFromNetwork) || strings.Contains(err.Error(), "hidden") || len(w.asked) != 0 {
			t.Errorf("a miss is %v, after %d requests", err, len(w.asked))
		}
		_, err = w.cache.RoundTrip(w.under(ReturnDontLoad, "HEAD "+page))
		if !errors.Is(err, task.CannotLoadFromNetwork) {
			t.Errorf("a miss of HEAD is %v", err)
		}
		w.says(200, "1", "Cache-Control: max-age=60", `Etag: "1"`)
		do(ReturnElseLoad, "1", FromNetwork)
		w.says(200, "2", "Cache-Control: max-age=60", `Etag: "2"`)
		do(UseProtocol, "1", FromCache)
		do(ReloadIgnoringLocal, "2", FromNetwork)
		if w.lastAsked("If-None-Match") != "" || w.lastAsked("Cache-Control") != "" {
			t.Errorf("a reload asked with %v", w.asked[len(w.asked)-1].Header)
		}
		do(UseProtocol, "2", FromCache)
		w.says(200, "3", "Cache-Control: max-age=60", `Etag: "3"`)
		do(ReloadIgnoringLocalAndRemote, "3", FromNetwork)
		if w.lastAsked("Cache-Control") != "no-cache" || w.lastAsked("Pragma") != "no-cache" || w.lastAsked("If-None-Match") != "" {
			t.Errorf("a reload of all asked with %v", w.asked[len(w.asked)-1].Header)
		}
		w.says(304, "")
		do(ReloadRevalidating, "3", FromValidated)
		if w.lastAsked("Cache-Control") != "max-age=0" || w.lastAsked("If-None-Match") != `"3"` {
			t.Errorf("a revalidation asked with %v", w.asked[len(w.asked)-1].Header)
		}
		time.Sleep(time.Hour)
		do(ReturnElseLoad, "3", FromCache)
		do(ReturnDontLoad, "3", FromCache)

		// What says nothing of caching is stored for who wants it whatever its age.
		w.says(200, "plain")
		req := w.under(ReturnElseLoad, page+"/plain")
		w.do(req)
		if w.do(req); w.source != FromCache {
			t.Errorf("else load: from %d", w.source)
		}

		w.says(200, "unseen", "Cache-Control: max-age=60")
		req = newRequest(t, page+"/without")
		req = req.WithContext(WithoutCache(req.Context()))
		w.do(req)
		w.get(page+"/without", 200, "unseen", FromNetwork)
	})
}

func TestReturnDontLoadOfOtherMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t, InMemory(1<<20), Options{})
	req := w.under(ReturnDontLoad, "POST "+page)
	body := &closing{Reader: strings.NewReader("x")}
	req.Body = body
	if _, err := w.cache.RoundTrip(req); !errors.Is(err, task.CannotLoadFromNetwork) || len(w.asked) != 0 || !body.closed {
		t.Errorf("%v, asked %d times, closed %v", err, len(w.asked), body.closed)
	}
}

func TestOnlyIfCached(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.get(page, 504, "", FromCache, "Cache-Control: only-if-cached")
		w.says(200, "x", "Cache-Control: max-age=60", `Etag: "1"`)
		w.get(page, 200, "x", FromNetwork)
		w.get(page, 200, "x", FromCache, "Cache-Control: only-if-cached")
		time.Sleep(time.Minute)
		w.get(page, 504, "", FromCache, "Cache-Control: only-if-cached")
		w.get(page, 200, "x", FromCache, "Cache-Control: only-if-cached, max-stale=5")
	})
}

func TestStaleIfError(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "x", "Cache-Control: max-age=60, stale-if-error=60", `Etag: "1"`)
		w.get(page, 200, "x", FromNetwork)
		w.get(page+"/strict", 200, "x", FromNetwork)
		time.Sleep(100 * time.Second)
		w.says(503, "down")
		w.get(page, 200, "x", FromCache)
		w.says(404, "gone")
		w.get(page+"/strict", 404, "gone", FromNetwork)
		w.err = errBroken
		w.get(page, 200, "x", FromCache)
		_, err := w.cache.RoundTrip(newRequest(t, page, "Cache-Control: no-cache"))
		if !errors.Is(err, errBroken) {
			t.Errorf("with no-cache: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := w.cache.RoundTrip(newRequest(t, page).WithContext(ctx)); !errors.Is(err, errBroken) {
			t.Errorf("cancelled: %v", err)
		}
		time.Sleep(21 * time.Second)
		if _, err := w.cache.RoundTrip(newRequest(t, page)); !errors.Is(err, errBroken) {
			t.Errorf("later: %v", err)
		}
		w.get(page, 200, "x", FromCache, "Cache-Control: stale-if-error=600")
		w.err = nil
		w.says(503, "down")
		w.get(page, 503, "down", FromNetwork)
	})
}

func TestStaleWhileRevalidate(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "1", "Cache-Control: max-age=60, stale-while-revalidate=60", `Etag: "1"`)
		w.get(page, 200, "1", FromNetwork)
		time.Sleep(90 * time.Second)
		w.says(200, "2", "Cache-Control: max-age=60, stale-while-revalidate=60", `Etag: "2"`)
		w.get(page, 206, "1", FromCache, "Range: bytes=0-0")
		synctest.Wait()
		if len(w.asked) != 2 || w.lastAsked("If-None-Match") != `"1"` || w.lastAsked("Range") != "" {
			t.Fatalf("asked %d times, last with %v", len(w.asked), w.asked[len(w.asked)-1].Header)
		}
		w.get(page, 200, "2", FromCache)
		time.Sleep(90 * time.Second)
		w.says(304, "", "Cache-Control: max-age=60, stale-while-revalidate=60", `Etag: "2"`)
		w.get(page, 200, "2", FromCache)
		synctest.Wait()
		w.get(page, 200, "2", FromCache)
		if len(w.asked) != 3 {
			t.Errorf("asked %d times", len(w.asked))
		}
		time.Sleep(3 * time.Minute)
		w.get(page, 200, "2", FromValidated)
	})
}

// TestRenewals: they are bounded, one for each URL, and end with the Cache.
func TestRenewals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ended, begun int
		counting := make(chan struct{}, 1)
		c := New(origin(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("If-None-Match") != "" {
				counting <- struct{}{}
				begun++
				<-counting
				<-req.Context().Done()
				counting <- struct{}{}
				ended++
				<-counting
				return nil, req.Context().Err()
			}
			return reply(200, "x", "Cache-Control: max-age=1, stale-while-revalidate=600", `Etag: "1"`), nil
		}), InMemory(1<<20), Options{})
		ask := func() {
			for i := range 10 {
				resp, err := c.RoundTrip(newRequest(t, page+"/"+string(rune('a'+i))))
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
		ask()
		time.Sleep(2 * time.Second)
		ask()
		ask()
		synctest.Wait()
		if begun != maxRenewals {
			t.Errorf("%d renewals at once", begun)
		}
		c.Close()
		if ended != begun {
			t.Errorf("%d of %d have ended", ended, begun)
		}
		ask()
		synctest.Wait()
		if begun != maxRenewals {
			t.Error("a closed cache renews")
		}
	})
}

func TestContext(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "body", "Cache-Control: max-age=60")
		w.get(page, 200, "body", FromNetwork)
		ctx, cancel := context.WithCancel(context.Background())
		resp, err := w.cache.RoundTrip(newRequest(t, page).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if n, err := resp.Body.Read(make([]byte, 4)); n != 0 || err != context.Canceled {
			t.Errorf("%d, %v", n, err)
		}
		resp.Body.Close()
		w.err = context.Canceled
		if _, err := w.cache.RoundTrip(newRequest(t, page).WithContext(ctx)); err != context.Canceled {
			t.Errorf("asked when it was over: %v", err)
		}
	})
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }
