package transfer

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strconv"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// newCareful is newUploading to a server that says what it takes.
func newCareful(t *testing.T, body Body, opts ...UploadOption) *uploading {
	t.Helper()
	u := newUploading(t, body, opts...)
	u.a.RoundTripper = newTransport(t, transport.Options{TLS: transport.TLS{Roots: CAPool()}})
	return u
}

// said answers OPTIONS with a status and fields.
func said(status int, pairs ...string) UploadStep {
	return UploadWhen("OPTIONS", UploadEdit(func(_ int, h http.Header) int {
		clear(h)
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return status
	}))
}

// A server that says that it knows the protocol, from version 6 on, gets nothing of the body before it has named the upload.
func TestCareful(t *testing.T) {
	for v, want := range map[int]string{
		8: "OPTIONS, POST, PATCH 0", 7: "OPTIONS, OPTIONS, POST, PATCH 0", 6: "OPTIONS, OPTIONS, OPTIONS, POST, PATCH 0",
		5: "OPTIONS, OPTIONS, OPTIONS, POST", 3: "OPTIONS, OPTIONS, OPTIONS, POST",
	} {
		t.Run(strconv.Itoa(v), func(t *testing.T) {
			u := newCareful(t, bulk, UploadVersions(v))
			if v < 6 {
				u.srv.Always("/f", only(v))
				want = strings.Repeat("OPTIONS, ", 3) + after(v, "POST")
			}
			u.a.Spec.Request.Header = http.Header{"Content-Type": {"video/mp4"}, "Authorization": {"Bearer secret"}, "If-Match": {`"a"`}, "Expect": {"100-continue"}}
			u.uploaded(u.retried(1))
			u.asked(want)
			for _, r := range u.srv.RequestsBy("OPTIONS") {
				if r.Header.Get(interopField) == "" || r.Header.Get("Authorization") == "" || r.Header.Get("Content-Type") != "" || r.Header.Get("If-Match") != "" || r.BodySize != 0 {
					t.Errorf("asked with %v", r.Header)
				}
			}
			post := u.srv.RequestsBy("POST")
			h := post[0].Header
			if v >= 6 && (post[0].BodySize != 0 || h.Get("Upload-Complete") != "?0" || h.Get("Upload-Length") != "600000" ||
				h.Get("Content-Type") != "video/mp4" || h.Get("If-Match") != `"a"` || h.Get("Expect") != "" || h.Get(interopField) != strconv.Itoa(v)) {
				t.Errorf("created by %d bytes, %v", post[0].BodySize, h)
			}
		})
	}
	for size, want := range map[int64]string{0: "POST", 1: "OPTIONS, POST, PATCH 0"} {
		u := newCareful(t, Body{Seed: 1, Size: size})
		u.uploaded(u.retried(1))
		u.asked(want)
	}
}

// untraced is a context whose requests do not tell of 1xx responses.
type untraced struct{ context.Context }

func (untraced) Value(any) any { return nil }

// swallow is a proxy before a server, which forwards no 1xx response.
func swallow(t *testing.T, origin string) *httptest.Server {
	t.Helper()
	var srv *httptest.Server
	to := parse(t, origin)
	rt := &http.Transport{}
	srv = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			return rt.RoundTrip(req.WithContext(untraced{req.Context()}))
		}),
		ModifyResponse: func(resp *http.Response) error {
			if at := resp.Header.Get("Location"); at != "" {
				resp.Header.Set("Location", strings.Replace(at, origin, srv.URL, 1))
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	t.Cleanup(func() {
		srv.Close()
		rt.CloseIdleConnections()
	})
	return srv
}

// Behind a proxy that swallows 104s, an upload goes on from what has come: careful creation needs none.
func TestCarefulBehindProxy(t *testing.T) {
	for _, v := range []int{6, 7, 8} {
		u := newCareful(t, bulk, UploadVersions(v))
		u.a.Spec.Request.URL = swallow(t, u.srv.URL).URL + "/f"
		u.srv.Always("/f", UploadAll(nth("POST", 1, UploadLosesAnswer()), nth("PATCH", 1, UploadCut(200_000)), nth("PATCH", 2, UploadLosesAnswer())))
		_, err := u.attempt()
		wantCode(t, err, task.ConnectionLost)
		if !err.(*task.Error).Unsent || u.last.state != nil {
			t.Errorf("a lost creation that was empty: %v may not be sent again; state %+v", err, u.last.state)
		}
		before := len(u.srv.Requests())
		u.retried(3)
		if up := u.srv.Uploads(); len(up) != 2 || up[1].Check(bulk) != nil {
			t.Fatalf("%d: %+v", v, up)
		}
		var all []string
		for _, r := range u.srv.Requests()[before:] {
			if r.Method != "OPTIONS" {
				all = append(all, r.Method)
			}
		}
		if got := strings.Join(all, " "); got != "POST PATCH HEAD PATCH HEAD" || u.srv.Received() != bulk.Size {
			t.Errorf("%d: asked %s; %d bytes came", v, got, u.srv.Received())
		}
	}
	u := newUploading(t, vast) // and an optimistic one does not
	u.a.Spec.Request.URL = swallow(t, u.srv.URL).URL + "/f"
	u.srv.Script("/f", UploadCut(200_000))
	_, err := u.attempt()
	wantCode(t, err, task.ConnectionLost)
	if u.last.state != nil {
		t.Errorf("the proxy has let a 104 pass: %+v", u.last.state)
	}
}

// What the server says that it takes is kept to from the first request on.
func TestCarefulLimits(t *testing.T) {
	u := newCareful(t, bulk, UploadLimits(UploadLimit{MaxAppendSize: 250_000}))
	u.uploaded(u.retried(1))
	u.asked("OPTIONS, POST, PATCH 0, PATCH 250000, PATCH 500000")

	u = newCareful(t, bulk)
	u.srv.Always("/f", said(204, "Accept-Patch", "application/partial-upload", "Upload-Limit", "max-append-size=400000"))
	u.uploaded(u.retried(1)) // whose other answers do not repeat it
	u.asked("OPTIONS, POST, PATCH 0, PATCH 400000")

	u = newCareful(t, bulk, UploadLimits(UploadLimit{MaxSize: bulk.Size - 1}))
	_, err := u.attempt()
	wantCode(t, err, task.DataTooLarge)
	u.asked("OPTIONS")
}

// A server that has not said that it knows the protocol gets all of the body at once, which any takes.
func TestNotCareful(t *testing.T) {
	for name, c := range map[string]struct {
		step  UploadStep
		asked string
	}{
		"a media range":         {said(200, "Accept-Patch", "*/*, application/*"), "OPTIONS, OPTIONS, OPTIONS, POST"},
		"limits in 8":           {said(200, "Upload-Limit", "min-size=0", interopField, "8"), "OPTIONS, OPTIONS, OPTIONS, POST"},
		"not allowed":           {said(405, "Accept-Patch", "application/partial-upload"), "OPTIONS, POST"},
		"moved":                 {said(307, "Location", "/g", "Accept-Patch", "application/partial-upload"), "OPTIONS, POST"},
		"down":                  {said(503), "OPTIONS, POST"},
		"nothing":               {said(204), "OPTIONS, OPTIONS, OPTIONS, POST"},
		"refused":               {UploadAll(nth("POST", 1, UploadStatus(400))), "OPTIONS, POST, POST"},
		"moved when it is made": {UploadAll(nth("POST", 1, UploadRedirect(307, "/g"))), "OPTIONS, POST, POST"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newCareful(t, bulk)
			u.srv.Always("/f", c.step)
			u.uploaded(u.retried(1))
			u.asked(c.asked)
			if post := u.srv.RequestsBy("POST"); post[len(post)-1].BodySize != bulk.Size {
				t.Errorf("%d bytes came", post[len(post)-1].BodySize)
			}
			if strings.Contains(u.last.observer.told(), "redirect") {
				t.Errorf("told %s", u.last.observer.told())
			}
		})
	}
	u := newCareful(t, bulk) // swift-nio names the newest that it knows
	u.srv.Always("/f", UploadWhen("OPTIONS", func(r *UploadReply) {
		if r.Request.Header.Get(interopField) != "6" {
			UploadAll(UploadStatus(400), UploadHeader(interopField, "6"))(r)
		}
	}))
	u.uploaded(u.retried(1))
	u.asked("OPTIONS, OPTIONS, POST, PATCH 0")

	u = newCareful(t, bulk, UploadVersions(6)) // as tusd, whose newest is 6
	u.srv.Always("/f", UploadWhen("OPTIONS", UploadHeader("Tus-Version", "1.0.0")))
	u.uploaded(u.retried(1))
	u.asked("OPTIONS, OPTIONS, POST, PATCH 0")

	u = newCareful(t, bulk) // one that takes the empty request for all of it
	u.srv.Always("/f", UploadWhen("POST", UploadUnaware()))
	_, err := u.attempt()
	wantCode(t, err, task.BadServerResponse)
	u.asked("OPTIONS, POST")
}

func TestOffered(t *testing.T) {
	for value, want := range map[string]bool{
		"application/partial-upload": true, "text/a, Application/Partial-Upload;q=1": true, "*/*": false, "application/*": false,
		"application/partial-uploads": false, "": false,
	} {
		if interop(8).offered(header("Accept-Patch", value)) != want || interop(7).offered(header("Accept-Patch", value)) {
			t.Errorf("%q", value)
		}
	}
}

// Who is asked what it takes, and does not answer, has got nothing.
func TestAskedInVain(t *testing.T) {
	u := newCareful(t, bulk)
	u.a.Spec.Request.URL = "http://127.0.0.1:1/f"
	u.a.RoundTripper = roundTripper(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	_, err := u.attempt()
	wantCode(t, err, task.ConnectionLost)
	if !err.(*task.Error).Unsent {
		t.Errorf("%v may not be sent again", err)
	}

	u = newCareful(t, bulk) // and who answers, and is then gone
	rt := u.a.RoundTripper
	u.a.RoundTripper = roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.Method == "POST" {
			req = req.Clone(req.Context())
			req.URL.Host = "127.0.0.1:1"
		}
		return rt.RoundTrip(req)
	})
	res, err := u.attempt()
	wantCode(t, err, task.CannotConnect)
	if !err.(*task.Error).Unsent || !res.Unsent {
		t.Errorf("%v may not be sent again, %v", err, res.Unsent)
	}
	u.asked("OPTIONS")
}

// An upload that was made by an empty request goes on as any does.
func TestCarefulFaults(t *testing.T) {
	const at = 200_000
	for name, c := range map[string]struct {
		head, patch UploadStep
		attempts    int
		asked       string // after the creation
	}{
		"cut":         {nil, UploadCut(at), 2, "PATCH 0, HEAD, PATCH 200000"},
		"conflict":    {nil, UploadConflicts(), 1, "PATCH 0, HEAD, PATCH 0"},
		"goes back":   {UploadRollsBack(50_000), UploadCut(at), 2, "PATCH 0, HEAD, PATCH 150000"},
		"5xx":         {UploadStatus(503), UploadStatus(500), 3, "PATCH 0, HEAD, HEAD, PATCH 0"},
		"lost answer": {nil, UploadLosesAnswer(), 2, "PATCH 0, HEAD"},
		"early":       {nil, UploadEarly(at, 500), 2, ""},
		"all is here": {nil, UploadCut(bulk.Size), 2, "PATCH 0, HEAD, PATCH 600000"},
	} {
		t.Run(name, func(t *testing.T) {
			for v := 6; v <= 8; v++ {
				u := newCareful(t, bulk, UploadVersions(v))
				steps := []UploadStep{nth("PATCH", 1, c.patch)}
				if c.head != nil {
					steps = append(steps, nth("HEAD", 1, c.head))
				}
				u.srv.Always("/f", UploadAll(steps...))
				u.uploaded(u.retried(c.attempts))
				if want := strings.Repeat("OPTIONS, ", 9-v) + "POST, " + c.asked; c.asked != "" {
					u.asked(want)
				}
			}
		})
	}
	for _, status := range []int{404, 410} { // nothing of it was sent in the second attempt
		u := newCareful(t, vast)
		u.srv.Always("/f", UploadAll(nth("PATCH", 1, UploadCut(at)), nth("HEAD", 1, UploadForgets(status))))
		u.attempt()
		u.uploaded(u.retried(1))
		u.asked("OPTIONS, POST, PATCH 0, HEAD, OPTIONS, POST, PATCH 0")
	}
}

// A large body that has left is not sent again for its version, as the answer may be to it.
func TestLargeRefusedOnce(t *testing.T) {
	for size, want := range map[int64]string{resumableFrom + 1: "POST", resumableFrom: after(3, "POST, POST")} {
		u := newUploading(t, Body{Seed: 8, Size: size})
		u.srv.Always("/f", UploadAll(UploadUnaware(), UploadFinal(400, "text/plain", "no\n")))
		if res := u.retried(1); res.Response.Status != 400 || string(res.Body) != "no\n" {
			t.Errorf("%+v, %q", res.Response, res.Body)
		}
		u.asked(want)
	}
}
