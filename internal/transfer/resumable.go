package transfer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"

	"github.com/urlsession/urlsession/internal/task"
)

// resumableFrom is the size of a body, in bytes, above which an upload is made resumable where nobody has asked for that: a
// smaller one is sent again as fast as the server is asked how much of it it has.
const resumableFrom = 1 << 20

// mostAppends is how many requests an attempt sends a body in: of 100 GiB one a MiB. A server that takes less at once, and each
// time a little, would keep it for ever.
const mostAppends = 100_000

// mostStalled is how many times in a row a server may be found to have nothing more, within an attempt.
const mostStalled = 4

// A Resumer is an Observer that is told of an upload that can be gone on from. Its methods may be called beside Observer's,
// and not after Run has returned.
type Resumer interface {
	// Resumable is told what the next attempt is to have as Attempt.Upload; nil: nothing any more. It is told when the
	// server has named the upload, when that changes, and in the end, but not of each offset on the way: the server tells
	// that when it is asked.
	Resumable(s *task.UploadState)
	// Confirmed is Observer.Sent of bytes that the server has said it has.
	Confirmed(total, expected int64)
}

// protocol is how the requests of an upload are written, and their answers read, once the upload has a resource.
type protocol interface {
	announce(h http.Header) // what each request has
	append(h http.Header, offset int64, last bool)
	// complete is what an answer says of the whole upload, which has size bytes; said: it says something.
	complete(h http.Header, size int64) (complete, said bool)
	limits(h http.Header) uploadLimits
}

// upload is an upload that can be gone on from, within one attempt: it is created, or the server is asked how much of it
// it has, and the rest is appended, in as many requests as the server's limits want.
type upload struct {
	*run
	rt   http.RoundTripper
	body *requestBody
	req  *http.Request // the task's, without body
	size int64

	at       int64      // where to go on; -1: the server is to be asked
	furthest int64      // offset that the server has told
	stalled  int        // times in a row that it was not further
	anew     bool       // it was created again because the server has lost it
	appends  int        // requests that were sent
	support  *support   // nil: the server was not asked
	tus      *tusServer // nil: it was not asked what it can do, or does not speak tus
	pieces   tusPieces
	partial  bool                      // it is one of those of which another is made
	location string                    // of the upload resource, as it came
	rejoined bool                      // partial uploads were looked at again, as they could not be joined
	halts    []context.CancelCauseFunc // of creations, whose answers may still be read, or of the last append

	mu        sync.Mutex        // over what follows, which 104s change: they are read by a goroutine of the transport's
	state     *task.UploadState // nil: the server has named none
	naming    *sending          // that a 104 has named it for
	target    *url.URL          // of the creation, after redirects
	request   *uploadRequest    // under way, or the last
	over      bool              // the attempt has ended
	resources []string          // URLs of upload resources, redacted
}

// uploadRequest is a creation, or an append.
type uploadRequest struct {
	ctx      context.Context
	halt     context.CancelCauseFunc // errHalted
	offered  interop                 // by which 104s are read; 0: they are not
	creation bool
	stays    bool  // no redirect of it is followed: it is for who has said that it knows the protocol, or asks that
	from, to int64 // of the body
	limits   uploadLimits
}

// errHalted is the cause of the end of a request that its server's limits do not allow.
var errHalted = errors.New("the server's limits do not allow it")

// resumable is how the body is to be sent: by a protocol that goes on, or ResumableNo.
func (r *run) resumable(body *requestBody) task.Resumable {
	if r.Spec.Kind != task.Upload || body == nil || body.size < 0 {
		return task.ResumableNo
	}
	how := r.asked()
	if how == task.ResumableAuto && r.Upload == nil {
		switch r.Spec.Request.Method {
		case http.MethodPost, http.MethodPut, http.MethodPatch:
		default:
			return task.ResumableNo
		}
		if body.size <= resumableFrom || ownProtocol(r.Spec.Request.Header) {
			return task.ResumableNo
		}
	}
	return how
}

// ownProtocol says whether a request is one of an upload that its caller goes on with: fields of ours would say other things of it.
func ownProtocol(h http.Header) bool {
	for name := range h {
		if name = http.CanonicalHeaderKey(name); name == resumableField || strings.HasPrefix(name, "Upload-") {
			return true
		}
	}
	return false
}

// asked is what the task wants.
func (r *run) asked() task.Resumable {
	if r.Spec.Upload == nil {
		return task.ResumableAuto
	}
	return r.Spec.Upload.Resumable
}

// newUpload is of an attempt whose body is resumable; end ends it.
func (r *run) newUpload(rt http.RoundTripper, req *http.Request, body *requestBody) *upload {
	u := &upload{run: r, rt: rt, body: body, size: body.size, target: req.URL}
	u.req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{Got1xxResponse: u.informed}))
	r.upload = u
	if s := r.Upload; s != nil {
		c := *s
		u.at, u.furthest = -1, s.Offset
		if c.Whole { // of a process that has ended without having told how far it had come
			c.Sent = u.size
		}
		u.name(&c)
	}
	return u
}

// end is the end of the attempt: what it leaves is told.
func (u *upload) end() {
	u.pieces.stop()
	u.body.newest.Store(nil) // before it is told what may have left: nothing leaves any more
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	for _, halt := range u.halts {
		halt(nil)
	}
	if u.state != nil {
		u.state.Whole = u.state.Whole || u.body.whole.Load()
		u.state.Sent = max(u.state.Sent, u.body.reached.Load())
		u.tell()
	}
}

// transmit sends the body, and returns the answer of the upload: that to the request which completes it.
func (u *upload) transmit() (*http.Response, error) {
	for u.stalled <= mostStalled {
		var resp *http.Response
		var err error
		switch s := u.known(); {
		case s == nil && (u.asked() == task.ResumableTus || u.tus != nil):
			resp, err = u.createTus()
		case s == nil:
			resp, err = u.create()
		case s.Protocol == task.ResumableTus && u.tus == nil:
			resp, err = u.askTus()
		case len(s.Parts) > 0 && s.URL == "":
			resp, err = u.sendPartials()
		case len(s.Parts) > 0:
			resp, err = u.joined()
		case u.at < 0:
			resp, err = u.locate()
		default:
			resp, err = u.append()
		}
		if resp != nil && resp.StatusCode/100 == 2 {
			u.dropPartials()
		}
		if resp != nil || err != nil {
			return resp, err
		}
	}
	u.abandon()
	return nil, u.fail(task.BadServerResponse, 0, fmt.Errorf(
		"the server was asked %d times in a row how much of the upload it has, and had never more than %d of %d bytes; try again, or upload without resuming",
		u.stalled, u.furthest, u.size))
}

// create makes the upload by the request of the task, with all of the body, or with as much of it as a server takes that has
// refused all. No response and no error: it is to be gone on with.
func (u *upload) create() (*http.Response, error) {
	if resp, err := u.createEmpty(); resp != nil || err != nil || u.known() != nil {
		return resp, err
	}
	var refusal *http.Response
	versions, to := offers, u.size
	for {
		v := versions[0]
		req := u.begin(u.req, uploadRequest{offered: v, creation: true, to: to})
		if v != 0 {
			v.create(req.Header, u.size, to == u.size)
			u.wantDigest(req.Header)
		}
		resp, err := u.exchange(u.rt, req, u.body)
		if refusal != nil {
			if task.CodeOf(err) == task.BodyStreamExhausted {
				return refusal, nil
			}
			refusal.Body.Close()
		}
		if err != nil {
			return nil, u.interrupted(err)
		}
		most := v.limits(resp.Header).maxAppend
		switch {
		case v != 0 && u.refused(resp) && u.asked() == task.ResumableAuto && req.Method == http.MethodPost && speaksTus(resp):
			resp.Body.Close()
			return u.askTus()
		case v != 0 && u.refused(resp):
			versions = less(versions, resp, u.asked())
		case v >= 8 && resp.StatusCode == http.StatusRequestEntityTooLarge && u.known() == nil && to == u.size && most > 0 && most < to:
			to = most
		default:
			return u.judge(resp)
		}
		refusal = resp
	}
}

// refused says whether a creation was refused for its version, by a server that knows another one (swift-nio: 400, tusd:
// 412). Where nobody has asked for an upload that resumes, or much has left, what comes after all of the body is an answer to that,
// unless it names tus: a server that is slow to refuse has all of a small body in its socket.
func (u *upload) refused(resp *http.Response) bool {
	if resp.StatusCode == http.StatusPreconditionFailed && u.asked() == task.ResumableAuto && conditional(u.req.Header) && !speaksTus(resp) {
		return false
	}
	return (resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusPreconditionFailed) &&
		u.known() == nil && (u.asked() != task.ResumableAuto && u.size <= resumableFrom || !u.body.left() || speaksTus(resp))
}

// conditional says whether a request has a condition of its own that a 412 may be about.
func conditional(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(http.CanonicalHeaderKey(name), "If-") {
			return true
		}
	}
	return false
}

// append sends what the server does not have, or as much of it as it takes at once.
func (u *upload) append() (*http.Response, error) {
	s := u.known()
	if u.appends++; u.appends > mostAppends {
		u.abandon()
		return nil, u.fail(task.BadServerResponse, 0, fmt.Errorf(
			"the server has taken %d of %d bytes in %d requests, and the most is %[3]d; upload without resuming", u.at, u.size, mostAppends))
	}
	to := u.size
	if s.MaxAppend > 0 {
		to = min(to, u.at+s.MaxAppend)
	}
	var checksum string
	var err error
	if u.checked() {
		if to, checksum, err = u.piece(u.at, to); err != nil {
			return nil, err
		}
	}
	req, err := u.toResource(http.MethodPatch)
	if err != nil {
		return nil, err
	}
	p := protocolOf(s)
	v, _ := p.(interop)
	req = u.begin(req, uploadRequest{offered: v, from: u.at, to: to})
	p.append(req.Header, u.at, to == u.size)
	if checksum != "" {
		req.Header.Set(checksumField, checksum)
	}
	u.at = -1
	resp, err := u.exchange(u.rt, req, u.body)
	if err != nil {
		return nil, u.interrupted(err)
	}
	return u.judge(resp)
}

// begin makes a request of the upload out of one without body.
func (u *upload) begin(req *http.Request, r uploadRequest) *http.Request {
	if !r.creation {
		for _, halt := range u.halts {
			halt(nil)
		}
		u.halts = u.halts[:0]
	}
	r.ctx, r.halt = context.WithCancelCause(req.Context())
	u.halts = append(u.halts, r.halt)
	u.mu.Lock()
	u.request = &r
	u.mu.Unlock()
	u.body.cut(r.from, r.to)
	return req.Clone(r.ctx)
}
