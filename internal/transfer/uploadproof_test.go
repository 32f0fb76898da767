package transfer

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

// An answer to the last bytes that says neither that the upload is complete nor where it is may have come before the server had
// read them: it is believed only where the upload resource does not tell otherwise.
func TestEarlyAnswerIsNotBelieved(t *testing.T) {
	early := func(r *UploadReply) { UploadEarly(r.Request.ContentLength/2, http.StatusNoContent)(r) }
	for name, script := range map[string][]UploadStep{
		"an append":  {UploadCut(2_000), UploadHonest(), early},
		"a creation": {early},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUploading(t, Body{Seed: 8, Size: 10_000})
			u.srv.Script("/f", script...)
			u.uploaded(u.retried(2))
		})
	}
}

// Whatever else the upload resource says leaves the answer as it is, and costs one request.
func TestUnprovenAnswerStands(t *testing.T) {
	long := strings.Repeat("x", mostRefusal+1)
	for name, c := range map[string]struct {
		content string
		head    func(w http.ResponseWriter)
		asked   string
	}{
		"it is gone":        {"done", func(w http.ResponseWriter) { w.WriteHeader(404) }, "POST HEAD"},
		"it fails":          {"done", func(w http.ResponseWriter) { w.WriteHeader(503) }, "POST HEAD"},
		"it says nothing":   {"done", func(http.ResponseWriter) {}, "POST HEAD"},
		"it has all":        {"", func(w http.ResponseWriter) { w.Header().Set("Upload-Offset", "600000") }, "POST HEAD"},
		"it is cut":         {"done", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "POST HEAD"},
		"its answer is all": {long, func(w http.ResponseWriter) { w.WriteHeader(404) }, "POST"},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []string
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				if n := len(asked); n == 0 || asked[n-1] != r.Method {
					asked = append(asked, r.Method) // net/http asks again for what was cut
				}
				mu.Unlock()
				if r.Method == http.MethodHead {
					c.head(w)
					return
				}
				w.Header().Set("Location", "/one")
				w.Header().Set("Upload-Draft-Interop-Version", "8")
				w.WriteHeader(interimStatus)
				io.Copy(io.Discard, r.Body)
				w.(http.Flusher).Flush() // of no length
				io.WriteString(w, c.content)
			}))
			defer srv.Close()
			u := newUploading(t, bulk)
			u.a.Spec.Request.URL = srv.URL + "/f"
			u.a.Spec.Limit = 1 << 20
			res, err := u.attempt()
			if err != nil || res.Response.Status != 200 || string(res.Body) != c.content || res.Response.URL != u.a.Spec.Request.URL {
				t.Errorf("%v, %+v, %d bytes", err, res.Response, len(res.Body))
			}
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(asked, " "); got != c.asked {
				t.Errorf("asked %s, want %s", got, c.asked)
			}
		})
	}
}
