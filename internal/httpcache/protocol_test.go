package httpcache

import (
	"errors"
	"io"
	"net/http"
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
			w.storage.Reset(t.Context()) // between request and answer
			return reply(200, "again", "Cache-Control: max-age=60")
		}
		w.get(page+"/2", 200, "again", FromNetwork)
		if all, _ := w.storage.Entries(); len(all) != 0 {
			t.Errorf("stored after a reset: %v", all)
		}
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
		w.get("https://other.example/page", 200, "x", FromNetwork) // the host itself was not asked
	})
}

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

// TestStaleWithoutAValidator: what may be used when it is stale is stored, although the server cannot be asked about it.
func TestStaleWithoutAValidator(t *testing.T) {
	t.Parallel()
	inEach(t, Options{}, func(t *testing.T, w *world) {
		w.says(200, "1", "Cache-Control: max-age=0, stale-while-revalidate=60")
		w.get(page, 200, "1", FromNetwork)
		w.says(200, "2", "Cache-Control: max-age=0, stale-if-error=60")
		w.get(page, 200, "1", FromCache)
		synctest.Wait()
		w.says(503, "down")
		w.get(page, 200, "2", FromCache)
		time.Sleep(61 * time.Second)
		w.get(page, 503, "down", FromNetwork)
	})
}
