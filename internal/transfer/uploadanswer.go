package transfer

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/urlsession/urlsession/internal/task"
)

// interrupted is what a request without an answer ends the attempt with; nil: it was halted, and is to be gone on with.
func (u *upload) interrupted(err error) error {
	u.mu.Lock()
	halted := context.Cause(u.request.ctx) == errHalted
	limits := u.request.limits
	u.mu.Unlock()
	switch {
	case u.stopped() != nil:
	case halted && limits.forbid(u.size):
		return u.tooLong(limits)
	case halted:
		u.at = -1
		u.stalled++ // unless it is found to be further
		return nil
	case task.CodeOf(err) == task.SourceChanged:
		u.abandon()
	}
	return err
}

func (u *upload) tooLong(l uploadLimits) error {
	u.abandon()
	return u.fail(task.DataTooLarge, 0, fmt.Errorf("the body has %d bytes, and the server takes uploads of %d at most", u.size, l.maxSize))
}

// judge finds out what the answer to a creation or an append says, and returns it where it is the upload's. No response and
// no error: the upload is to be gone on with.
func (u *upload) judge(resp *http.Response) (*http.Response, error) {
	r := u.request
	if context.Cause(r.ctx) == errHalted { // at the same moment: the answer's body is cut
		resp.Body.Close()
		return nil, u.interrupted(u.stopped())
	}
	elsewhere := r.creation && resp.Request.Method != u.req.Method // a redirect has led on from it, by GET
	part := r.creation && r.to < u.size && resp.StatusCode/100 == 2
	if part && !elsewhere {
		u.created(resp.Header.Get("Location"))
	}
	s := u.known()
	if part && s == nil {
		resp.Body.Close()
		return nil, u.fail(task.BadServerResponse, 0, fmt.Errorf(
			"the server has taken the first %d of %d bytes, and does not say where the rest is to go; upload without resuming", r.to, u.size))
	}
	if s == nil || elsewhere {
		return resp, nil // of a plain upload
	}
	p := protocolOf(s)
	complete, said := p.complete(resp.Header, u.size)
	offset, told := integer(resp.Header, offsetField)
	all := u.body.left() && s.Protocol != task.ResumableTus // it has all that was sent; one of tus says so
	if told {
		all = offset >= r.to && offset <= u.size
	}
	limits := p.limits(resp.Header)
	u.learn(limits)
	switch status := resp.StatusCode; {
	case status == http.StatusConflict && !r.creation && s.Version < 6: // before that no target answers an append
		u.at = -1
	case complete && r.to == u.size && (status/100 != 2 || !told || offset == u.size):
		if status >= 400 { // the target's last word: there is nothing to go on from
			u.forget()
		}
		return u.done(resp)
	case status/100 == 2 && all && r.to == u.size && !said:
		proven := told
		if !told {
			var err error
			if proven, err = u.proven(resp); err != nil {
				resp.Body.Close()
				return nil, err
			}
		}
		if proven {
			return u.done(resp)
		}
		u.at = -1
	case status/100 == 2 && all && r.to < u.size:
		u.at = r.to
		u.confirm(r.to)
		if r.creation && u.foreign() {
			u.at = -1
		}
	case status/100 == 2: // early, or the server has less than was sent, or it says that more is to come
		u.at = -1
	case status == http.StatusConflict && !r.creation:
		u.at = -1
	case status == statusMismatch && u.checked():
		return nil, u.mismatch(resp)
	case status == http.StatusLocked && !r.creation:
		return nil, u.locked(resp)
	case status == http.StatusRequestEntityTooLarge && limits.forbid(u.size):
		resp.Body.Close()
		return nil, u.tooLong(limits)
	case status == http.StatusRequestEntityTooLarge && limits.maxAppend > 0 && limits.maxAppend < r.to-r.from:
		u.at = -1
	case (status == http.StatusNotFound || status == http.StatusGone) && !r.creation:
		resp.Body.Close()
		return nil, u.lost("the server answered " + statusText(resp))
	default:
		if status == http.StatusInternalServerError && all && r.to == u.size {
			u.failed()
		}
		return u.answer(resp), nil
	}
	resp.Body.Close()
	return nil, nil
}

// lost is a server that knows nothing of the upload any more: it is created again, once, where nothing can have become of
// what was sent, or that may be sent twice.
func (u *upload) lost(why string) error {
	whole := u.known().Whole || u.body.whole.Load()
	u.forget()
	switch {
	case whole && !u.Spec.Resendable():
		return u.fail(task.BadServerResponse, 0, fmt.Errorf(
			"the upload, all of which may have come, cannot be gone on from (%s): it is done, or it is lost; find out at the server before it is sent again", why))
	case u.anew:
		return u.fail(task.BadServerResponse, 0, fmt.Errorf("the upload could not be gone on from twice (%s); upload without resuming", why))
	}
	u.anew, u.furthest = true, 0
	u.body.whole.Store(false)
	u.body.reached.Store(0)
	return nil
}

// done is answer to all of the upload.
func (u *upload) done(resp *http.Response) (*http.Response, error) {
	if err := u.contradicted(resp); err != nil {
		resp.Body.Close()
		u.abandon()
		return nil, err
	}
	return u.answer(resp), nil
}

// answer is resp as an answer to the request of the task: the URL of the upload resource is nobody's to see.
func (u *upload) answer(resp *http.Response) *http.Response {
	if resp.StatusCode/100 == 2 && u.body.quiet.Load() {
		u.confirm(u.size)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.request.creation {
		req := resp.Request.WithContext(resp.Request.Context())
		req.URL = u.target
		resp.Request = req
	}
	if at := resourceURL(u.target, resp.Header.Get("Location")); at != nil && slices.Contains(u.resources, task.Redact(at.String())) {
		resp.Header.Del("Location")
	}
	return resp
}
