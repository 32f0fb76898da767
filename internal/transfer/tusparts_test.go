package transfer

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// newTusParts is an upload of vast, 6 parts, over up to 3 connections.
func newTusParts(t *testing.T, opts ...UploadOption) *tusUploading {
	t.Helper()
	u := newTusUploading(t, vast, append([]UploadOption{extensions("concatenation"), UploadsIn(t.TempDir())}, opts...)...)
	u.a.Spec.Policy.Connections = 3
	u.a.Connections = newConnections(2)
	return u
}

const sixth = 8 << 20

// joined checks that the server has made one upload of parts, that it is the body, and that nothing but it is left.
func (u *tusUploading) joined(res Result, finals int) {
	u.t.Helper()
	var made []Upload
	for _, up := range u.srv.Uploads() {
		switch concat := up.Header.Get("Upload-Concat"); {
		case strings.HasPrefix(concat, "final;"):
			made = append(made, up)
		case up.Gone == 0:
			u.t.Errorf("%s is left, of %q", up.Location, concat)
		}
	}
	if len(made) != finals {
		u.t.Fatalf("%d final uploads: %s", len(made), u.methods())
	}
	for _, up := range made {
		if err := up.Check(u.body); err != nil {
			u.t.Error(err)
		}
	}
	if res.Response == nil || res.Response.Status/100 != 2 || res.Response.URL != u.a.Spec.Request.URL || res.Response.Header.Get("Location") != "" {
		u.t.Errorf("%+v", res.Response)
	}
	for _, x := range res.Transactions {
		if strings.Contains(x.URL, "/uploads/") {
			u.t.Errorf("a part is told: %s", x.URL)
		}
	}
	if out := u.a.Connections.(*connections).out; out != 0 {
		u.t.Errorf("%d connections were not given back", out)
	}
}

// count is how many requests of each method came.
func (u *tusUploading) count() string {
	var all []string
	for _, m := range []string{"OPTIONS", "POST", "HEAD", "PATCH", "DELETE"} {
		all = append(all, fmt.Sprintf("%s %d", m, len(u.srv.RequestsBy(m))))
	}
	return strings.Join(all, ", ")
}

func (u *tusUploading) counted(want string) {
	u.t.Helper()
	if got := u.count(); got != want {
		u.t.Errorf("asked %s\n want %s", got, want)
	}
}

// A large file goes in parts side by side, where its task has connections for that, and is made of them by one request.
func TestTusConcatenation(t *testing.T) {
	for name, opts := range map[string][]UploadOption{
		"HTTP/1.1": nil, "HTTP/2": {UploadsOverHTTP2()},
		"relative": {TusLocations(func(at string) string { return ".." + at[strings.Index(at, "/uploads/"):] })},
		"checked":  {extensions("concatenation", "checksum")},
	} {
		t.Run(name, func(t *testing.T) {
			u := newTusParts(t, opts...)
			u.a.Spec.Request.Header = http.Header{"Content-Type": {"video/mp4"}, "Authorization": {"Bearer secret"}}
			metadata := "filename c291cmNl,filetype dmlkZW8vbXA0"
			if name == "relative" {
				metadata = "name Zg=="
				u.a.Spec.Request.Header.Set("Upload-Metadata", metadata)
			}
			res, err := u.attempt()
			if err != nil {
				t.Fatal(err)
			}
			u.joined(res, 1)
			if name != "checked" {
				u.counted("OPTIONS 1, POST 7, HEAD 0, PATCH 6, DELETE 6")
			}
			if u.srv.Received() != vast.Size {
				t.Errorf("%d bytes came", u.srv.Received())
			}
			if u.last.sent != vast.Size && u.last.confirmed[len(u.last.confirmed)-1] != vast.Size {
				t.Errorf("told %d sent, %v confirmed", u.last.sent, u.last.confirmed)
			}
			posts := u.srv.RequestsBy("POST")
			for _, r := range posts[:6] {
				if r.Header.Get("Upload-Concat") != "partial" || r.Header.Get("Upload-Metadata") != "" || r.Header.Get("Upload-Length") != fmt.Sprint(sixth) {
					t.Errorf("a part by %v", r.Header)
				}
			}
			final := posts[6].Header
			list := strings.Fields(strings.TrimPrefix(final.Get("Upload-Concat"), "final;"))
			if len(list) != 6 || final.Get("Upload-Metadata") != metadata || final.Get("Upload-Length") != "" {
				t.Errorf("made by %v", final)
			}
			for _, at := range list {
				if strings.HasPrefix(at, "../uploads/") != (name == "relative") {
					t.Errorf("in the list: %s", at)
				}
			}
			for _, r := range u.srv.Requests() {
				if r.Header.Get("Authorization") != "Bearer secret" {
					t.Errorf("%s has %v", r.Method, r.Header)
				}
				if r.Method == "PATCH" && (r.Header.Get("Upload-Checksum") != "") != (name == "checked") {
					t.Errorf("%s has %v", r.Method, r.Header)
				}
			}
			if s := u.last.state; s == nil || s.URL == "" || len(s.Parts) != 6 || !s.Whole {
				t.Errorf("left %+v", s)
			}
		})
	}
}

// Without a word for it, or at another server, or of a smaller body, it is one upload.
func TestTusIsNotSplit(t *testing.T) {
	for name, change := range map[string]func(u *tusUploading){
		"nobody says so":       func(u *tusUploading) { u.a.Spec.Policy.Connections = 0 },
		"one connection":       func(u *tusUploading) { u.a.Spec.Policy.Connections = 1 },
		"no connections":       func(u *tusUploading) { u.a.Connections = nil },
		"a stream":             func(u *tusUploading) { fromStream(u.a, vast, vast.Size) },
		"not offered":          func(u *tusUploading) { u.srv.Script("/files/", UploadHeader("Tus-Extension", "creation")) },
		"too small":            func(u *tusUploading) { u.body = Body{Seed: 3, Size: 2*leastPartial - 1}; fromFile(t, u.a, u.body) },
		"too large as a whole": func(u *tusUploading) { u.srv.Script("/files/", UploadHeader("Tus-Max-Size", "50000000")) },
	} {
		t.Run(name, func(t *testing.T) {
			u := newTusParts(t)
			change(u)
			res, err := u.attempt()
			if name == "too large as a whole" {
				wantCode(t, err, task.DataTooLarge)
				u.asked("OPTIONS")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			u.uploaded(res)
			u.asked("OPTIONS, POST, PATCH 0")
		})
	}
}

// Each part goes on alone after a cut, whatever the method, and is named where the next attempt, of another process, finds it.
func TestTusPartIsCut(t *testing.T) {
	u := newTusParts(t)
	u.srv.Script("/uploads/2", UploadCut(1000))
	u.srv.Script("/uploads/5", UploadCut(2000))
	_, err := u.attempt()
	wantCode(t, err, task.ConnectionLost)
	if strings.Contains(err.Error(), "/uploads/") {
		t.Errorf("a part is told: %v", err)
	}
	s := u.last.state
	if s == nil || s.URL != "" || len(s.Parts) != 6 || s.Whole || slices.ContainsFunc(s.Parts, func(p task.Part) bool { return p.URL == "" || p.Length != sixth }) {
		t.Fatalf("kept %+v", s)
	}
	if u.last.told < 6 {
		t.Errorf("told %d times", u.last.told)
	}
	res, err := u.attempt()
	if err != nil {
		t.Fatal(err)
	}
	u.joined(res, 1)
	u.counted("OPTIONS 2, POST 7, HEAD 6, PATCH 8, DELETE 6")
	if n := u.srv.Received(); n > vast.Size+3000 {
		t.Errorf("%d bytes came", n)
	}
}

// What is not there any more is sent anew, alone.
func TestTusPartIsForgotten(t *testing.T) {
	for _, whole := range []bool{false, true} {
		u := newTusParts(t)
		u.srv.Script("/uploads/2", UploadCut(1000), UploadForgets(404))
		if _, err := u.attempt(); err == nil {
			t.Fatal("it was not cut")
		}
		u.last.state.Whole = whole // as after a kill: all may have been joined
		res, err := u.attempt()
		if whole {
			wantCode(t, err, task.BadServerResponse)
			if !strings.Contains(err.Error(), "it is done, or it is lost") {
				t.Error(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		u.joined(res, 1)
		if n := u.srv.Received(); n > vast.Size+1000 {
			t.Errorf("%d bytes came", n)
		}
	}
}

// Also where all of it may have come, whatever the method: alone it finishes nothing.
func TestTusWholePartIsForgotten(t *testing.T) {
	u := newTusParts(t)
	u.srv.Script("/uploads/2", UploadHeader("Upload-Offset"), UploadForgets(404))
	u.joined(u.retried(1), 1)
	u.counted("OPTIONS 1, POST 8, HEAD 1, PATCH 7, DELETE 6")
}

// That all may have been joined is not so where a part is not there yet, or has no name: what is forgotten then is sent anew.
func TestTusPartsAreNotJoinedYet(t *testing.T) {
	for name, change := range map[string]func(u *tusUploading){
		"one is cut": func(*tusUploading) {},
		"one has no name": func(u *tusUploading) {
			u.last.state.Parts[0].URL = ""
			u.srv.Script("/uploads/2", UploadForgets(404))
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newTusParts(t)
			u.a.Connections = newConnections(0) // one after the other
			u.srv.Script("/uploads/2", UploadCut(1000))
			u.srv.Script("/uploads/5", UploadHonest(), UploadForgets(404))
			if _, err := u.attempt(); err == nil {
				t.Fatal("it was not cut")
			}
			u.last.state.Whole = true // as after a kill
			change(u)
			res, err := u.attempt()
			if err != nil {
				t.Fatal(err)
			}
			if err := u.srv.Uploads()[len(u.srv.Uploads())-1].Check(vast); err != nil || res.Response.Status != 201 {
				t.Errorf("%v, %+v", err, res.Response)
			}
		})
	}
}

// The parts are deleted over the connection that has joined them, where there is no other.
func TestTusPartsOverOneConnection(t *testing.T) {
	u := newTusParts(t)
	u.a.Connections = newConnections(0)
	u.a.RoundTripper = newTransport(t, transport.Options{MaxConnsPerHost: 1})
	u.joined(u.retried(1), 1)
}

// A lost answer to the last request: it is asked for again, and what is made twice is the same.
func TestTusJoinIsLost(t *testing.T) {
	u := newTusParts(t)
	final := func(step UploadStep) UploadStep {
		return func(r *UploadReply) {
			if strings.HasPrefix(r.Request.Header.Get("Upload-Concat"), "final;") {
				step(r)
			}
		}
	}
	u.srv.Always("/files/", final(UploadLosesAnswer()))
	_, err := u.attempt()
	wantCode(t, err, task.ConnectionLost)
	if s := u.last.state; s == nil || !s.Whole || s.URL != "" {
		t.Fatalf("kept %+v", s)
	}
	u.srv.Always("/files/", UploadHonest())
	res, err := u.attempt()
	if err != nil {
		t.Fatal(err)
	}
	u.joined(res, 2)
	u.counted("OPTIONS 2, POST 8, HEAD 6, PATCH 6, DELETE 6")

	// A process that ends between the answer and its task's end finds what was made, and drops the parts.
	made := u.last.state
	next := newTusParts(t)
	next.srv, next.origin, next.a.Spec.Request.URL = u.srv, u.srv, u.a.Spec.Request.URL
	next.last = &resumer{state: made}
	next.srv.Script("/uploads/8", UploadHeader("Upload-Offset")) // as while it is joined still
	if res, err = next.attempt(); err != nil {
		t.Fatal(err)
	}
	next.joined(res, 2)
	u.counted("OPTIONS 3, POST 8, HEAD 7, PATCH 6, DELETE 12")

	// Refused, because a part is gone meanwhile: that is sent again.
	u = newTusParts(t)
	var once sync.Once
	u.srv.Always("/files/", final(func(r *UploadReply) {
		once.Do(func() {
			u.srv.Script("/uploads/3", UploadForgets(410))
			UploadStatus(404)(r)
		})
	}))
	u.a.Spec.Request.Method = "PUT"
	if res, err = u.attempt(); err != nil {
		t.Fatal(err)
	}
	u.joined(res, 1)
	u.counted("OPTIONS 1, POST 9, HEAD 6, PATCH 7, DELETE 6")

	// Refused for good, it is the answer, and not asked for without end.
	u = newTusParts(t)
	u.srv.Always("/files/", final(UploadStatus(400)))
	if res, err = u.attempt(); err != nil || res.Response.Status != 400 {
		t.Errorf("%v, %+v", err, res.Response)
	}
	u.counted("OPTIONS 1, POST 8, HEAD 6, PATCH 6, DELETE 0")
	u = newTusParts(t)
	u.srv.Always("/files/", final(UploadStatus(503)))
	if res, err = u.attempt(); err != nil || res.Response.Status != 503 || u.last.state == nil {
		t.Errorf("%v, %+v", err, res.Response)
	}
}

// A server that says that it can, and takes no part, gets the whole.
func TestTusTakesNoParts(t *testing.T) {
	for _, step := range []UploadStep{UploadStatus(400), UploadStatus(403), UploadRedirect(307, "/files/")} {
		u := newTusParts(t)
		u.srv.Always("/files/", func(r *UploadReply) {
			if r.Request.Header.Get("Upload-Concat") != "" {
				step(r)
			}
		})
		res, err := u.attempt()
		if err != nil {
			t.Fatal(err)
		}
		u.uploaded(res)
		if len(u.srv.RequestsBy("PATCH")) != 1 {
			t.Errorf("asked %s", u.methods())
		}
	}
	u := newTusParts(t)
	u.srv.Always("/files/", UploadWhen("POST", UploadStatus(429)))
	if res, err := u.attempt(); err != nil || res.Response.Status != 429 {
		t.Errorf("%v, %+v", err, res.Response)
	}
}

// Cancelled, all parts are dropped: by who has them in a record, and where their source changes.
func TestTusPartsAreDropped(t *testing.T) {
	u := newTusParts(t)
	u.srv.Script("/uploads/2", UploadCut(1000))
	if _, err := u.attempt(); err == nil {
		t.Fatal("it was not cut")
	}
	u.a.Upload = u.last.state
	Abandon(context.Background(), u.a)
	for _, up := range u.srv.Uploads() {
		if up.Gone == 0 {
			t.Errorf("%s is left", up.Location)
		}
	}
	u.counted("OPTIONS 1, POST 6, HEAD 0, PATCH 6, DELETE 6")

	u = newTusParts(t)
	u.a.Connections = newConnections(0) // one after the other: the answer to no creation is lost
	path := u.a.Spec.Request.Body.Path
	u.srv.Script("/uploads/4", func(*UploadReply) { write(t, path, "another") })
	_, err := u.attempt()
	wantCode(t, err, task.SourceChanged)
	for _, up := range u.srv.Uploads() {
		if up.Gone == 0 {
			t.Errorf("%s is left", up.Location)
		}
	}
	if u.last.state != nil {
		t.Errorf("kept %+v", u.last.state)
	}
}

// Parts that are all there are not joined once their source is another.
func TestTusPartsOfAnotherSource(t *testing.T) {
	u := newTusParts(t)
	u.srv.Always("/files/", UploadWhen("POST", func(r *UploadReply) {
		if r.Request.Header.Get("Upload-Concat") != "partial" {
			UploadStatus(503)(r)
		}
	}))
	if res, err := u.attempt(); err != nil || res.Response.Status != 503 {
		t.Fatalf("%v, %+v", err, res.Response)
	}
	path := u.a.Spec.Request.Body.Path
	u.srv.Script("/uploads/6", func(*UploadReply) { write(t, path, "another") })
	_, err := u.attempt()
	wantCode(t, err, task.SourceChanged)
	u.counted("OPTIONS 2, POST 7, HEAD 6, PATCH 6, DELETE 6")
}

// Parts that are named at another origin get no credential of this one, and are not deleted there.
func TestTusPartsElsewhere(t *testing.T) {
	other := NewTusServer(extensions("concatenation"), UploadsIn(t.TempDir()))
	t.Cleanup(other.Close)
	for range 6 {
		req, _ := http.NewRequest("POST", other.URL+"/files/", nil)
		req.Header.Set("Tus-Resumable", "1.0.0")
		req.Header.Set("Upload-Length", fmt.Sprint(sixth))
		req.Header.Set("Upload-Concat", "partial")
		resp, err := other.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	u := newTusParts(t, TusLocations(func(at string) string { return other.URL + at[strings.Index(at, "/uploads/"):] }))
	u.a.Spec.Request.Header = http.Header{"Authorization": {"Bearer secret"}}
	u.srv.Always("/files/", func(r *UploadReply) {
		if strings.HasPrefix(r.Request.Header.Get("Upload-Concat"), "final;") {
			UploadStatus(201)(r)
		}
	})
	if res, err := u.attempt(); err != nil || res.Response.Status != 201 {
		t.Fatalf("%v, %+v", err, res.Response)
	}
	for _, r := range other.Requests()[6:] {
		if r.Header.Get("Authorization") != "" || r.Method == "DELETE" {
			t.Errorf("%s with %v", r.Method, r.Header)
		}
	}
	if n := len(other.RequestsBy("HEAD")); n != 6 {
		t.Errorf("%d were asked for first", n)
	}
}
