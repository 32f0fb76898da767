package transfer

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/urlsession/urlsession/internal/task"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// A 2xx that does not say that all is there, by a server that had to, is no end of an upload.
func TestUploadIsNotSaidToBeDone(t *testing.T) {
	body := Body{Seed: 2, Size: 300_000}
	for name, c := range map[string]struct {
		n      int // of the request so answered
		status int
		header http.Header
		asked  string
	}{
		"a creation by who does not speak tus": {1, 200, nil, "POST"},
		"an append without offset":             {2, 204, nil, "POST PATCH HEAD PATCH"},
		"an append beyond the end":             {2, 204, http.Header{"Upload-Offset": {"300001"}}, "POST PATCH HEAD PATCH"},
		"another's upload":                     {3, 200, http.Header{"Upload-Offset": {"300000"}, "Upload-Length": {"300001"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := newTusOrigin(t, func(n int, r *http.Request) (int, http.Header) {
				if c.n == 3 && n == 2 {
					return 500, nil
				}
				if n == c.n {
					return c.status, c.header
				}
				return 0, nil
			})
			u := newTusUpload(t, o, body)
			u.a.Spec.Request.Method = "POST"
			res, err := u.attempt()
			if c.n == 3 {
				res, err = u.attempt()
			}
			if c.n == 2 && (err != nil || res.Response.Status != 204 || string(o.held) != string(body.Bytes())) || c.n != 2 && task.CodeOf(err) != task.BadServerResponse {
				t.Errorf("%v, %+v; %d bytes came", err, res.Response, len(o.held))
			}
			if c.asked != "" && o.methods() != c.asked {
				t.Errorf("asked %s, want %s", o.methods(), c.asked)
			}
		})
	}
	for name, pairs := range map[string][]string{
		"more to come":        {"Upload-Complete", "?0"},
		"less than was sent":  {"Upload-Complete", "?1", "Upload-Offset", "299999"},
		"more than there was": {"Upload-Offset", "300001"},
	} {
		t.Run(name, func(t *testing.T) {
			var heads atomic.Int32
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h := w.Header()
				switch r.Method {
				case "HEAD":
					heads.Add(1)
					h.Set("Upload-Complete", "?1")
					h.Set("Upload-Offset", "300000")
					return
				case "POST":
					h.Set("Location", "/one")
					h.Set("Upload-Draft-Interop-Version", "8")
					w.WriteHeader(interimStatus)
					h.Del("Location")
				}
				io.Copy(io.Discard, r.Body)
				for i := 0; i < len(pairs); i += 2 {
					h.Set(pairs[i], pairs[i+1])
				}
				w.WriteHeader(201)
			}))
			defer srv.Close()
			u := newUploading(t, body)
			u.a.Spec.Request.URL = srv.URL + "/f"
			if res, err := u.attempt(); err != nil || heads.Load() != 1 || res.Response.Status != 200 {
				t.Errorf("%v, %+v after %d HEADs", err, res.Response, heads.Load())
			}
		})
	}
}

// A server that has taken a first part, and does not say where the rest goes, has not got the upload.
func TestFirstPartIsNoUpload(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upload-Complete") == "?1" {
			w.Header().Set("Upload-Limit", "max-append-size=1000")
			w.WriteHeader(413)
			return
		}
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(201)
	}))
	defer srv.Close()
	u := newUploading(t, bulk)
	u.a.Spec.Request.URL = srv.URL + "/f"
	res, err := u.attempt()
	if task.CodeOf(err) != task.BadServerResponse || !strings.Contains(err.Error(), "first 1000 of 600000") {
		t.Errorf("%v, %+v", err, res.Response)
	}
}

// Where a creation is sent again, as after a challenge, the upload that goes on is that of the newest sending.
func TestCreationIsChallenged(t *testing.T) {
	u := newUploading(t, bulk)
	u.a.Spec.Policy.Ask.Challenge = true
	var sent atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Location", []string{"/first", "/second"}[min(1, sent.Add(1)-1)])
		h.Set("Upload-Draft-Interop-Version", "8")
		w.WriteHeader(interimStatus)
		h.Set("Location", "/third") // of the same sending
		w.WriteHeader(interimStatus)
		io.CopyN(io.Discard, r.Body, 1000)
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	u.a.Spec.Request.URL = srv.URL + "/f"
	rt := u.a.RoundTripper
	u.a.RoundTripper = roundTripper(func(req *http.Request) (*http.Response, error) { // as one that was challenged
		resp, err := rt.RoundTrip(req)
		if err != nil && sent.Load() == 1 {
			again := req.Clone(req.Context())
			again.Body, _ = req.GetBody()
			return rt.RoundTrip(again)
		}
		return resp, err
	})
	u.attempt()
	if s := u.last.state; s == nil || s.URL != srv.URL+"/second" {
		t.Errorf("state %+v", s)
	}
}

// Who gives up an upload asks nobody for a credential, and deletes nothing of another origin.
func TestAbandonAsksNobody(t *testing.T) {
	srv, a, _ := guarded(t, task.Upload)
	a.Upload = &task.UploadState{Protocol: task.ResumableIETF, Version: 8, URL: srv.URL + "/uploads/1"}
	Abandon(context.Background(), a)
	if seen := srv.Seen(); len(seen) != 1 || !strings.HasPrefix(seen[0], "DELETE") {
		t.Errorf("asked %q", seen)
	}
	other := newTusOrigin(t, nil)
	a.Upload.URL = other.URL + "/things/1"
	Abandon(context.Background(), a)
	if other.methods() != "" {
		t.Errorf("another origin was asked %s", other.methods())
	}
}

// Auto leaves alone who speaks a protocol himself, and whose own condition a 412 answers.
func TestResumableAutoLeavesAlone(t *testing.T) {
	worth := Body{Seed: 8, Size: resumableFrom + 1}
	for name, value := range map[string]string{"upload-offset": "0", "Tus-Resumable": "1.0.0", "Upload-Metadata": "name Zg=="} {
		u := newUploading(t, worth, UploadVersions())
		u.a.Spec.Upload, u.a.Spec.Request.Header = nil, http.Header{name: {value}}
		u.retried(1)
		if h := u.srv.Requests()[0].Header; h.Get(interopField) != "" || h.Get(lengthField) != "" || h.Get(completeField) != "" {
			t.Errorf("%s: sent %v", name, h)
		}
	}
	u := newUploading(t, worth)
	u.a.Spec.Upload, u.a.Spec.Request.Header = nil, http.Header{"If-None-Match": {"*"}}
	u.srv.Always("/f", UploadStatus(412))
	if res := u.retried(1); res.Response.Status != 412 {
		t.Errorf("%+v", res.Response)
	}
	u.asked("POST")
}

// A server that takes ever so little at once does not keep an attempt for ever.
func TestAppendsEnd(t *testing.T) {
	o := newTusOrigin(t, nil)
	a := newTusUpload(t, o, bulk).a
	a.Observer = new(resumer)
	a.Upload = &task.UploadState{Protocol: task.ResumableTus, URL: o.URL + "/files/one"}
	r := &run{Attempt: a}
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	ctx = r.begin(ctx, stop)
	defer r.idle.stop()
	req, err := r.newRequest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	body, err := r.openBody(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer body.close()
	u := r.newUpload(a.RoundTripper, req, body)
	defer u.end()
	u.at, u.appends = 0, mostAppends
	_, err = u.append()
	wantCode(t, err, task.BadServerResponse)
	if o.methods() != "DELETE" || u.known() != nil {
		t.Errorf("asked %s", o.methods())
	}
}

// The answer 500 to all of an upload was not lost: that the server has all of it is no success.
func TestUploadHasFailed(t *testing.T) {
	for method, want := range map[string]string{"POST": "POST HEAD", "PUT": "PUT HEAD PUT HEAD"} {
		var mu sync.Mutex
		var asked []string
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, r.Method)
			h := w.Header()
			if r.Method == "HEAD" {
				h.Set("Upload-Complete", "?1")
				h.Set("Upload-Offset", "600000")
				return
			}
			h.Set("Location", "/one")
			h.Set("Upload-Draft-Interop-Version", "8")
			w.WriteHeader(interimStatus)
			io.Copy(io.Discard, r.Body)
			w.WriteHeader([]int{500, 201}[min(1, len(asked)-1)])
		}))
		u := newUploading(t, bulk)
		u.a.Spec.Request.Method, u.a.Spec.Request.URL = method, srv.URL+"/f"
		if res, err := u.attempt(); err != nil || res.Response.Status != 500 || u.last.state == nil || !u.last.state.Failed {
			t.Fatalf("%v, %+v, %+v", err, res.Response, u.last.state)
		}
		res, err := u.attempt()
		if method == "POST" && task.CodeOf(err) != task.BadServerResponse || method == "PUT" && (err != nil || res.Response.Status != 201) {
			t.Errorf("%s: %v, %+v", method, err, res.Response)
		}
		srv.Close()
		if got := strings.Join(asked, " "); got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
	}
}

// A server that takes less each time that it is offered as much as it takes is not offered less for ever.
func TestFirstPartIsOfferedOnce(t *testing.T) {
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Upload-Limit", "max-append-size="+strconv.FormatInt(1000-asked.Add(1), 10))
		w.WriteHeader(413)
	}))
	defer srv.Close()
	u := newUploading(t, bulk)
	u.a.Spec.Request.URL = srv.URL + "/f"
	if res, err := u.attempt(); err != nil || res.Response.Status != 413 || asked.Load() != 2 {
		t.Errorf("%v, %+v after %d requests", err, res.Response, asked.Load())
	}
}

// What is named at another origin gets nothing before it has said that it is an upload.
func TestForeignResourceIsAsked(t *testing.T) {
	other := newTusOrigin(t, func(int, *http.Request) (int, http.Header) { return 200, nil })
	o := newTusOrigin(t, func(int, *http.Request) (int, http.Header) {
		return 201, http.Header{"Location": {other.URL + "/things/1"}}
	})
	u := newTusUpload(t, o, bulk)
	_, err := u.attempt()
	wantCode(t, err, task.BadServerResponse)
	if other.methods() != "HEAD HEAD" {
		t.Errorf("asked %s", other.methods())
	}
	upload := newTusOrigin(t, nil)
	o = newTusOrigin(t, func(int, *http.Request) (int, http.Header) {
		return 201, http.Header{"Location": {upload.URL + "/files/1"}}
	})
	u = newTusUpload(t, o, bulk)
	upload.length = int(bulk.Size)
	if res, err := u.attempt(); err != nil || res.Response.Status != 204 || string(upload.held) != string(bulk.Bytes()) {
		t.Errorf("%v, %+v: %s", err, res.Response, upload.methods())
	}
}

// The answer to a request that is halted at the same moment is asked for again.
func TestHaltedAnswer(t *testing.T) {
	u := newUploading(t, bulk)
	var asked []string
	u.a.RoundTripper = silent(roundTripper(func(req *http.Request) (*http.Response, error) {
		asked = append(asked, req.Method)
		resp := &http.Response{StatusCode: 201, Request: req, Body: http.NoBody, Header: http.Header{}}
		if req.Method == "HEAD" {
			resp.Header.Set("Upload-Complete", "?1")
			resp.Header.Set("Upload-Offset", "600000")
			return resp, nil
		}
		httptrace.ContextClientTrace(req.Context()).Got1xxResponse(interimStatus, textproto.MIMEHeader{
			"Location": {"/one"}, "Upload-Draft-Interop-Version": {"8"}, "Upload-Limit": {"max-append-size=1000"}})
		io.Copy(io.Discard, req.Body)
		resp.Body = io.NopCloser(iotest.ErrReader(context.Cause(req.Context())))
		return resp, nil
	}))
	if _, err := u.attempt(); err != nil || strings.Join(asked, " ") != "POST HEAD" {
		t.Errorf("%v after %v", err, asked)
	}
}

// However many requests a server's limits make of an upload, those that are reported are bounded: the first, and the last.
func TestManyAppendsAreReportedInPart(t *testing.T) {
	u := newUploading(t, Body{Seed: 8, Size: 120_000}, UploadLimits(UploadLimit{MaxAppendSize: 50}))
	res := u.retried(1)
	u.uploaded(res)
	list := res.Transactions
	if n := len(u.srv.RequestsBy("PATCH")); n < 2000 || len(list) != 1001 || list[0].Method == "PATCH" || list[1000].Status != res.Response.Status {
		t.Errorf("%d appends, %d transactions, the last %+v", n, len(list), list[len(list)-1])
	}
}
