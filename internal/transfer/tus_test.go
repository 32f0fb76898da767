package transfer

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// tusOrigin is as much of a tus server as the tests want, which does not tell what it can do: OPTIONS is 405, and not noted. refuse
// answers in its place, where it returns a status.
type tusOrigin struct {
	*httptest.Server
	refuse func(n int, r *http.Request) (status int, header http.Header)

	mu     sync.Mutex
	asked  []string
	fields []http.Header
	held   []byte
	length int
}

func newTusOrigin(t *testing.T, refuse func(n int, r *http.Request) (int, http.Header)) *tusOrigin {
	o := &tusOrigin{refuse: refuse}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *tusOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.Method == "OPTIONS" {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	o.asked = append(o.asked, r.Method)
	o.fields = append(o.fields, r.Header.Clone())
	h := w.Header()
	if o.refuse != nil {
		if status, header := o.refuse(len(o.asked), r); status != 0 {
			io.Copy(io.Discard, r.Body) // all has left then
			for name, values := range header {
				h[name] = values
			}
			w.WriteHeader(status)
			return
		}
	}
	switch r.Method {
	case "POST":
		o.length, _ = strconv.Atoi(r.Header.Get("Upload-Length"))
		h.Set("Location", "one")
		w.WriteHeader(201)
	case "PATCH":
		if r.Header.Get("Upload-Offset") != strconv.Itoa(len(o.held)) {
			w.WriteHeader(409)
			return
		}
		b, _ := io.ReadAll(r.Body)
		o.held = append(o.held, b...)
		fallthrough
	case "HEAD":
		h.Set("Upload-Offset", strconv.Itoa(len(o.held)))
		h.Set("Upload-Length", strconv.Itoa(o.length))
		w.WriteHeader(http.StatusNoContent)
	case "DELETE":
		w.WriteHeader(http.StatusNoContent)
	}
}

func (o *tusOrigin) methods() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.asked, " ")
}

func newTusUpload(t *testing.T, o *tusOrigin, body Body) *uploading {
	t.Helper()
	a := &Attempt{ID: 1, RoundTripper: newTransport(t, transport.Options{}), Spec: &task.Spec{
		Kind: task.Upload, Request: task.Request{Method: "PUT", URL: o.URL + "/files/"},
		Policy: task.Policy{RequestTimeout: 20 * time.Second}, Upload: &task.UploadSpec{Resumable: task.ResumableTus},
	}}
	fromFile(t, a, body)
	return &uploading{t: t, a: a, body: body}
}

func TestTus(t *testing.T) {
	for _, size := range []int64{0, 1, 300_000} {
		body := Body{Seed: 2, Size: size}
		o := newTusOrigin(t, nil)
		u := newTusUpload(t, o, body)
		u.a.Spec.Request.Header = http.Header{"Content-Type": {"video/mp4"}, "Authorization": {"Bearer secret"}}
		res, err := u.attempt()
		if err != nil || res.Response.URL != o.URL+"/files/" || string(o.held) != string(body.Bytes()) || o.length != int(size) {
			t.Fatalf("%d bytes: %v, %d of %d came", size, err, len(o.held), o.length)
		}
		if want := "POST PATCH"[:min(10, 4+6*int(min(size, 1)))]; o.methods() != want {
			t.Errorf("%d bytes: asked %s, want %s", size, o.methods(), want)
		}
		post := o.fields[0]
		if post.Get("Upload-Metadata") != "filename c291cmNl,filetype dmlkZW8vbXA0" || post.Get("Content-Type") != "" || post.Get("Content-Length") != "0" && post.Get("Content-Length") != "" {
			t.Errorf("created by %v", post)
		}
		for _, h := range o.fields {
			if h.Get("Tus-Resumable") != "1.0.0" || h.Get("Authorization") != "Bearer secret" || h.Get("Upload-Draft-Interop-Version") != "" {
				t.Errorf("sent %v", h)
			}
		}
	}
}

func TestTusFaults(t *testing.T) {
	body := Body{Seed: 2, Size: 300_000}
	on := func(n int, status int, pairs ...string) func(int, *http.Request) (int, http.Header) {
		h := http.Header{}
		for i := 0; i+1 < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return func(m int, r *http.Request) (int, http.Header) {
			if m == n {
				return status, h
			}
			return 0, nil
		}
	}
	for name, c := range map[string]struct {
		refuse func(int, *http.Request) (int, http.Header)
		first  task.Code // of the first attempt's error; 0: a response
		status int       // of that
		asked  string    // by two attempts, where the first has an error or 5xx
	}{
		"locked":           {on(2, 423), task.ConnectionLost, 0, "POST PATCH HEAD PATCH"},
		"5xx":              {on(2, 500), 0, 500, "POST PATCH HEAD PATCH"},
		"conflict":         {on(2, 409), 0, 204, "POST PATCH HEAD PATCH"},
		"gone":             {on(2, 404), task.BadServerResponse, 0, ""},
		"no place":         {on(1, 201), task.BadServerResponse, 0, ""},
		"creation refused": {on(1, 413), 0, 413, "POST"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newTusOrigin(t, c.refuse)
			u := newTusUpload(t, o, body)
			u.a.Spec.Request.Method = "POST"
			res, err := u.attempt()
			if task.CodeOf(err) != c.first || err == nil && res.Response.Status != c.status {
				t.Fatalf("%v, %+v", err, res.Response)
			}
			if c.asked == "" {
				return
			}
			if err != nil || res.Response.Status >= 500 {
				u.retried(1)
			}
			if o.methods() != c.asked {
				t.Errorf("asked %s, want %s", o.methods(), c.asked)
			}
		})
	}
}

// A creation that is not answered has made nothing that could have been applied, so that it may be sent again.
func TestTusCreationIsLost(t *testing.T) {
	u := newTusUpload(t, newTusOrigin(t, func(int, *http.Request) (int, http.Header) { panic(http.ErrAbortHandler) }), Body{Size: 5})
	u.a.Spec.Request.Method = "POST"
	_, err := u.attempt()
	wantCode(t, err, task.ConnectionLost)
	if !err.(*task.Error).Unsent {
		t.Error("it may not be sent again")
	}
}

// A server that names tus has refused the upload, also where all of the body had left before it came to that.
func TestTusIsNamedLate(t *testing.T) {
	body := Body{Seed: 2, Size: resumableFrom + 1}
	o := newTusOrigin(t, func(n int, r *http.Request) (int, http.Header) {
		if r.Header.Get("Tus-Resumable") != "" {
			return 0, nil
		}
		return http.StatusPreconditionFailed, http.Header{"Tus-Version": {"1.0.0"}}
	})
	u := newTusUpload(t, o, body)
	u.a.Spec.Request.Method, u.a.Spec.Upload = "POST", nil
	res, err := u.attempt()
	if err != nil || res.Response.Status != http.StatusNoContent || string(o.held) != string(body.Bytes()) {
		t.Errorf("%v, %+v, %d bytes came", err, res.Response, len(o.held))
	}
	if o.methods() != "POST POST PATCH" {
		t.Errorf("asked %s", o.methods())
	}
}

// So it is where the server has named tus by refusing another protocol, which has done nothing either.
func TestTusCreationIsLostAfterARefusal(t *testing.T) {
	u := newTusUpload(t, newTusOrigin(t, func(_ int, r *http.Request) (int, http.Header) {
		if r.Header.Get("Tus-Resumable") == "" {
			return http.StatusPreconditionFailed, http.Header{"Tus-Version": {"1.0.0"}}
		}
		panic(http.ErrAbortHandler)
	}), Body{Size: resumableFrom + 1})
	u.a.Spec.Request.Method, u.a.Spec.Upload = "POST", nil
	_, err := u.attempt()
	wantCode(t, err, task.ConnectionLost)
	if !err.(*task.Error).Unsent {
		t.Error("it may not be sent again")
	}
}
