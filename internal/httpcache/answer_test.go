package httpcache

import (
	"net/http"
	"testing"
	"time"
)

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
		w.says(206, "23", `Etag: "1"`, "Content-Range: bytes 2-3/10", "Cache-Control: max-age=60") // it does not look at conditions
		w.get(page, 206, "23", FromNetwork, "Range: bytes=2-3")
		w.says(304, "", "Cache-Control: max-age=60")
		w.get(page, 200, "0123456789", FromValidated)
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
