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

const page = "https://example.org/page"

func date(ago time.Duration) string { return time.Now().Add(-ago).UTC().Format(http.TimeFormat) }

func TestFreshThenValidated(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "one", "Cache-Control: max-age=60", `Etag: "1"`, "Last-Modified: "+date(time.Hour), "Set-Cookie: a=secret", "X-A: old", "Content-Type: text/plain")
		w.get(page, 200, "one", FromNetwork)
		time.Sleep(59 * time.Second)
		resp := w.get(page, 200, "one", FromCache)
		if got := resp.Header.Get("Age"); got != "59" {
			t.Errorf("Age is %q, want 59", got)
		}
		if resp.Header["Set-Cookie"] != nil {
			t.Error("a cookie was stored")
		}
		if resp.ContentLength != 3 || resp.Status != "200 OK" || resp.Header.Get("X-A") != "old" {
			t.Errorf("the stored response is %+v", resp)
		}
		time.Sleep(time.Second)

		w.says(304, "", "Cache-Control: max-age=10", `Etag: "1"`, "Set-Cookie: a=new", "X-A: new", "Content-Type: text/html", "Content-Length: 0")
		resp = w.get(page, 200, "one", FromValidated)
		if w.lastAsked("If-None-Match") != `"1"` || w.lastAsked("If-Modified-Since") == "" {
			t.Errorf("asked with %v", w.asked[len(w.asked)-1].Header)
		}
		if resp.Header.Get("Set-Cookie") != "a=new" || resp.Header.Get("X-A") != "new" || resp.Header.Get("Content-Type") != "text/plain" || resp.ContentLength != 3 {
			t.Errorf("the confirmed response has %v", resp.Header)
		}
		time.Sleep(9 * time.Second)
		resp = w.get(page, 200, "one", FromCache)
		if resp.Header["Set-Cookie"] != nil || resp.Header.Get("X-A") != "new" || resp.Header.Get("Age") != "9" {
			t.Errorf("the updated head has %v", resp.Header)
		}
		time.Sleep(time.Second)
		w.says(200, "two", "Cache-Control: max-age=60", `Etag: "2"`)
		w.get(page, 200, "two", FromNetwork)
		w.get(page, 200, "two", FromCache)

		if got, err := w.storage.Entries(); err != nil || len(got) != 1 || got[0].URL != page || got[0].Length != 3 {
			t.Errorf("Entries: %+v, %v", got, err)
		}
	})
}

func TestWhatIsStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		modified := "Last-Modified: " + date(100*time.Hour)
		for name, c := range map[string]struct {
			status int
			answer []string
			ask    []string
			want   Source
		}{
			"max-age":                    {200, []string{"Cache-Control: max-age=60"}, nil, FromCache},
			"Expires":                    {200, []string{"Expires: " + date(-time.Hour)}, nil, FromCache},
			"max-age goes before":        {200, []string{"Expires: " + date(-time.Hour), "Cache-Control: max-age=0"}, nil, FromNetwork},
			"Expires: 0":                 {200, []string{"Expires: 0", modified}, nil, FromNetwork},
			"Age":                        {200, []string{"Cache-Control: max-age=60", "Age: 60"}, nil, FromNetwork},
			"old Date":                   {200, []string{"Cache-Control: max-age=60", "Date: " + date(time.Minute)}, nil, FromNetwork},
			"heuristic":                  {200, []string{modified}, nil, FromCache},
			"heuristic of a 404":         {404, []string{modified}, nil, FromCache},
			"no heuristic of a 302":      {302, []string{modified}, nil, FromNetwork},
			"public 302":                 {302, []string{modified, "Cache-Control: public"}, nil, FromCache},
			"302 with max-age":           {302, []string{"Cache-Control: max-age=60"}, nil, FromCache},
			"500 with max-age":           {500, []string{"Cache-Control: max-age=60"}, nil, FromCache},
			"nothing":                    {200, nil, nil, FromNetwork},
			"private":                    {200, []string{"Cache-Control: private, max-age=60"}, nil, FromCache},
			"no-store":                   {200, []string{"Cache-Control: no-store, max-age=60"}, nil, FromNetwork},
			"asked with no-store":        {200, []string{"Cache-Control: max-age=60"}, []string{"Cache-Control: no-store"}, FromNetwork},
			"no-cache":                   {200, []string{"Cache-Control: no-cache, max-age=60"}, nil, FromNetwork},
			"must-understand":            {200, []string{"Cache-Control: no-store, must-understand, max-age=60"}, nil, FromCache},
			"not understood":             {599, []string{"Cache-Control: must-understand, max-age=60"}, nil, FromNetwork},
			"s-maxage is for others":     {200, []string{"Cache-Control: s-maxage=60"}, nil, FromNetwork},
			"bad max-age":                {200, []string{"Cache-Control: max-age=x", modified}, nil, FromNetwork},
			"two max-ages":               {200, []string{"Cache-Control: max-age=60, max-age=70"}, nil, FromNetwork},
			"quoted max-age":             {200, []string{`Cache-Control: max-age="60"`}, nil, FromCache},
			"206":                        {206, []string{"Cache-Control: max-age=60"}, nil, FromNetwork},
			"401":                        {401, []string{"Cache-Control: max-age=60"}, nil, FromNetwork},
			"Vary: *":                    {200, []string{"Cache-Control: max-age=60", "Vary: *"}, nil, FromNetwork},
			"with Authorization":         {200, []string{"Cache-Control: max-age=60"}, []string{"Authorization: Basic eDp5"}, FromCache},
			"max-age asked":              {200, []string{"Cache-Control: max-age=60"}, []string{"Cache-Control: max-age=60"}, FromCache},
			"no-cache asked":             {200, []string{"Cache-Control: max-age=60"}, []string{"Cache-Control: no-cache"}, FromNetwork},
			"Pragma asked":               {200, []string{"Cache-Control: max-age=60"}, []string{"Pragma: no-cache"}, FromNetwork},
			"Pragma beside":              {200, []string{"Cache-Control: max-age=60"}, []string{"Pragma: no-cache", "Cache-Control: max-age=5"}, FromCache},
			"min-fresh":                  {200, []string{"Cache-Control: max-age=60"}, []string{"Cache-Control: min-fresh=60"}, FromCache},
			"more min-fresh":             {200, []string{"Cache-Control: max-age=60"}, []string{"Cache-Control: min-fresh=61"}, FromNetwork},
			"max-stale":                  {200, []string{"Cache-Control: max-age=60", "Age: 80", `Etag: "1"`}, []string{"Cache-Control: max-stale=20"}, FromCache},
			"any max-stale":              {200, []string{"Cache-Control: max-age=60", "Age: 800", `Etag: "1"`}, []string{"Cache-Control: max-stale"}, FromCache},
			"less max-stale":             {200, []string{"Cache-Control: max-age=60", "Age: 80"}, []string{"Cache-Control: max-stale=19"}, FromNetwork},
			"max-stale, must-revalidate": {200, []string{"Cache-Control: max-age=60, must-revalidate", "Age: 80"}, []string{"Cache-Control: max-stale"}, FromNetwork},
		} {
			w := newWorld(t, InMemory(1<<20), Options{})
			w.says(c.status, "body", c.answer...)
			w.get(page, c.status, "body", FromNetwork, c.ask...)
			if resp, _ := w.do(newRequest(t, page, c.ask...)); w.source != c.want || resp.StatusCode != c.status {
				t.Errorf("%s: the second is %d from %d, want it from %d", name, resp.StatusCode, w.source, c.want)
			}
		}
	})
}

func TestImmutable(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "x", "Cache-Control: max-age=60, immutable", `Etag: "1"`)
		w.get(page, 200, "x", FromNetwork)
		time.Sleep(30 * time.Second)
		w.get(page, 200, "x", FromCache, "Cache-Control: max-age=0")
		time.Sleep(30 * time.Second)
		w.says(304, "")
		w.get(page, 200, "x", FromValidated, "Cache-Control: max-age=0")
	})
}

func TestNoCacheWithFields(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "x", `Cache-Control: max-age=60, no-cache="X-Secret, x-other"`, "X-Secret: s", "X-Other: o", "X-Kept: k")
		if resp := w.get(page, 200, "x", FromNetwork); resp.Header.Get("X-Secret") != "s" {
			t.Error("the first answer has lost a field")
		}
		resp := w.get(page, 200, "x", FromCache)
		if resp.Header.Get("X-Secret") != "" || resp.Header.Get("X-Other") != "" || resp.Header.Get("X-Kept") != "k" {
			t.Errorf("the stored one has %v", resp.Header)
		}
	})
}

func TestConnectionFieldsAreNotStored(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "x", "Cache-Control: max-age=60", "Connection: close, x-hop", "X-Hop: h", "Keep-Alive: 5", "Proxy-Authenticate: Basic")
		w.get(page, 200, "x", FromNetwork)
		resp := w.get(page, 200, "x", FromCache)
		for _, name := range []string{"Connection", "X-Hop", "Keep-Alive", "Proxy-Authenticate"} {
			if resp.Header[name] != nil {
				t.Errorf("%s was stored", name)
			}
		}
	})
}

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

func TestPolicyOfOptions(t *testing.T) {
	t.Parallel()
	inEach(t, Options{Policy: ReturnDontLoad}, func(t *testing.T, w *world) {
		if _, err := w.cache.RoundTrip(newRequest(t, page)); !errors.Is(err, task.CannotLoadFromNetwork) {
			t.Errorf("%v", err)
		}
		w.says(200, "x", "Cache-Control: max-age=60")
		w.do(w.under(UseProtocol, page))
		w.get(page, 200, "x", FromCache)
	})
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

func TestVary(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.answer = func(req *http.Request) *http.Response {
			return reply(200, "in "+req.Header.Get("Accept-Encoding"), "Cache-Control: max-age=60", "Vary: Accept-Encoding", "Vary: accept-language, ")
		}
		for range 2 {
			for _, coding := range []string{"gzip, br", "", "zstd"} {
				want := FromNetwork
				if len(w.asked) >= 3 {
					want = FromCache
				}
				var fields []string
				if coding != "" {
					fields = []string{"Accept-Encoding: " + coding}
				}
				w.get(page, 200, "in "+coding, want, fields...)
			}
		}
		w.get(page, 200, "in gzip, br", FromCache, "Accept-Encoding: gzip ,br", "X-Other: x")
		w.get(page, 200, "in gzip, br", FromCache, "Accept-Encoding: gzip,", "Accept-Encoding: br")
		w.get(page, 200, "in gzip, br", FromNetwork, "Accept-Encoding: gzip, br", "Accept-Language: de")
		for i := range 2 * maxVariants {
			w.get(page, 200, "in c"+string(rune('a'+i)), FromNetwork, "Accept-Encoding: c"+string(rune('a'+i)))
		}
		all, err := w.storage.Entries()
		if err != nil || len(all) != maxVariants {
			t.Errorf("%d variants, %v", len(all), err)
		}
		if err := w.storage.Remove(w.asked[0].URL); err != nil {
			t.Error(err)
		}
		if all, _ := w.storage.Entries(); len(all) != 0 {
			t.Errorf("%d entries after their removal", len(all))
		}
	})
}

func TestAuthorization(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.answer = func(req *http.Request) *http.Response {
			return reply(200, "for "+req.Header.Get("Authorization"), "Cache-Control: max-age=60")
		}
		w.get(page, 200, "for a", FromNetwork, "Authorization: a")
		w.get(page, 200, "for b", FromNetwork, "Authorization: b")
		w.get(page, 200, "for ", FromNetwork)
		w.get(page, 200, "for a", FromCache, "Authorization: a")
		w.get(page, 200, "for ", FromCache)
		w.says(200, "all", "Cache-Control: public, max-age=60")
		w.get(page+"/all", 200, "all", FromNetwork, "Authorization: a")
		w.get(page+"/all", 200, "all", FromCache, "Authorization: b")
	})
}

func TestURLs(t *testing.T) {
	t.Parallel()
	same := func(a, b string) bool {
		ka, _ := keyOf(newRequest(t, a))
		kb, _ := keyOf(newRequest(t, b))
		return ka == kb
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"http://h", "http://h/", true},
		{"http://h:80/", "http://H/", true},
		{"HTTPS://h:443/", "https://h/", true},
		{"http://[::1]:80/", "http://[::1]/", true},
		{"http://u:p@h/#f", "http://h/", true},
		{"http://h:443/", "http://h/", false},
		{"http://h/", "https://h/", false},
		{"http://h/?", "http://h/", false},
		{"http://h/?a", "http://h/?b", false},
		{"http://h/a%2fb", "http://h/a/b", false},
	} {
		if same(c.a, c.b) != c.same {
			t.Errorf("%s and %s: same is %v", c.a, c.b, !c.same)
		}
	}
}

func TestInvalidation(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		other, foreign := page+"/other", "https://example.net/x"
		fill := func() {
			w.says(200, "x", "Cache-Control: max-age=3600")
			for _, u := range []string{page, other, foreign} {
				w.do(newRequest(t, u))
			}
		}
		stored := func(u string) bool {
			w.says(200, "x", "Cache-Control: max-age=3600")
			w.do(newRequest(t, u, "Cache-Control: no-store"))
			return w.source == FromCache
		}
		for _, c := range []struct {
			method                string
			status                int
			page, other, location bool // still stored; location: send one
		}{
			{"OPTIONS", 200, true, true, true},
			{"POST", 500, true, true, true},
			{"POST", 404, true, true, true},
			{"POST", 201, false, false, true},
			{"PUT", 204, false, true, false},
			{"DELETE", 303, false, false, true},
			{"MERGE", 200, false, false, true},
		} {
			fill()
			fields := []string{"Content-Location: " + foreign}
			if c.location {
				fields = append(fields, "Location: /page/other")
			}
			w.says(c.status, "", fields...)
			w.get(c.method+" "+page, c.status, "", FromNetwork)
			if stored(page) != c.page || stored(other) != c.other || !stored(foreign) {
				t.Errorf("%s %d: stored are %v %v %v", c.method, c.status, stored(page), stored(other), stored(foreign))
			}
		}
	})
}

// TestInvalidatedOnTheWay: what was asked for before a change is not stored after it.
func TestInvalidatedOnTheWay(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "before", "Cache-Control: max-age=60")
		resp, err := w.cache.RoundTrip(newRequest(t, page))
		if err != nil {
			t.Fatal(err)
		}
		w.says(200, "done")
		w.get("POST "+page, 200, "done", FromNetwork)
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "before" {
			t.Fatal(string(body), err)
		}
		resp.Body.Close()
		w.says(200, "after", "Cache-Control: max-age=60")
		w.get(page, 200, "after", FromNetwork)

		w.answer = func(*http.Request) *http.Response {
			w.storage.Reset() // between request and answer
			return reply(200, "again", "Cache-Control: max-age=60")
		}
		w.get(page+"/2", 200, "again", FromNetwork)
		if all, _ := w.storage.Entries(); len(all) != 0 {
			t.Errorf("stored after a reset: %v", all)
		}
	})
}

func TestHead(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "", "Cache-Control: max-age=60")
		w.get("HEAD "+page, 200, "", FromNetwork)
		w.get("HEAD "+page, 200, "", FromNetwork) // HEAD stores nothing
		w.says(200, "four", "Cache-Control: max-age=60", `Etag: "1"`)
		w.get(page, 200, "four", FromNetwork)
		if resp := w.get("HEAD "+page, 200, "", FromCache); resp.ContentLength != 4 {
			t.Errorf("HEAD says %d bytes", resp.ContentLength)
		}
		time.Sleep(time.Minute)
		head := func(length int64, etag string) {
			w.answer = func(*http.Request) *http.Response {
				resp := reply(200, "", "Cache-Control: max-age=60", "Etag: "+etag, "X-New: new")
				resp.ContentLength = length
				return resp
			}
			w.get("HEAD "+page, 200, "", FromNetwork)
		}
		head(4, `"1"`)
		if resp := w.get(page, 200, "four", FromCache); resp.Header.Get("X-New") != "new" {
			t.Error("HEAD has not updated the head")
		}
		time.Sleep(time.Minute)
		head(4, `"2"`)
		w.says(200, "five!", "Cache-Control: max-age=60", `Etag: "2"`)
		w.get(page, 200, "five!", FromNetwork)
		if w.lastAsked("If-None-Match") != "" {
			t.Error("what HEAD showed to be old was kept")
		}
	})
}

func TestRanges(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		modified := date(time.Hour)
		w.says(206, "23", "Cache-Control: max-age=60", "Content-Range: bytes 2-3/10", `Etag: "1"`)
		w.get(page, 206, "23", FromNetwork, "Range: bytes=2-3")
		w.says(200, "0123456789", "Cache-Control: max-age=60", `Etag: "1"`, "Last-Modified: "+modified)
		w.get(page, 200, "0123456789", FromNetwork)
		for _, c := range []struct {
			spec, ifRange string
			status        int
			body, content string
		}{
			{"bytes=2-3", "", 206, "23", "bytes 2-3/10"},
			{"bytes=8-", "", 206, "89", "bytes 8-9/10"},
			{"bytes=8-99999999999", "", 206, "89", "bytes 8-9/10"},
			{"bytes=-3", "", 206, "789", "bytes 7-9/10"},
			{"bytes=-30", "", 206, "0123456789", "bytes 0-9/10"},
			{"bytes=10-", "", 416, "", "bytes */10"},
			{"bytes=-0", "", 416, "", "bytes */10"},
			{"bytes=3-2", "", 200, "0123456789", ""},
			{"bytes=0-1,3-4", "", 200, "0123456789", ""},
			{"lines=0-1", "", 200, "0123456789", ""},
			{"bytes=2-3", `"1"`, 206, "23", "bytes 2-3/10"},
			{"bytes=2-3", `W/"1"`, 200, "0123456789", ""},
			{"bytes=2-3", `"2"`, 200, "0123456789", ""},
			{"bytes=2-3", modified, 206, "23", "bytes 2-3/10"},
			{"bytes=2-3", date(2 * time.Hour), 200, "0123456789", ""},
		} {
			fields := []string{"Range: " + c.spec}
			if c.ifRange != "" {
				fields = append(fields, "If-Range: "+c.ifRange)
			}
			resp := w.get(page, c.status, c.body, FromCache, fields...)
			if got := resp.Header.Get("Content-Range"); got != c.content || resp.ContentLength != int64(len(c.body)) {
				t.Errorf("%s %s: Content-Range %q, %d bytes", c.spec, c.ifRange, got, resp.ContentLength)
			}
		}
		time.Sleep(time.Minute)
		w.says(304, "", "Cache-Control: max-age=60")
		w.get(page, 206, "23", FromValidated, "Range: bytes=2-3")
		time.Sleep(time.Minute)
		w.says(206, "xy", `Etag: "2"`, "Content-Range: bytes 2-3/10", "Cache-Control: max-age=60")
		w.get(page, 206, "xy", FromNetwork, "Range: bytes=2-3")
		w.says(200, "new")
		w.get(page, 200, "new", FromNetwork)
		if w.lastAsked("If-None-Match") != "" {
			t.Error("a part of something else has left the old whole")
		}
	})
}

func TestConditionsOfTheCaller(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "x", "Cache-Control: max-age=60", `Etag: W/"1"`, "Last-Modified: "+date(time.Hour))
		w.get(page, 200, "x", FromNetwork)
		w.get(page, 304, "", FromCache, `If-None-Match: "0", "1"`)
		w.get(page, 304, "", FromCache, `If-None-Match: *`)
		w.get(page, 200, "x", FromCache, `If-None-Match: "2"`)
		w.get(page, 200, "x", FromCache, `If-None-Match: "2"`, "If-Modified-Since: "+date(0))
		w.get(page, 304, "", FromCache, "If-Modified-Since: "+date(time.Hour))
		w.get(page, 200, "x", FromCache, "If-Modified-Since: "+date(2*time.Hour))
		w.says(412, "")
		w.get(page, 412, "", FromNetwork, `If-Match: "1"`)
		time.Sleep(time.Minute)
		w.says(304, "", `Etag: "0"`)
		w.get(page, 304, "", FromNetwork, `If-None-Match: "0"`)
		if w.lastAsked("If-None-Match") != `"0"` {
			t.Errorf("asked with %q", w.lastAsked("If-None-Match"))
		}
	})
}

// TestUnexpected304: a 304 about another entity tag is no answer.
func TestUnexpected304(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "x", "Cache-Control: max-age=0", `Etag: "1"`)
		w.get(page, 200, "x", FromNetwork)
		w.answer = func(req *http.Request) *http.Response {
			if req.Header.Get("If-None-Match") != "" {
				return reply(304, "", `Etag: "2"`)
			}
			return reply(200, "y", `Etag: "2"`)
		}
		w.get(page, 200, "y", FromNetwork)
	})
}

func TestChangedToWhatMayNotBeStored(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "x", "Cache-Control: max-age=60", `Etag: "1"`)
		w.get(page, 200, "x", FromNetwork)
		w.says(200, "secret", "Cache-Control: no-store")
		w.do(w.under(ReloadIgnoringLocal, page))
		if _, err := w.cache.RoundTrip(w.under(ReturnDontLoad, page)); !errors.Is(err, task.CannotLoadFromNetwork) {
			t.Errorf("the old one is still there: %v", err)
		}
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

func TestWillCache(t *testing.T) {
	t.Parallel()
	o := Options{WillCache: func(resp *http.Response) bool {
		resp.Header.Set("X-Seen", "yes")
		resp.Header.Del("X-Private")
		return resp.Request.URL.Path != "/page/not"
	}}
	inEach(t, o, func(t *testing.T, w *world) {
		w.says(200, "x", "Cache-Control: max-age=60", "X-Private: p")
		if resp := w.get(page, 200, "x", FromNetwork); resp.Header.Get("X-Seen") != "" || resp.Header.Get("X-Private") != "p" {
			t.Error("the hook has changed the answer")
		}
		if resp := w.get(page, 200, "x", FromCache); resp.Header.Get("X-Seen") != "yes" || resp.Header.Get("X-Private") != "" {
			t.Errorf("stored is %v", resp.Header)
		}
		w.get(page+"/not", 200, "x", FromNetwork)
		w.get(page+"/not", 200, "x", FromNetwork)
	})
}

func TestUserinfoAndHost(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "x", "Cache-Control: max-age=60")
		req := newRequest(t, page)
		req.Host = "other.example"
		w.do(req)
		w.get(page, 200, "x", FromNetwork)
		if w.do(req); w.source != FromCache {
			t.Error("the Host field is part of the URL")
		}
	})
}

// TestCodedWithoutVary: who asks for a part, and so for no coding, does not get a part of a coded body.
func TestCodedWithoutVary(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "coded", "Cache-Control: max-age=60", "Content-Encoding: gzip")
		w.get(page, 200, "coded", FromNetwork, "Accept-Encoding: gzip")
		w.get(page, 200, "coded", FromCache, "Accept-Encoding: gzip")
		w.says(206, "pl", "Content-Range: bytes 0-1/5")
		w.get(page, 206, "pl", FromNetwork, "Range: bytes=0-1")
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

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// TestFieldsOfBytes: fields come back byte for byte, whatever they hold.
func TestFieldsOfBytes(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		const value = "na\xefve \u00fc <&> \"q\""
		w.says(200, "x", "Cache-Control: max-age=60", "Content-Disposition: "+value, "X-Two: 1", "X-Two: 2")
		u := page + "?q=\xff%ff"
		w.get(u, 200, "x", FromNetwork)
		resp := w.get(u, 200, "x", FromCache)
		if got := resp.Header.Get("Content-Disposition"); got != value || len(resp.Header["X-Two"]) != 2 {
			t.Errorf("%q, %v", got, resp.Header)
		}
	})
}
