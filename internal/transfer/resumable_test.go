package transfer

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

var interops = []int{3, 4, 5, 6, 7, 8}

// resumer is an observer that keeps what it is told of an upload.
type resumer struct {
	observer
	mu        sync.Mutex
	state     *task.UploadState
	told      int
	confirmed []int64
}

func (o *resumer) Resumable(s *task.UploadState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state = s
	o.told++
}

func (o *resumer) Confirmed(total, _ int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.confirmed = append(o.confirmed, total)
}

// uploading is a task that uploads body to /f of an origin.
type uploading struct {
	t    *testing.T
	srv  *UploadServer
	a    *Attempt
	body Body
	last *resumer
}

func newUploading(t *testing.T, body Body, opts ...UploadOption) *uploading {
	t.Helper()
	srv := NewUploadServer(opts...)
	t.Cleanup(srv.Close)
	rt := newTransport(t, transport.Options{TLS: transport.TLS{Roots: CAPool()}})
	a := &Attempt{ID: 1, RoundTripper: silent(rt), Spec: &task.Spec{
		Kind: task.Upload, Request: task.Request{Method: "POST", URL: srv.URL + "/f"},
		Policy: task.Policy{RequestTimeout: 20 * time.Second}, Upload: &task.UploadSpec{Resumable: task.ResumableIETF},
	}}
	fromFile(t, a, body)
	return &uploading{t: t, srv: srv, a: a, body: body}
}

// silent is a way to servers that do not say what they take.
func silent(rt http.RoundTripper) roundTripper {
	return func(req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodOptions {
			return &http.Response{StatusCode: 405, Status: "405 Method Not Allowed", Request: req, Header: http.Header{}, Body: http.NoBody}, nil
		}
		return rt.RoundTrip(req)
	}
}

// attempt runs the next attempt.
func (u *uploading) attempt() (Result, error) {
	u.t.Helper()
	next := *u.a
	next.Number++
	if u.last != nil {
		next.Upload = u.last.state
	}
	u.last = &resumer{state: next.Upload}
	u.a, next.Observer = &next, u.last
	return Run(u.t.Context(), &next)
}

// retried runs attempts, up to n, until one has no error and no status of 5xx.
func (u *uploading) retried(n int) Result {
	u.t.Helper()
	var res Result
	var err error
	for range n {
		if res, err = u.attempt(); err == nil && res.Response.Status < 500 {
			return res
		}
	}
	u.t.Fatalf("after %d attempts: %v, %+v\n%s", n, err, res.Response, u.methods())
	return res
}

// uploaded checks that the origin has taken the body, exactly once.
func (u *uploading) uploaded(res Result) {
	u.t.Helper()
	var done []Upload
	for _, up := range u.srv.Uploads() {
		if up.Complete {
			done = append(done, up)
		}
	}
	if len(done) != 1 {
		u.t.Fatalf("%d uploads are complete: %s", len(done), u.methods())
	}
	if err := done[0].Check(u.body); err != nil {
		u.t.Error(err)
	}
	if res.Response.Status/100 != 2 || res.Response.URL != u.a.Spec.Request.URL {
		u.t.Errorf("status %d of %s", res.Response.Status, res.Response.URL)
	}
	if at := res.Response.Header.Get("Location"); strings.Contains(at, "/uploads/") {
		u.t.Errorf("the upload resource is told: Location %s", at)
	}
	for _, x := range res.Transactions {
		if strings.Contains(x.URL, "/uploads/") {
			u.t.Errorf("the upload resource is told: %s", x.URL)
		}
	}
}

// methods are what was asked, in order.
func (u *uploading) methods() string {
	var all []string
	for _, r := range u.srv.Requests() {
		s := r.Method
		if o := r.Header.Get("Upload-Offset"); o != "" {
			s += " " + o
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

func (u *uploading) asked(want string) {
	u.t.Helper()
	if got := u.methods(); got != want {
		u.t.Errorf("asked %s\n want %s", got, want)
	}
}

// only makes a server one that refuses each version but v, as swift-nio does.
func only(v int) UploadStep {
	return func(r *UploadReply) {
		if asked := r.Request.Header.Get("Upload-Draft-Interop-Version"); asked != "" && asked != strconv.Itoa(v) {
			UploadStatus(400)(r)
		}
	}
}

// nth does step for the n-th request, from 1, of a method that gets through.
func nth(method string, n int, step UploadStep) UploadStep {
	var mu sync.Mutex
	seen := 0
	return func(r *UploadReply) {
		if r.Request.Method != method {
			return
		}
		mu.Lock()
		seen++
		now := seen == n
		mu.Unlock()
		if now {
			step(r)
		}
	}
}

// versions runs a test by each version, of a server that knows no other one. The versions before that are refused: faults of
// POST begin after those.
func versions(t *testing.T, body Body, test func(t *testing.T, u *uploading, v int, script func(post, head, patch UploadStep))) {
	tried := interops
	if body == vast {
		tried = []int{3, 8}
	}
	for _, v := range tried {
		t.Run(strconv.Itoa(v), func(t *testing.T) {
			u := newUploading(t, body)
			test(t, u, v, func(post, head, patch UploadStep) {
				steps := []UploadStep{only(v)}
				for method, step := range map[string]UploadStep{"POST": post, "HEAD": head, "PATCH": patch} {
					if step == nil {
						continue
					}
					n := 1
					if method == "POST" {
						n = 9 - v
					}
					steps = append(steps, nth(method, n, step))
				}
				u.srv.Always("/f", UploadAll(steps...))
			})
		})
	}
}

// after is what was asked until the version was found, and then.
func after(v int, then string) string { return strings.Repeat("POST, ", 8-v) + then }

var bulk = Body{Seed: 8, Size: 600_000}

// vast does not fit into the buffers of a connection, which the kernel lets grow to 36 MiB (tcp_rmem, tcp_wmem): it has not left when its
// beginning has come.
var vast = Body{Seed: 8, Size: 48 << 20}

// An upload that is not cut is one request, and its answer the response.
func TestResumableAtOnce(t *testing.T) {
	versions(t, bulk, func(t *testing.T, u *uploading, v int, script func(_, _, _ UploadStep)) {
		script(nil, nil, nil)
		res := u.retried(1)
		u.uploaded(res)
		u.asked(after(v, "POST"))
		if string(res.Body) != fmt.Sprintf("received %d bytes\n", bulk.Size) {
			t.Errorf("answer %q", res.Body)
		}
		if u.last.sent != bulk.Size {
			t.Errorf("%d bytes told as sent", u.last.sent)
		}
	})
}

// A cut upload goes on from what the server has, whatever its method: nothing that it has is sent again.
func TestResumableCut(t *testing.T) {
	versions(t, bulk, func(t *testing.T, u *uploading, v int, script func(_, _, _ UploadStep)) {
		first := rand.Int64N(bulk.Size - 1)
		second := rand.Int64N(bulk.Size - first)
		script(UploadCut(first), nil, UploadCut(second))
		res := u.retried(3)
		u.uploaded(res)
		u.asked(after(v, fmt.Sprintf("POST, HEAD, PATCH %d, HEAD, PATCH %d", first, first+second)))
		if sent := u.srv.Received(); sent != bulk.Size {
			t.Errorf("%d bytes came, %d of them again", sent, sent-bulk.Size)
		}
	})
}

// What was in flight at a cut, and no more, is sent again.
func TestResumableLoses(t *testing.T) {
	const lost = 50_000
	versions(t, bulk, func(t *testing.T, u *uploading, v int, script func(_, _, _ UploadStep)) {
		script(UploadAll(UploadCut(300_000), UploadLoses(lost)), nil, nil)
		u.uploaded(u.retried(2))
		if again := u.srv.Received() - bulk.Size; again != lost {
			t.Errorf("%d bytes were sent again, and %d lost", again, lost)
		}
	})
}

func TestResumableFaults(t *testing.T) {
	const at = 200_000
	for name, c := range map[string]struct {
		post, head, patch UploadStep
		attempts          int
		asked             string // after the versions; empty: not looked at
	}{
		"conflict":                 {UploadCut(at), nil, UploadConflicts(), 2, "POST, HEAD, PATCH 200000, HEAD, PATCH 200000"},
		"goes back":                {UploadCut(at), UploadRollsBack(50_000), nil, 2, "POST, HEAD, PATCH 150000"},
		"5xx to HEAD":              {UploadCut(at), UploadStatus(503), nil, 3, "POST, HEAD, HEAD, PATCH 200000"},
		"5xx to PATCH":             {UploadCut(at), nil, UploadStatus(500), 3, "POST, HEAD, PATCH 200000, HEAD, PATCH 200000"},
		"5xx after 104":            {UploadEarly(at, 500), nil, nil, 2, ""},
		"lost answer":              {UploadLosesAnswer(), nil, nil, 2, "POST, HEAD"},
		"lost answer to an append": {UploadCut(at), nil, UploadLosesAnswer(), 3, "POST, HEAD, PATCH 200000, HEAD"},
		"all but the end":          {UploadCut(bulk.Size), nil, nil, 2, fmt.Sprintf("POST, HEAD, PATCH %d", bulk.Size)},
		"two 104":                  {UploadAll(UploadAnnounced(2), UploadCut(at)), nil, nil, 2, "POST, HEAD, PATCH 200000"},
	} {
		t.Run(name, func(t *testing.T) {
			versions(t, bulk, func(t *testing.T, u *uploading, v int, script func(_, _, _ UploadStep)) {
				script(c.post, c.head, c.patch)
				u.uploaded(u.retried(c.attempts))
				if c.asked != "" {
					u.asked(after(v, c.asked))
				}
			})
		})
	}
}

// An answer that says that all is well before all has left is not believed.
func TestResumableEarlyAnswer(t *testing.T) {
	versions(t, vast, func(t *testing.T, u *uploading, _ int, script func(_, _, _ UploadStep)) {
		script(UploadEarly(100_000, 200), nil, nil)
		u.uploaded(u.retried(1))
	})
}

// A server that has forgotten the upload gets it anew, unless it may be done: then only what may be sent twice is.
func TestResumableForgotten(t *testing.T) {
	for _, status := range []int{404, 410} {
		versions(t, vast, func(t *testing.T, u *uploading, v int, script func(_, _, _ UploadStep)) {
			script(UploadCut(100_000), UploadForgets(status), nil)
			u.uploaded(u.retried(2))
			u.asked(after(v, "POST, HEAD, ") + after(v, "POST"))
		})
		versions(t, bulk, func(t *testing.T, u *uploading, _ int, script func(_, _, _ UploadStep)) {
			script(UploadLosesAnswer(), UploadForgets(status), nil)
			u.attempt()
			if u.last.state == nil || !u.last.state.Whole {
				t.Fatalf("state %+v", u.last.state)
			}
			_, err := u.attempt()
			wantCode(t, err, task.BadServerResponse)
			if !strings.Contains(err.Error(), "done, or it is lost") || u.last.state != nil {
				t.Errorf("%v; state %+v", err, u.last.state)
			}
		})
	}
	u := newUploading(t, vast) // a server that says that it is not done says that it may be sent anew
	u.srv.Always("/f", UploadAll(nth("POST", 1, UploadCut(100_000)), nth("PATCH", 1, UploadCut(100_000)), nth("HEAD", 2, UploadForgets(404))))
	u.attempt()
	u.last.state.Whole = true // as if the process had been killed
	u.attempt()
	u.uploaded(u.retried(1))
	u.asked("POST, HEAD, PATCH 100000, HEAD, POST")

	u = newUploading(t, bulk)
	u.a.Spec.Request.Method = "PUT"
	u.srv.Always("/f", UploadAll(nth("PUT", 1, UploadLosesAnswer()), UploadWhen("HEAD", UploadForgets(404))))
	u.retried(2)
	u.asked("PUT, HEAD, PUT")
}

// A server that says what cannot be is given up, and told so.
func TestResumableLies(t *testing.T) {
	for name, c := range map[string]struct {
		head UploadStep
		code task.Code
		last string
	}{
		"beyond the end": {UploadOffsetBy(bulk.Size), task.BadServerResponse, "DELETE"},
		"ahead":          {UploadOffsetBy(1000), task.BadServerResponse, "DELETE"}, // and refuses what would follow that
		"never further":  {nil, task.BadServerResponse, "DELETE"},
	} {
		t.Run(name, func(t *testing.T) {
			versions(t, bulk, func(t *testing.T, u *uploading, v int, _ func(_, _, _ UploadStep)) {
				steps := []UploadStep{only(v), nth("POST", 9-v, UploadCut(100_000))}
				if c.head != nil {
					steps = append(steps, UploadWhen("HEAD", c.head))
				} else {
					steps = append(steps, UploadWhen("PATCH", UploadConflicts()))
				}
				u.srv.Always("/f", UploadAll(steps...))
				u.attempt()
				_, err := u.attempt()
				wantCode(t, err, c.code)
				all := u.srv.Requests()
				if len(all) > 20 || all[len(all)-1].Method != c.last || u.last.state != nil {
					t.Errorf("%s; state %+v", u.methods(), u.last.state)
				}
			})
		})
	}
	for _, value := range []string{"-1", "1e6", `"7"`, ""} { // no offset at all: it cannot be gone on from
		u := newUploading(t, vast)
		u.srv.Always("/f", UploadAll(nth("POST", 1, UploadCut(100_000)), nth("HEAD", 1, UploadOffset(value))))
		u.uploaded(u.retried(2))
		u.asked("POST, HEAD, POST")
	}
}

// A conflict with an upload that is done, which the server says, is no answer of its target before version 6.
func TestResumableConflictOfDone(t *testing.T) {
	for _, v := range []int{3, 4, 5} {
		u := newUploading(t, bulk)
		u.srv.Always("/f", UploadAll(only(v), nth("POST", 9-v, UploadCut(bulk.Size)), UploadWhen("PATCH", UploadEdit(func(status int, h http.Header) int {
			h.Set(map[bool]string{true: "Upload-Incomplete", false: "Upload-Complete"}[v == 3], map[bool]string{true: "?0", false: "?1"}[v == 3])
			h.Set("Upload-Offset", strconv.FormatInt(bulk.Size, 10))
			return 409 // and what the append has asked for is done
		}))))
		u.uploaded(u.retried(2))
		u.asked(after(v, fmt.Sprintf("POST, HEAD, PATCH %d, HEAD", bulk.Size)))
	}
}

// Without a 104 of the version that was asked for, to a place where a request may go, nothing is gone on from.
func TestResumableUnannounced(t *testing.T) {
	for name, step := range map[string]UploadStep{
		"no 104": UploadAnnounced(0), "another version": UploadInterop("7"), "no version": UploadInterop(""), "no place": UploadLocation(""),
		"no URL": UploadLocation("http://%zz/"), "another scheme": UploadLocation("ftp://example.com/"), "plain": UploadUnaware(),
	} {
		t.Run(name, func(t *testing.T) {
			u := newUploading(t, bulk)
			u.srv.Always("/f", UploadAll(step, nth("POST", 1, UploadCut(100_000))))
			_, err := u.attempt()
			wantCode(t, err, task.ConnectionLost)
			if u.last.told != 0 {
				t.Errorf("state %+v", u.last.state)
			}
		})
	}
	if at := resourceURL(parse(t, "https://h/up"), "http://other/1"); at != nil {
		t.Errorf("from https to %v", at)
	}
	if at := resourceURL(parse(t, "https://h/up"), "http://h/1"); at == nil || at.String() != "https://h/1" {
		t.Errorf("a server behind TLS is at %v", at)
	}
	if at := resourceURL(parse(t, "https://h/up/"), "1?a=b#c"); at == nil || at.String() != "https://h/up/1?a=b" {
		t.Errorf("relative: %v", at)
	}
}

func parse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A server that knows nothing of it gets a plain upload in the same request; where nobody asked, small bodies are plain,
// and a refusal of all of the body is the answer.
func TestResumableAuto(t *testing.T) {
	auto := func(body Body, opts ...UploadOption) *uploading {
		u := newUploading(t, body, opts...)
		u.a.Spec.Upload = nil
		return u
	}
	worth := Body{Seed: 8, Size: resumableFrom + 1}
	u := auto(worth, UploadVersions())
	u.uploaded(u.retried(1))
	u.asked("POST")

	u = auto(Body{Seed: 9, Size: resumableFrom})
	u.uploaded(u.retried(1))
	if h := u.srv.Requests()[0].Header; h.Get(interopField) != "" {
		t.Errorf("a small body: %v", h)
	}

	u = auto(worth)
	u.srv.Script("/f", UploadCut(100_000))
	u.uploaded(u.retried(2))
	u.asked("POST, HEAD, PATCH 100000")

	for _, v := range []string{"3", "5", "6"} { // as swift-nio
		u = auto(worth)
		u.srv.Always("/f", func(r *UploadReply) {
			if r.Request.Header.Get(interopField) != v {
				UploadAll(UploadStatus(400), UploadHeader(interopField, v))(r)
			}
		})
		u.uploaded(u.retried(1))
		u.asked("POST, POST")
		if got := u.srv.Uploads()[0].Version; strconv.Itoa(got) != v {
			t.Errorf("version %d, want %s", got, v)
		}
	}

	u = auto(worth) // one that refuses what it does not know
	u.srv.Always("/f", func(r *UploadReply) {
		if r.Request.Header.Get(interopField) != "" {
			UploadStatus(412)(r)
		}
	})
	u.uploaded(u.retried(1))
	u.asked("POST, POST")

	u = auto(worth) // one that names its version, and refuses that too
	u.srv.Always("/f", func(r *UploadReply) {
		if r.Request.Header.Get(interopField) != "" {
			UploadAll(UploadStatus(400), UploadHeader(interopField, "6"))(r)
		}
	})
	u.uploaded(u.retried(1))
	u.asked("POST, POST, POST")

	u = auto(worth) // one that has a reason of its own
	u.srv.Always("/f", UploadStatus(400))
	if res := u.retried(1); res.Response.Status != 400 {
		t.Errorf("%+v", res.Response)
	}
	u.asked("POST, POST")

	u = auto(worth)
	u.srv.Always("/f", UploadAll(UploadUnaware(), UploadFinal(400, "text/plain", "no\n")))
	if res := u.retried(1); res.Response.Status != 400 || string(res.Body) != "no\n" {
		t.Errorf("%+v", res.Response)
	}
	u.asked("POST")
}

// A refusal is the answer where the body cannot be sent again.
func TestResumableRefusesAStream(t *testing.T) {
	u := newUploading(t, bulk)
	fromStream(u.a, bulk, bulk.Size)
	u.srv.Always("/f", UploadStatus(400))
	open, opened := u.a.Body, 0
	u.a.Body = func() (io.ReadCloser, error) {
		if opened++; opened > 1 {
			return nil, &task.Error{Op: "rewind request body", Code: task.BodyStreamExhausted}
		}
		return open()
	}
	res := u.retried(1)
	if res.Response.Status != 400 || len(res.Body) == 0 {
		t.Errorf("%+v, %q", res.Response, res.Body)
	}
}

// The file is looked at before an upload is gone on with, and before its end is sent: one that has changed is an error, and
// nothing is finished.
func TestResumableSourceChanges(t *testing.T) {
	versions(t, bulk, func(t *testing.T, u *uploading, v int, script func(_, _, _ UploadStep)) {
		script(UploadCut(100_000), nil, nil)
		u.attempt()
		os.Chtimes(u.a.Spec.Request.Body.Path, time.Time{}, time.Now().Add(time.Hour))
		_, err := u.attempt()
		wantCode(t, err, task.SourceChanged)
		u.asked(after(v, "POST, DELETE"))
	})
	versions(t, vast, func(t *testing.T, u *uploading, v int, script func(_, _, _ UploadStep)) {
		script(func(*UploadReply) { os.Chtimes(u.a.Spec.Request.Body.Path, time.Time{}, time.Now().Add(time.Hour)) }, nil, nil)
		_, err := u.attempt()
		wantCode(t, err, task.SourceChanged)
		if up := u.srv.Uploads(); slices.ContainsFunc(up, func(up Upload) bool { return up.Complete }) {
			t.Error("it was finished")
		}
		u.asked(after(v, "POST, DELETE"))
	})
}

// Pieces are as large as the server takes them.
func TestResumableLimits(t *testing.T) {
	for _, v := range []int{6, 7, 8} {
		t.Run(strconv.Itoa(v), func(t *testing.T) {
			u := newUploading(t, bulk, UploadLimits(UploadLimit{MaxAppendSize: 200_000}))
			u.srv.Always("/f", UploadAll(only(v), nth("POST", 9-v, UploadCut(100_000))))
			u.uploaded(u.retried(2))
			for _, r := range u.srv.RequestsBy("PATCH") {
				if r.BodySize > 200_000 {
					t.Errorf("an append of %d bytes", r.BodySize)
				}
			}
		})
		t.Run("too long for "+strconv.Itoa(v), func(t *testing.T) {
			u := newUploading(t, bulk, UploadLimits(UploadLimit{MaxSize: 200_000}))
			u.srv.Always("/f", only(v))
			res, err := u.attempt()
			if err == nil && res.Response.Status != 413 || err != nil && task.CodeOf(err) != task.DataTooLarge {
				t.Errorf("%v, %+v", err, res.Response)
			}
		})
	}
	t.Run("expired", func(t *testing.T) {
		u := newUploading(t, vast)
		u.srv.Script("/f", UploadCut(100_000))
		u.attempt()
		u.last.state.Expires = time.Now().Add(-time.Second)
		u.uploaded(u.retried(1))
		u.asked("POST, POST")
	})
}

// Progress is what the server says that it has, where it says so.
func TestResumableProgress(t *testing.T) {
	u := newUploading(t, bulk, UploadProgress(100_000))
	u.srv.Script("/f", UploadCut(550_000))
	u.attempt()
	if c := u.last.confirmed; len(c) == 0 || c[len(c)-1] > 550_000 || !slices.IsSorted(c) || u.last.state.Offset != c[len(c)-1] {
		t.Errorf("confirmed %v, state %+v", c, u.last.state)
	}
	u.uploaded(u.retried(1))
	if c := u.last.confirmed; c[0] != 550_000 || c[len(c)-1] != bulk.Size && u.last.sent != bulk.Size {
		t.Errorf("confirmed %v, sent %d", c, u.last.sent)
	}
}

// Streams that can be opened again are gone on from, too.
func TestResumableStream(t *testing.T) {
	u := newUploading(t, bulk)
	fromStream(u.a, bulk, bulk.Size)
	u.srv.Script("/f", UploadCut(300_001), UploadHonest(), UploadCut(100_001))
	u.uploaded(u.retried(3))
	if sent := u.srv.Received(); sent != bulk.Size {
		t.Errorf("%d bytes came", sent)
	}
}

func TestResumableOverTLS(t *testing.T) {
	for name, opts := range map[string][]UploadOption{"h1": {UploadsOverTLS()}, "h2": {UploadsOverHTTP2()}} {
		t.Run(name, func(t *testing.T) {
			u := newUploading(t, bulk, opts...)
			u.srv.Script("/f", UploadCut(300_000), UploadHonest(), UploadAbort(100_000))
			u.uploaded(u.retried(3))
		})
	}
}

// Credentials and what describes the body are not for the upload resource of another origin, nor for its appends.
func TestResumableFields(t *testing.T) {
	u := newUploading(t, bulk)
	u.a.Spec.Request.Header = http.Header{"Authorization": {"Bearer secret"}, "X-Api-Key": {"secret"}, "Content-Type": {"video/mp4"},
		"Content-Disposition": {"attachment"}, "If-Match": {`"a"`}}
	u.srv.Script("/f", UploadCut(100_000))
	u.uploaded(u.retried(2))
	for _, r := range u.srv.RequestsBy("HEAD", "PATCH") {
		h := r.Header
		if h.Get("Authorization") != "Bearer secret" || h.Get("X-Api-Key") != "secret" || h.Get("Content-Disposition") != "" || h.Get("If-Match") != "" ||
			h.Get("Content-Type") == "video/mp4" {
			t.Errorf("%s %v", r.Method, h)
		}
	}

	u = newUploading(t, bulk)
	other := NewUploadServer()
	defer other.Close()
	u.a.Spec.Request.Header = http.Header{"Authorization": {"Bearer secret"}, "X-Api-Key": {"secret"}}
	u.srv.Script("/f", UploadAll(UploadLocation(other.URL+"/uploads/1"), UploadCut(100_000)))
	u.attempt()
	u.attempt()
	if all := other.Requests(); len(all) != 1 || all[0].Header.Get("Authorization") != "" || all[0].Header.Get("X-Api-Key") != "" {
		t.Errorf("the other origin was told %+v", all)
	}
}

// Redirects of the upload resource: 308 is for good, 307 for once, and no other is followed.
func TestResumableRedirects(t *testing.T) {
	u := newUploading(t, bulk)
	u.srv.Script("/f", UploadRedirect(307, "/g"))
	u.srv.Always("/g", UploadAll(nth("POST", 1, UploadCut(100_000)), nth("HEAD", 1, UploadRedirect(308, "/uploads/1"))))
	res := u.retried(2)
	if up := u.srv.Uploads(); len(up) != 1 || !up[0].Complete || up[0].Check(bulk) != nil || res.Response.Status != 201 {
		t.Errorf("%+v, %+v", up, res.Response)
	}
	u.asked("POST, POST, HEAD, HEAD, PATCH 100000")
	if strings.Contains(u.last.observer.told(), "redirect") {
		t.Error("a redirect of the upload resource was told")
	}

	u = newUploading(t, vast)
	u.srv.Always("/f", UploadAll(nth("POST", 1, UploadCut(100_000)), nth("HEAD", 1, UploadRedirect(302, "/elsewhere"))))
	u.uploaded(u.retried(2))
	u.asked("POST, HEAD, POST")
}

// Abandon is a DELETE.
func TestAbandon(t *testing.T) {
	u := newUploading(t, bulk)
	u.srv.Script("/f", UploadCut(100_000))
	u.attempt()
	a := *u.a
	a.Upload = u.last.state
	Abandon(context.Background(), &a)
	u.asked("POST, DELETE")
	if u.srv.Uploads()[0].Gone == 0 {
		t.Error("the upload is there")
	}
}
