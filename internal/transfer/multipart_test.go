package transfer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

const partSize = 100_000

// inFive is five parts, of which the last is shorter.
var inFive = Body{Seed: 11, Size: 4*partSize + 777}

// parting is a task that uploads body in parts, over up to three connections.
type parting struct {
	t     *testing.T
	srv   *MultipartServer
	m     *Multipart
	hosts *connections
	a     *Attempt
	body  Body
	last  *resumer
}

func newParting(t *testing.T, body Body, opts ...UploadOption) *parting {
	t.Helper()
	srv := NewMultipartServer(append([]UploadOption{MinimumPart(partSize)}, opts...)...)
	t.Cleanup(srv.Close)
	rt := newTransport(t, transport.Options{TLS: transport.TLS{Roots: CAPool()}, Dial: srv.DialContext})
	m := srv.Create("film.mp4", int(max(1, (body.Size-1)/partSize+1)))
	p := &parting{t: t, srv: srv, m: m, body: body, hosts: newConnections(2)}
	p.a = &Attempt{ID: 1, RoundTripper: rt, Connections: p.hosts, Spec: &task.Spec{
		Kind: task.Upload, Request: task.Request{Method: "POST", URL: m.Complete, Header: http.Header{"X-Of": {"completion"}}},
		Policy: task.Policy{RequestTimeout: 20 * time.Second},
		Upload: &task.UploadSpec{Multipart: &task.Multipart{
			Parts: m.Parts, PartSize: partSize, Header: http.Header{"X-Of": {"part"}}, Completes: true, Abort: m.Abort,
		}},
	}}
	fromFile(t, p.a, body)
	t.Cleanup(func() {
		if p.hosts.out != 0 {
			t.Errorf("%d connections were not given back", p.hosts.out)
		}
	})
	return p
}

// attempt runs the next attempt.
func (p *parting) attempt() (Result, error) {
	p.t.Helper()
	next := *p.a
	next.Number++
	if p.last != nil {
		next.Upload = p.last.state
	}
	p.last = &resumer{state: next.Upload}
	p.a, next.Observer = &next, p.last
	return Run(p.t.Context(), &next)
}

// retried runs attempts, up to n, until one has no error, and no status that is worth another.
func (p *parting) retried(n int) Result {
	p.t.Helper()
	var res Result
	var err error
	for range n {
		if res, err = p.attempt(); err == nil && res.Response.Status < 429 {
			return res
		}
	}
	p.t.Fatalf("after %d attempts: %v, %+v\n%s", n, err, res.Response, p.requests())
	return res
}

// done checks that the store has the object, and that the answer is the completion's.
func (p *parting) done(res Result, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.m.Check(p.body); err != nil {
		p.t.Error(err)
	}
	if res.Response.Status != 200 || !strings.Contains(string(res.Body), "<CompleteMultipartUploadResult") {
		p.t.Errorf("%+v, %q", res.Response, res.Body)
	}
	if c := p.last.confirmed; len(c) == 0 || c[len(c)-1] != p.body.Size {
		p.t.Errorf("confirmed %v", c)
	}
}

// requests are the methods and parts that were asked for, and how they were answered.
func (p *parting) requests() string {
	var all []string
	for _, r := range p.srv.Requests() {
		_, n, _ := strings.Cut(r.Target, "partNumber=")
		n, _, _ = strings.Cut(n, "&")
		all = append(all, fmt.Sprintf("%s%s %d", r.Method, n, r.Status))
	}
	return strings.Join(all, ", ")
}

// puts is how many parts were sent, in whole or not.
func (p *parting) puts() int { return len(p.srv.RequestsBy("PUT")) }

// state says which parts the last attempt leaves.
func (p *parting) state() string {
	if p.last.state == nil {
		return "none"
	}
	var all []string
	for _, part := range p.last.state.Parts {
		all = append(all, fmt.Sprint(part.Number))
	}
	return strings.Join(all, " ")
}

func TestMultipart(t *testing.T) {
	for _, size := range []int64{0, 1, partSize, partSize + 1, inFive.Size, 3 << 20} {
		for name, opts := range map[string][]UploadOption{"plain": nil, "tls": {UploadsOverTLS()}, "h2": {UploadsOverHTTP2()}} {
			for _, from := range []string{"file", "bytes"} {
				t.Run(fmt.Sprint(size, " ", name, " ", from), func(t *testing.T) {
					p := newParting(t, Body{Seed: 3, Size: size}, opts...)
					if from == "bytes" {
						text := p.body.Bytes()
						p.a.Spec.Request.Body = &task.Body{Size: size}
						p.a.Body = func() (io.ReadCloser, error) {
							return shared{io.NewSectionReader(bytes.NewReader(text), 0, size)}, nil
						}
					}
					res, err := p.attempt()
					p.done(res, err)
					for _, r := range p.srv.Requests() {
						want := "completion"
						if r.Method == "PUT" {
							want = "part"
						}
						if r.Header.Get("X-Of") != want || len(r.Header["Content-Type"]) > 0 || r.Header.Get("Content-Length") == "" && r.Proto != "HTTP/2.0" {
							t.Errorf("%s: %v", r.Method, r.Header)
						}
					}
					if got := p.srv.Received() - p.srv.RequestsBy("POST")[0].BodySize; got != size {
						t.Errorf("%d bytes came", got)
					}
					if p.last.state == nil || len(p.last.state.Parts) != len(p.m.Parts) || !p.last.state.Whole || p.last.state.Offset != size {
						t.Errorf("state %+v", p.last.state)
					}
				})
			}
		}
	}
}

// Parts go side by side, over HTTP/2 too: there each further one by a connection of its own.
func TestMultipartSideBySide(t *testing.T) {
	for name, opts := range map[string][]UploadOption{"plain": nil, "h2": {UploadsOverHTTP2()}} {
		t.Run(name, func(t *testing.T) {
			p := newParting(t, inFive, opts...)
			gate := NewGate()
			for n := 1; n <= 5; n++ {
				p.m.Always(n, UploadHold(1000, gate))
			}
			go func() {
				p.srv.WaitReceived(t.Context(), 3000)
				gate.Open()
			}()
			p.done(p.attempt())
			if p.hosts.peak != 2 {
				t.Errorf("%d further connections were taken", p.hosts.peak)
			}
			conns := make(map[int]string)
			for _, r := range p.srv.Requests() {
				conns[r.Connection] = r.Proto
			}
			if len(conns) != 3 {
				t.Errorf("by %v", conns)
			}
		})
	}
}

// Each failure of a part that another attempt may mend costs that part alone.
func TestMultipartPartFails(t *testing.T) {
	for name, step := range map[string]UploadStep{
		"cut at once":    UploadCut(0),
		"cut":            UploadCut(12_345),
		"cut at its end": UploadCut(partSize),
		"answer lost":    UploadLosesAnswer(),
		"500":            UploadStatus(500),
		"502":            UploadStatus(502),
		"504":            UploadStatus(504),
		"408":            UploadStatus(408),
		"RequestTimeout": MultipartError(400, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period."),
		"503 SlowDown":   MultipartError(503, "SlowDown", "Please reduce your request rate."),
		"429":            UploadStatus(429),
		"closed":         UploadAbort(5000),
	} {
		for part := 1; part <= 5; part += 2 {
			t.Run(fmt.Sprint(name, " ", part), func(t *testing.T) {
				p := newParting(t, Body{Seed: 11, Size: 5 * partSize})
				p.m.Script(part, step)
				res, err := p.attempt()
				if err == nil && res.Response.Status < 408 {
					t.Fatalf("a success: %+v", res.Response)
				}
				if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("part %d", part)) {
					t.Errorf("%v", err)
				}
				first := p.puts()
				p.done(p.retried(1), nil)
				if again := p.puts() - first; again != 6-first && again != 1 {
					t.Errorf("sent again: %s", p.requests())
				}
			})
		}
	}
}

// What one connection loses is what was in flight: nothing that the store has confirmed is sent again.
func TestMultipartCutAnywhere(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range 30 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			p := newParting(t, inFive)
			cuts, lost := 0, int64(0)
			for n := 1; n <= 5; n++ {
				for range rnd.IntN(3) {
					at := rnd.Int64N(partSize)
					if n == 5 {
						at = rnd.Int64N(777)
					}
					p.m.Script(n, UploadCut(at))
					cuts, lost = cuts+1, lost+at
				}
			}
			p.done(p.retried(cuts+1), nil)
			if got := p.srv.Received() - p.srv.RequestsBy("POST")[0].BodySize; got > inFive.Size+lost+int64(cuts)*(32<<10) {
				t.Errorf("seed %d: %d bytes came, for %d and %d that were cut off: %s", seed, got, inFive.Size, lost, p.requests())
			}
		})
	}
}

// An answer that no other attempt can mend is the task's, and says what the store says.
func TestMultipartRefused(t *testing.T) {
	for _, c := range []struct {
		status     int
		code, text string
	}{
		{403, "AccessDenied", "Request has expired"},
		{400, "BadDigest", "The Content-MD5 you specified did not match what we received."},
		{405, "MethodNotAllowed", "no"},
	} {
		for _, fails := range []bool{false, true} {
			for part := range 2 {
				p := newParting(t, inFive)
				p.a.Spec.Policy.FailOnHTTPError = fails
				p.m.Script(part, MultipartError(c.status, c.code, c.text))
				res, err := p.attempt()
				if res.Response == nil || res.Response.Status != c.status || strings.Contains(res.Response.URL, "Signature") == (part == 1) {
					t.Errorf("%+v: %+v, %v", c, res.Response, err)
				}
				switch {
				case fails && (err == nil || !strings.Contains(err.Error(), c.code) || strings.Contains(err.Error(), " to part 1 (") != (part == 1)):
					t.Errorf("%+v: error %v", c, err)
				case !fails && (err != nil || !strings.Contains(string(res.Body), c.text)):
					t.Errorf("%+v: %v, %q", c, err, res.Body)
				case strings.Contains(fmt.Sprint(err), "Signature"):
					t.Errorf("%v has the secret", err)
				}
				if p.m.State() != MultipartOpen {
					t.Error("it was aborted")
				}
			}
		}
	}
}

// A success that comes before the part has left is none.
func TestMultipartAnsweredEarly(t *testing.T) {
	p := newParting(t, Body{Seed: 12, Size: 16 << 20})
	p.a.Spec.Upload.Multipart.PartSize = 16 << 20
	p.m.Script(1, UploadAll(UploadEarly(1000, 200), UploadHeader("ETag", `"early"`)))
	_, err := p.attempt()
	wantCode(t, err, task.ConnectionLost)
	p.done(p.attempt())
}

// What a part's answer must have.
func TestMultipartWithoutETag(t *testing.T) {
	p := newParting(t, inFive)
	p.m.Script(1, UploadHeader("ETag"))
	_, err := p.attempt()
	if task.CodeOf(err) != task.BadServerResponse || !strings.Contains(err.Error(), "ETag") {
		t.Errorf("%v", err)
	}
}

// Redirects of a part keep its method and body, or are errors.
func TestMultipartRedirected(t *testing.T) {
	for _, status := range []int{307, 308} {
		p := newParting(t, inFive)
		p.m.Script(2, UploadRedirect(status, p.m.Parts[1]))
		p.done(p.attempt())
	}
	for _, status := range []int{301, 302, 303} {
		p := newParting(t, inFive)
		p.m.Script(2, UploadRedirect(status, p.m.Parts[1]))
		if _, err := p.attempt(); task.CodeOf(err) != task.BadServerResponse {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// The store has some parts already, from an earlier task, or from earlier attempts.
func TestMultipartUploaded(t *testing.T) {
	p := newParting(t, inFive)
	p.m.Script(4, UploadStatus(500))
	p.attempt()
	if p.state() != "1 2 3 5" {
		t.Fatalf("left %s", p.state())
	}
	before := p.puts()
	p.a.Spec.Upload.Multipart.Uploaded = p.last.state.Parts
	p.last = nil
	rt := p.a.RoundTripper
	p.a.RoundTripper = unreachable{rt, "PUT"}
	if _, err := p.attempt(); err == nil || p.state() != "1 2 3 5" {
		t.Errorf("%v, left %s", err, p.state())
	}
	p.a.RoundTripper, p.last = rt, nil
	p.done(p.attempt())
	if p.puts() != before+1 {
		t.Errorf("%s", p.requests())
	}
	p.a.Spec.Upload.Multipart.Uploaded = []task.Part{{Number: 6, ETag: `"x"`}}
	p.last = nil
	if _, err := p.attempt(); err == nil || !strings.Contains(err.Error(), "part 6") {
		t.Errorf("%v", err)
	}
}

// Without a completion the answer is that of the last part, and the app has the ETags.
func TestMultipartWithoutCompletion(t *testing.T) {
	p := newParting(t, inFive)
	p.a.Spec.Upload.Multipart.Completes = false
	res, err := p.attempt()
	if err != nil || res.Response.Status != 200 || len(res.Body) != 0 || p.state() != "1 2 3 4 5" || strings.Contains(res.Response.URL, "Signature") {
		t.Fatalf("%v, %+v, %q, %s", err, res.Response, res.Body, p.state())
	}
	if p.m.State() != MultipartOpen || len(p.m.Held()) != 5 {
		t.Errorf("%v, %v", p.m.State(), p.m.Held())
	}
	res, err = p.attempt() // after a kill before the task's end was stored
	if err != nil || res.Response.Status != 200 || p.puts() != 6 || p.last.sent > inFive.Size {
		t.Errorf("%v, %+v, %s, %d of %d sent", err, res.Response, p.requests(), p.last.sent, inFive.Size)
	}
}

// What cannot be sent is an error that says so, and nothing of it leaves.
func TestMultipartCannotBe(t *testing.T) {
	for name, change := range map[string]func(*Attempt){
		"the body has 5":   func(a *Attempt) { a.Spec.Upload.Multipart.Parts = a.Spec.Upload.Multipart.Parts[:4] },
		"takes 10000":      func(a *Attempt) { a.Spec.Upload.Multipart.PartSize = 1 },
		"say how many":     func(a *Attempt) { a.Spec.Upload.Multipart.PartSize = 0 },
		"give the body as": func(a *Attempt) { fromStream(a, inFive, inFive.Size) },
		"as a file or":     func(a *Attempt) { fromStream(a, inFive, -1) },
	} {
		p := newParting(t, inFive)
		change(p.a)
		_, err := p.attempt()
		if name == "the body has 5" {
			name = "are 5 parts"
		}
		if err == nil || !strings.Contains(err.Error(), name) || len(p.srv.Requests()) > 0 {
			t.Errorf("%s: %v, %s", name, err, p.requests())
		}
	}
}

// A source that is no longer what it was is not finished, and dropped at the store.
func TestMultipartSourceChanges(t *testing.T) {
	touch := func(p *parting) {
		if err := os.Chtimes(p.a.Spec.Request.Body.Path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
	}
	for name, hook := range map[string]func(p *parting){
		"before":    func(p *parting) { touch(p) },
		"in a part": func(p *parting) { p.m.Script(2, func(*UploadReply) { touch(p) }) },
		"in the last": func(p *parting) {
			p.hosts.free = 0
			p.m.Script(5, UploadLosesAnswer(), func(*UploadReply) { touch(p) })
			p.attempt()
		},
		"before it is whole": func(p *parting) { p.m.Script(5, UploadStatus(500)); p.attempt(); touch(p) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newParting(t, inFive)
			hook(p)
			_, err := p.attempt()
			wantCode(t, err, task.SourceChanged)
			if p.m.State() != MultipartAborted {
				t.Errorf("%v: %s", p.m.State(), p.requests())
			}
			if p.state() != "none" {
				t.Errorf("left %s", p.state())
			}
		})
	}
}

// resumed is a resumer that does something when so many parts are there.
type resumed struct {
	*resumer
	parts int
	then  func()
}

func (o *resumed) Resumable(s *task.UploadState) {
	o.resumer.Resumable(s)
	if s != nil && len(s.Parts) == o.parts && !s.Whole {
		o.then()
	}
}

// The source is looked at before a part begins, and before its completion: what has changed by then does not even begin.
func TestMultipartSourceChangesBetween(t *testing.T) {
	for parts, want := range map[int]string{1: "PUT1 200, DELETE 204", 5: "PUT1 200, PUT2 200, PUT3 200, PUT4 200, PUT5 200, DELETE 204"} {
		p := newParting(t, inFive)
		p.hosts.free = 0
		p.last = &resumer{}
		p.a.Observer = &resumed{p.last, parts, func() {
			if err := os.Chtimes(p.a.Spec.Request.Body.Path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
		}}
		_, err := Run(t.Context(), p.a)
		wantCode(t, err, task.SourceChanged)
		if got := p.requests(); got != want {
			t.Errorf("after %d parts: %s", parts, got)
		}
	}
}

// atSent does something once when so much has left.
type atSent struct {
	*resumer
	least int64
	once  sync.Once
	then  func()
}

func (o *atSent) Sent(total, _ int64) {
	if total >= o.least {
		o.once.Do(o.then)
	}
}

// afterPut does something when the answers to so many parts are there.
type afterPut struct {
	http.RoundTripper
	left *int
	then func()
}

func (a afterPut) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := a.RoundTripper.RoundTrip(req)
	if req.Method == "PUT" {
		if *a.left--; *a.left == 0 {
			a.then()
		}
	}
	return resp, err
}

// A part whose source changes while it is sent does not leave whole; one whose source has changed when it is answered is none.
func TestMultipartSourceChangesWithin(t *testing.T) {
	p := newParting(t, inFive)
	touch := func() {
		if err := os.Chtimes(p.a.Spec.Request.Body.Path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
	}
	p.hosts.free = 0
	p.a.Limits = Limits{new(Limit)}
	p.a.Limits[0].Set(1 << 20)
	p.last = &resumer{}
	p.a.Observer = &atSent{resumer: p.last, least: 1, then: touch}
	_, err := Run(t.Context(), p.a)
	wantCode(t, err, task.SourceChanged)
	if held := p.m.Held(); len(held) > 0 {
		t.Errorf("the store has %v: %s", held, p.requests())
	}

	p = newParting(t, inFive)
	p.a.Spec.Upload.Multipart.Completes = false
	for n := 2; n <= 5; n++ {
		p.a.Spec.Upload.Multipart.Uploaded = append(p.a.Spec.Upload.Multipart.Uploaded, task.Part{Number: n, ETag: `"e"`})
	}
	left := 1
	p.a.RoundTripper = afterPut{p.a.RoundTripper, &left, touch}
	_, err = p.attempt()
	wantCode(t, err, task.SourceChanged)
}

// stopsAfter calls stop once the Resumer knows of so many parts.
type stopsAfter struct {
	*resumer
	parts int
	stop  func()
}

func (o stopsAfter) Resumable(s *task.UploadState) {
	o.resumer.Resumable(s)
	if s != nil && len(s.Parts) == o.parts {
		o.stop()
	}
}

// A cancelled or suspended attempt keeps the parts that are there; a cancelled task's are dropped by Abandon.
func TestMultipartStops(t *testing.T) {
	p := newParting(t, inFive)
	gate := NewGate()
	t.Cleanup(gate.Open)
	p.m.Script(4, UploadHold(10, gate))
	ctx, stop := context.WithCancelCause(t.Context())
	p.last = &resumer{}
	suspended := fmt.Errorf("suspended")
	p.a.Observer = stopsAfter{p.last, 4, func() { stop(suspended) }}
	if res, err := Run(ctx, p.a); err != suspended || res.Unsent {
		t.Fatalf("%v; nothing has left: %t", err, res.Unsent)
	}
	if p.state() != "1 2 3 5" {
		t.Errorf("left %s", p.state())
	}
	Abandon(t.Context(), p.a)
	if p.m.State() != MultipartAborted {
		t.Errorf("%v: %s", p.m.State(), p.requests())
	}
}

// A limit bounds all parts together.
func TestMultipartLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParting(t, Body{Seed: 3, Size: 10 * partSize}, UploadsInMemory())
		defer p.srv.Close()
		p.a.Limits = Limits{new(Limit)}
		p.a.Limits[0].Set(partSize)
		begun := time.Now()
		p.done(p.attempt())
		if took := time.Since(begun); took < 9500*time.Millisecond || took > 11*time.Second {
			t.Errorf("it took %v", took)
		}
		p.a.RoundTripper.(*transport.Transport).CloseIdleConnections()
	})
}

// A part that stalls ends by the idle timer while others move, and is sent again alone.
func TestMultipartStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParting(t, Body{Seed: 3, Size: 50 * partSize}, UploadsInMemory())
		defer p.srv.Close()
		p.a.Limits = Limits{new(Limit)}
		p.a.Limits[0].Set(partSize)
		p.m.Script(1, UploadStall(100, Forever))
		_, err := p.attempt()
		wantCode(t, err, task.TimedOut)
		if n := len(p.last.state.Parts); n != 49 {
			t.Errorf("%d parts are there", n)
		}
		p.done(p.attempt())
		p.a.RoundTripper.(*transport.Transport).CloseIdleConnections()
	})
}

// Progress only grows, and the parts are told in order, in whatever order they end.
func TestMultipartTells(t *testing.T) {
	p := newParting(t, inFive)
	gate := NewGate()
	p.m.Script(1, UploadHold(10, gate))
	go func() {
		for len(p.m.Held()) < 4 {
			if p.srv.WaitRequests(t.Context(), 5) != nil {
				return
			}
		}
		gate.Open()
	}()
	var told []int64
	p.last = &resumer{}
	states := &keeping{telling: telling{p.last, &told}}
	p.a.Observer = states
	res, err := Run(t.Context(), p.a)
	p.done(res, err)
	if !slices.IsSorted(told) || !slices.IsSorted(p.last.confirmed) || p.state() != "1 2 3 4 5" {
		t.Errorf("told %v, confirmed %v, parts %s", told, p.last.confirmed, p.state())
	}
	for i, s := range states.all {
		if got := fmt.Sprint(s.Parts); got != states.text[i] {
			t.Errorf("what was told has changed: %s, and was %s", got, states.text[i])
		}
	}
}

// keeping keeps each state that it is told.
type keeping struct {
	telling
	all  []*task.UploadState
	text []string
}

func (o *keeping) Resumable(s *task.UploadState) {
	o.telling.Resumable(s)
	o.all, o.text = append(o.all, s), append(o.text, fmt.Sprint(s.Parts))
}
