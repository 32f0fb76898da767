package transfer

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// tusUploading is a task that uploads body to /files/ of a tus server.
type tusUploading struct {
	*uploading
	srv *TusServer
}

func newTusUploading(t *testing.T, body Body, opts ...UploadOption) *tusUploading {
	t.Helper()
	srv := NewTusServer(opts...)
	t.Cleanup(srv.Close)
	a := &Attempt{ID: 1, RoundTripper: newTransport(t, transport.Options{TLS: transport.TLS{Roots: CAPool()}}), Spec: &task.Spec{
		Kind: task.Upload, Request: task.Request{Method: "POST", URL: srv.URL + "/files/"},
		Policy: task.Policy{RequestTimeout: 20 * time.Second}, Upload: &task.UploadSpec{Resumable: task.ResumableTus},
	}}
	fromFile(t, a, body)
	return &tusUploading{&uploading{t: t, origin: srv, a: a, body: body}, srv}
}

// extensions are those of most servers.
func extensions(also ...string) UploadOption {
	return TusExtensions(append([]string{"creation", "termination"}, also...)...)
}

// A small body goes with its creation, where the server takes that; a larger one, or at another server, does not.
func TestTusCreationWithUpload(t *testing.T) {
	const both = "OPTIONS, POST, PATCH 0"
	for name, c := range map[string]struct {
		size  int64
		with  bool
		asked string
	}{
		"small":        {300_000, true, "OPTIONS, POST"},
		"at most":      {mostAtOnce, true, "OPTIONS, POST"},
		"larger":       {mostAtOnce + 1, true, both},
		"not offered":  {300_000, false, both},
		"empty":        {0, true, "OPTIONS, POST"},
		"empty either": {0, false, "OPTIONS, POST"},
	} {
		t.Run(name, func(t *testing.T) {
			with := []string{}
			if c.with {
				with = append(with, "creation-with-upload")
			}
			u := newTusUploading(t, Body{Seed: 2, Size: c.size}, extensions(with...))
			u.a.Spec.Request.Header = http.Header{"Content-Type": {"video/mp4"}, "Authorization": {"Bearer secret"}, "If-Match": {"x"}}
			u.uploaded(u.retried(1))
			u.asked(c.asked)
			if n := u.srv.Received(); n != c.size {
				t.Errorf("%d bytes came of %d", n, c.size)
			}
			for _, r := range u.srv.Requests() {
				h := r.Header
				if h.Get("Authorization") != "Bearer secret" || h.Get("If-Match") != "" || (h.Get("Tus-Resumable") != "1.0.0") != (r.Method == "OPTIONS") {
					t.Errorf("%s has %v", r.Method, h)
				}
			}
			post := u.srv.RequestsBy("POST")[0]
			if m := post.Header.Get("Upload-Metadata"); m != "filename c291cmNl,filetype dmlkZW8vbXA0" {
				t.Errorf("metadata %q", m)
			}
			if c.size > 0 && post.BodySize > 0 && post.Header.Get("Content-Type") != "application/offset+octet-stream" {
				t.Errorf("created by %v", post.Header)
			}
		})
	}
}

// What has come with a creation is asked for, and gone on from. Without an answer it is an orphan: it is made anew where that
// can have finished nothing, or may be done twice.
func TestTusCreationWithUploadIsCut(t *testing.T) {
	body := Body{Seed: 2, Size: 300_000}
	for name, c := range map[string]struct {
		post   UploadStep
		unsent bool
		asked  string
	}{
		"taken in part": {UploadAll(UploadEarly(1000, 201), UploadHeader("Location", "/uploads/1")), false, "OPTIONS, POST, HEAD, PATCH 1000"},
		"no offset":     {UploadHeader("Upload-Offset"), false, "OPTIONS, POST, HEAD"},
		"cut":           {UploadCut(1000), true, "OPTIONS, POST, OPTIONS, POST"},
		"answer lost":   {UploadLosesAnswer(), false, "OPTIONS, POST, OPTIONS, POST"},
	} {
		t.Run(name, func(t *testing.T) {
			vast := body
			if name == "cut" {
				vast.Size = mostAtOnce
			}
			u := newTusUploading(t, vast, extensions("creation-with-upload"))
			if name == "cut" { // a limit that holds the body back: it has not left when its beginning has come
				u.a.Limits = Limits{newLimit(256 << 10)}
			}
			u.srv.Script("/files/", UploadHonest(), c.post)
			res, err := u.attempt()
			if err != nil {
				wantCode(t, err, task.ConnectionLost)
				if got := err.(*task.Error).Unsent; got != c.unsent {
					t.Errorf("Unsent is %v", got)
				}
				if u.last.state != nil {
					t.Errorf("kept %+v", u.last.state)
				}
				u.a.Limits = nil
				res = u.retried(1)
			}
			u.asked(c.asked)
			ups := u.srv.Uploads()
			if err := ups[len(ups)-1].Check(vast); err != nil || res.Response.Status/100 != 2 {
				t.Errorf("%v, %+v", err, res.Response)
			}
		})
	}
}

// Whoever answers OPTIONS otherwise is asked to create an upload in the plainest form.
func TestTusOptions(t *testing.T) {
	for name, c := range map[string]struct {
		options UploadStep
		asked   string
		status  int
	}{
		"another version":   {UploadHeader("Tus-Version", "0.2.2"), "OPTIONS, POST, PATCH 0", 204},
		"no version":        {UploadHeader("Tus-Version"), "OPTIONS, POST, PATCH 0", 204},
		"versions":          {UploadHeader("Tus-Version", "0.2.2, 1.0.0"), "OPTIONS, POST", 201},
		"on lines":          {UploadHeader("Tus-Extension", "creation", "creation-with-upload, termination"), "OPTIONS, POST", 201},
		"405":               {UploadStatus(405), "OPTIONS, POST, PATCH 0", 204},
		"500":               {UploadStatus(500), "OPTIONS, POST, PATCH 0", 204},
		"a redirect":        {UploadRedirect(307, "/elsewhere"), "OPTIONS, POST, PATCH 0", 204},
		"knows nothing":     {UploadUnaware(), "OPTIONS, POST, PATCH 0", 204},
		"401":               {UploadStatus(401), "OPTIONS", 401},
		"407":               {UploadStatus(407), "OPTIONS", 407},
		"extension of more": {UploadHeader("Tus-Extension", "creation-with-upload-later"), "OPTIONS, POST, PATCH 0", 204},
	} {
		t.Run(name, func(t *testing.T) {
			u := newTusUploading(t, Body{Seed: 2, Size: 300_000}, extensions("creation-with-upload"))
			u.srv.Script("/files/", c.options)
			res, err := u.attempt()
			if err != nil || res.Response.Status != c.status {
				t.Fatalf("%v, %+v", err, res.Response)
			}
			u.asked(c.asked)
		})
	}
	u := newTusUploading(t, Body{Seed: 2, Size: 300_000}, extensions())
	u.srv.Script("/files/", UploadLosesAnswer(), UploadHonest(), UploadLosesAnswer())
	for range 2 { // OPTIONS, and an empty creation, do nothing that must not be done twice
		_, err := u.attempt()
		wantCode(t, err, task.ConnectionLost)
		if !err.(*task.Error).Unsent {
			t.Error("it may not be tried again")
		}
	}
	u.asked("OPTIONS, OPTIONS, POST")
}

// An upload that the server would not take is not begun.
func TestTusMaxSize(t *testing.T) {
	u := newTusUploading(t, Body{Seed: 2, Size: 300_000}, UploadLimits(UploadLimit{MaxSize: 299_999}))
	_, err := u.attempt()
	wantCode(t, err, task.DataTooLarge)
	u.asked("OPTIONS")
	u = newTusUploading(t, Body{Seed: 2, Size: 300_000}, UploadLimits(UploadLimit{MaxSize: 300_000}), extensions())
	u.uploaded(u.retried(1))
}

// A cancelled upload is deleted where the server can do that, or has not said that it cannot.
func TestTusTermination(t *testing.T) {
	body := Body{Seed: 2, Size: 300_000}
	for name, c := range map[string]struct {
		opts    []UploadOption
		options UploadStep
		asked   string
	}{
		"offered":     {[]UploadOption{extensions()}, UploadHonest(), "OPTIONS, POST, DELETE"},
		"not offered": {[]UploadOption{TusExtensions("creation")}, UploadHonest(), "OPTIONS, POST"},
		"unknown":     {[]UploadOption{extensions()}, UploadUnaware(), "OPTIONS, POST, DELETE"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newTusUploading(t, body, c.opts...)
			path := u.a.Spec.Request.Body.Path
			u.srv.Script("/files/", c.options, func(*UploadReply) { write(t, path, "another") })
			_, err := u.attempt() // a source that has changed cancels it
			wantCode(t, err, task.SourceChanged)
			if n := len(u.srv.RequestsBy("PATCH")); n > 1 {
				t.Errorf("%d appends", n)
			}
			if got := strings.ReplaceAll(u.methods(), ", PATCH 0", ""); got != c.asked {
				t.Errorf("asked %s, want %s", got, c.asked)
			}
		})
	}
	u := newTusUploading(t, body, TusExtensions("creation"))
	u.srv.Script("/files/", UploadHonest(), UploadHonest(), UploadCut(1000))
	u.attempt()
	u.a.Upload = u.last.state
	Abandon(context.Background(), u.a)
	u.asked("OPTIONS, POST, PATCH 0, DELETE") // nobody has asked then
}

// Upload-Expires is learned from each answer; what has expired is not asked for, and made anew once.
func TestTusExpires(t *testing.T) {
	u := newTusUploading(t, Body{Seed: 2, Size: 300_000}, extensions("expiration"), UploadLimits(UploadLimit{MaxAge: time.Hour}))
	u.a.Spec.Request.Method = "PUT"
	soon, late := time.Now().Add(time.Minute).UTC().Truncate(time.Second), time.Now().Add(48*time.Hour).UTC().Truncate(time.Second)
	expires := func(at time.Time) UploadStep { return UploadHeader("Upload-Expires", at.Format(http.TimeFormat)) }
	u.srv.Script("/files/", UploadHonest(), expires(soon), UploadCut(1000))
	if _, err := u.attempt(); err == nil || !u.last.state.Expires.Equal(soon) {
		t.Fatalf("%v, %+v", err, u.last.state)
	}
	u.srv.Script("/files/", UploadHonest(), expires(late), UploadCut(1000))
	if _, err := u.attempt(); err == nil || !u.last.state.Expires.Equal(late) {
		t.Fatalf("%v, %+v", err, u.last.state)
	}
	u.srv.Script("/files/", UploadHonest(), UploadHonest(), UploadAll(UploadEarly(1000, 204), UploadHeader("Upload-Offset", "3000"), expires(soon)), UploadStatus(503))
	if res, err := u.attempt(); err != nil || res.Response.Status != 503 || !u.last.state.Expires.Equal(soon) {
		t.Fatalf("%v, %+v, %+v", err, res.Response, u.last.state)
	}
	u.last.state.Expires = time.Now().Add(-time.Second)
	u.uploaded(u.retried(1))
	u.asked("OPTIONS, POST, PATCH 0, OPTIONS, HEAD, PATCH 1000, OPTIONS, HEAD, PATCH 2000, HEAD, OPTIONS, POST, PATCH 0")
}

// A Location may be relative, and one of http at the origin's own host stays https.
func TestTusLocation(t *testing.T) {
	for name, opts := range map[string][]UploadOption{
		"relative": {TusLocations(func(at string) string { return "../" + at[strings.Index(at, "uploads/"):] })},
		"a path":   {TusLocations(func(at string) string { return at[strings.Index(at, "/uploads/"):] })},
		"http":     {UploadsOverTLS(), TusLocations(func(at string) string { return "http" + strings.TrimPrefix(at, "https") })},
		"HTTP/2":   {UploadsOverHTTP2()},
	} {
		t.Run(name, func(t *testing.T) {
			u := newTusUploading(t, Body{Seed: 2, Size: 300_000}, append(opts, extensions())...)
			u.srv.Script("/files/", UploadHonest(), UploadHonest(), UploadAbort(1000))
			if _, err := u.attempt(); err == nil {
				t.Fatal("it was not cut")
			}
			u.uploaded(u.retried(1))
			u.asked("OPTIONS, POST, PATCH 0, OPTIONS, HEAD, PATCH 1000")
		})
	}
}

// Found out by a 412, tus is asked what it can do as well, and an upload that is lost is made by it again.
func TestTusIsFoundOut(t *testing.T) {
	u := newTusUploading(t, Body{Seed: 2, Size: resumableFrom + 1}, extensions())
	u.a.Spec.Upload = nil
	u.srv.Script("/files/", UploadHonest(), UploadHonest(), UploadHonest(), UploadCut(1000))
	if _, err := u.attempt(); err == nil {
		t.Fatal("it was not cut")
	}
	u.a.Spec.Request.Method = "PUT"
	u.srv.Script("/files/", UploadHonest(), UploadForgets(404))
	u.uploaded(u.retried(1))
	u.asked("POST, OPTIONS, POST, PATCH 0, OPTIONS, HEAD, POST, PATCH 0")
}
