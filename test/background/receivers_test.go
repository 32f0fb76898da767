package background

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/test/tus"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// protocol is how an upload is sent, and which server it is sent to.
type protocol struct {
	Name    string
	How     urlsession.Resumable
	Method  string
	Version int  // the one interop version of urlsessiontest's server, which refuses all others and names its own, as swift-nio's; 0: it speaks all
	TLS     bool // and HTTP/2
	Tusd    bool // the server is tusd
}

// protocols are each that there is, at each server.
var protocols = []protocol{
	{Name: "auto", How: urlsession.ResumableAuto, Method: http.MethodPut},
	{Name: "auto, a POST", How: urlsession.ResumableAuto, Method: http.MethodPost},
	{Name: "auto, to 6", How: urlsession.ResumableAuto, Method: http.MethodPost, Version: 6},
	{Name: "auto, to tusd", How: urlsession.ResumableAuto, Method: http.MethodPost, Tusd: true},
	{Name: "auto, HTTP/2", How: urlsession.ResumableAuto, Method: http.MethodPut, TLS: true},
	{Name: "ietf 3", How: urlsession.ResumableIETF, Method: http.MethodPut, Version: 3},
	{Name: "ietf 4", How: urlsession.ResumableIETF, Method: http.MethodPost, Version: 4},
	{Name: "ietf 5", How: urlsession.ResumableIETF, Method: http.MethodPut, Version: 5},
	{Name: "ietf 6", How: urlsession.ResumableIETF, Method: http.MethodPost, Version: 6},
	{Name: "ietf 7", How: urlsession.ResumableIETF, Method: http.MethodPut, Version: 7},
	{Name: "ietf 8", How: urlsession.ResumableIETF, Method: http.MethodPost, Version: 8},
	{Name: "ietf, to tusd", How: urlsession.ResumableIETF, Method: http.MethodPost, Tusd: true},
	{Name: "tus", How: urlsession.ResumableTus, Method: http.MethodPut, Tusd: true},
}

// request uploads body to the server at url, which knows it by key: letters, digits and hyphens.
func (p protocol) request(url, key string, body urlsession.Body) urlsession.Request {
	r := urlsession.Request{URL: url, Method: p.Method, Body: body, Resumable: p.How, FailOnHTTPError: true,
		Header: http.Header{"Content-Type": {mediaOf(key)}}}
	if !p.Tusd {
		r.URL += "/" + key
	}
	return r
}

// mediaOf is a type of content that says the key: tusd keeps it with the upload, by each protocol.
func mediaOf(key string) string { return "application/x-" + key }

// breakage is what becomes of one request with content, or of a question; the zero value is none.
type breakage struct {
	status      int // the answer to it; nothing of it is read
	cut, stall  bool
	after       int64 // bytes of its content; then the connection ends, or nothing more is read
	loses       int64 // bytes that a cut makes the server forget (not tusd)
	losesAnswer bool
}

// receiver is a server for uploads. What it does to a request of the upload of a key says broken, which is asked by several
// goroutines; nil: nothing.
type receiver struct {
	protocol
	url    string
	broken func(key, method string, length int64) breakage

	origin *urlsessiontest.UploadServer
	tusd   *tus.Server
	faults *tus.Faults
}

func newReceiver(t testing.TB, p protocol, broken func(key, method string, length int64) breakage) *receiver {
	t.Helper()
	r := &receiver{protocol: p, broken: broken}
	if broken == nil {
		r.broken = func(string, string, int64) breakage { return breakage{} }
	}
	if p.Tusd {
		r.faults = tus.NewFaults(r.tusFault)
		var err error
		if r.tusd, err = tus.Start(t.TempDir(), 0, r.faults.Wrap); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.tusd.Close)
		r.url = r.tusd.URL
		return r
	}
	opts := []urlsessiontest.UploadOption{urlsessiontest.UploadProgress(64 * kib)}
	if p.TLS {
		opts = append(opts, urlsessiontest.UploadsOverHTTP2())
	}
	r.origin = urlsessiontest.NewUploadServer(opts...)
	t.Cleanup(r.origin.Close)
	r.origin.Always(urlsessiontest.Every, r.step)
	r.url = r.origin.URL
	return r
}

func (r *receiver) step(reply *urlsessiontest.UploadReply) {
	req := reply.Request
	urlsessiontest.UploadEdit(func(status int, h http.Header) int { // so that a relay is asked again
		if at := h.Get("Location"); at != "" {
			h.Set("Location", strings.TrimPrefix(at, r.url))
		}
		return status
	})(reply)
	version := req.Header.Get("Upload-Draft-Interop-Version")
	if r.Version != 0 && version != "" && version != fmt.Sprint(r.Version) {
		urlsessiontest.UploadAll(urlsessiontest.UploadStatus(http.StatusBadRequest),
			urlsessiontest.UploadHeader("Upload-Draft-Interop-Version", fmt.Sprint(r.Version)))(reply)
		return
	}
	b := r.broken(r.keyOf(req.URL.Path), req.Method, req.ContentLength)
	switch {
	case b.status != 0:
		urlsessiontest.UploadStatus(b.status)(reply)
	case b.cut:
		urlsessiontest.UploadAll(urlsessiontest.UploadCut(b.after), urlsessiontest.UploadLoses(b.loses))(reply)
	case b.stall:
		urlsessiontest.UploadStall(b.after, urlsessiontest.Forever)(reply)
	case b.losesAnswer:
		urlsessiontest.UploadLosesAnswer()(reply)
	}
}

// keyOf is the key of a path of origin.
func (r *receiver) keyOf(path string) string {
	for _, up := range r.origin.Uploads() {
		if up.Location == path {
			path = up.Target
		}
	}
	return strings.TrimPrefix(path, "/")
}

func (r *receiver) tusFault(req tus.Request) tus.Fault {
	if v := req.Header.Get("Upload-Draft-Interop-Version"); v == "7" || v == "8" {
		return tus.Fault{} // it refuses them by itself
	}
	key := strings.TrimPrefix(req.Header.Get("Content-Type"), mediaOf(""))
	if req.Upload != "" {
		key = r.tusKeys()[req.Upload]
	}
	b := r.broken(key, req.Method, req.Length)
	return tus.Fault{Status: b.status, Cut: b.cut, Stall: b.stall, After: b.after, LosesAnswer: b.losesAnswer}
}

// tusKeys are the keys of tusd's uploads, by their IDs.
func (r *receiver) tusKeys() map[string]string {
	keys := make(map[string]string)
	uploads, err := r.tusd.Uploads()
	if err != nil {
		panic(err)
	}
	for _, up := range uploads {
		keys[up.ID] = strings.TrimPrefix(up.Metadata["filetype"], mediaOf(""))
	}
	return keys
}

// held is an upload that a receiver has, of one key.
type held struct {
	offset   int64
	complete bool
	check    func(urlsessiontest.Body) error // compares one that is complete
}

func (r *receiver) held(key string) (list []held) {
	if r.tusd != nil {
		uploads, err := r.tusd.Uploads()
		if err != nil {
			panic(err)
		}
		for _, up := range uploads {
			if up.Metadata["filetype"] == mediaOf(key) {
				list = append(list, held{up.Offset, up.Offset == up.Size, func(b urlsessiontest.Body) error { return b.CheckFile(up.Path) }})
			}
		}
		return list
	}
	for _, up := range r.origin.Uploads() {
		if up.Target == "/"+key {
			list = append(list, held{up.Offset, up.Complete, up.Check})
		}
	}
	return list
}

// received is how many bytes of content the server has read of the requests of a key, one after the other.
func (r *receiver) received(key string) (n int64) {
	for _, size := range r.contents(key) {
		n += size
	}
	return n
}

// contents are the bytes that it has read of each request of a key.
func (r *receiver) contents(key string) (list []int64) {
	if r.tusd != nil {
		keys := r.tusKeys()
		for _, req := range r.faults.Requests() {
			if keys[req.Upload] == key || req.Header.Get("Content-Type") == mediaOf(key) {
				list = append(list, req.Received)
			}
		}
		return list
	}
	paths := []string{"/" + key}
	for _, up := range r.origin.Uploads() {
		if up.Target == "/"+key && up.Location != "" {
			paths = append(paths, up.Location)
		}
	}
	for _, req := range r.origin.Requests() {
		if slices.Contains(paths, req.Path) {
			list = append(list, req.BodySize)
		}
	}
	return list
}

// all is what was received of all keys.
func (r *receiver) all() int64 {
	if r.tusd != nil {
		return r.faults.Received()
	}
	return r.origin.Received()
}

// wait returns when so much was received of all keys, or with ctx's error.
func (r *receiver) wait(ctx context.Context, n int64) error {
	if r.tusd != nil {
		return r.faults.WaitReceived(ctx, n)
	}
	return r.origin.WaitReceived(ctx, n)
}

// ended says whether the server has exactly the body of a key, in one whole upload.
func (r *receiver) ended(key string, body urlsessiontest.Body) error {
	whole := 0
	for _, h := range r.held(key) {
		if !h.complete {
			continue
		}
		whole++
		if err := h.check(body); err != nil {
			return err
		}
	}
	if whole == 0 {
		return errors.New("the server does not have it whole")
	}
	if whole > 1 {
		return fmt.Errorf("the server has it %d times", whole)
	}
	return nil
}

// breakages are what becomes of the requests of one upload: some of the first are broken off at random.
type breakages struct {
	loses bool // a cut may make the server forget
	whole bool // and it forgets all of a request that does not end well

	mu   sync.Mutex
	r    *rand.Rand
	left int
	lost int64    // bytes that the server has read and forgotten
	said []string // what was done
}

func (b *breakages) next(method string, length int64) (broken breakage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	asks := length <= 0
	if b.left == 0 || asks && b.r.IntN(4) > 0 {
		return broken
	}
	b.left--
	switch n := b.r.IntN(8); {
	case n == 0:
		broken.status = http.StatusServiceUnavailable
	case n == 1 || asks:
		broken.losesAnswer = true
	default:
		broken.cut, broken.after = true, b.r.Int64N(length+1)
		if b.loses && !b.whole && n == 2 {
			broken.loses = b.r.Int64N(broken.after + 1)
			b.lost += broken.loses
		}
	}
	if b.whole && broken.losesAnswer {
		b.lost += length
	} else if b.whole {
		b.lost += broken.after
	}
	b.said = append(b.said, fmt.Sprintf("%s of %d bytes: %+v", method, length, broken))
	return broken
}

// forgotten is how many bytes the server has read and forgotten.
func (b *breakages) forgotten() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}
