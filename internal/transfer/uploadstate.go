package transfer

import (
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// uploadLimits are what a server takes.
type uploadLimits struct {
	maxSize   int64     // of the whole; 0: not told
	maxAppend int64     // of one request; 0: not told
	creation  bool      // maxAppend is of the creation too
	expires   time.Time // of the upload; zero: not told
}

// forbid says whether an upload of size bytes is too long.
func (l uploadLimits) forbid(size int64) bool { return l.maxSize > 0 && size > l.maxSize }

// protocolOf is that of a state.
func protocolOf(s *task.UploadState) protocol {
	if s.Protocol == task.ResumableTus {
		return tus{}
	}
	return interop(s.Version)
}

// known is a copy of the state; nil: there is none.
func (u *upload) known() *task.UploadState {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state == nil {
		return nil
	}
	s := *u.state
	return &s
}

// name makes s the state. u.mu is held, but for the beginning.
func (u *upload) name(s *task.UploadState) {
	u.state = s
	u.hide(s.URL)
}

// hide has a URL not be told of. u.mu is held, but for the beginning.
func (u *upload) hide(resource string) {
	if shown := task.Redact(resource); !slices.Contains(u.resources, shown) {
		u.resources = append(u.resources, shown)
	}
}

// created is the answer to a creation that was a first part alone: no 104 need have come.
func (u *upload) created(location string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if at := resourceURL(u.target, location); at != nil && u.state == nil {
		u.name(&task.UploadState{Protocol: task.ResumableIETF, Version: int(u.request.offered), URL: at.String()})
		u.tell()
	}
}

// tell tells the Resumer of the state. u.mu is held.
func (u *upload) tell() {
	o, ok := u.Observer.(Resumer)
	if !ok {
		return
	}
	if u.state == nil {
		o.Resumable(nil)
		return
	}
	s := *u.state
	o.Resumable(&s)
}

// forget ends that the upload can be gone on from.
func (u *upload) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state != nil {
		u.state = nil
		u.tell()
	}
}

// failed notes that the answer to all of the body was 500.
func (u *upload) failed() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state.Failed = true
}

// unfinished notes that the server has said that the upload is not done: what was sent before has not finished it.
func (u *upload) unfinished() {
	u.body.whole.Store(false)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state.Whole, u.state.Failed = false, false
}

// confirm tells that the server has n bytes.
func (u *upload) confirm(n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.confirmLocked(n)
}

func (u *upload) confirmLocked(n int64) {
	if u.state != nil {
		u.state.Offset = n
	}
	if o, ok := u.Observer.(Resumer); ok {
		o.Confirmed(n, u.size)
	}
}

// learn notes what of an answer's limits holds for the requests that follow.
func (u *upload) learn(l uploadLimits) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.learnLocked(l)
}

func (u *upload) learnLocked(l uploadLimits) {
	if l.maxAppend > 0 {
		u.state.MaxAppend = l.maxAppend
	}
	if !l.expires.IsZero() {
		u.state.Expires = l.expires
	}
}

// informed is told of each 1xx, by the goroutine that reads from the connection. A 104 of another version than was asked for
// is none (draft-ietf-httpbis-resumable-upload-12 §10).
func (u *upload) informed(status int, fields textproto.MIMEHeader) error {
	if status != interimStatus {
		return nil
	}
	h := http.Header(fields)
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.request
	if v, ok := integer(h, interopField); !ok || r == nil || r.offered == 0 || interop(v) != r.offered || u.over || r.ctx.Err() != nil {
		return nil
	}
	limits := r.offered.limits(h)
	var at *url.URL
	if r.creation {
		at = resourceURL(u.target, h.Get("Location"))
	}
	if u.state == nil && at == nil {
		return nil
	}
	sending := u.body.newest.Load()
	if at != nil && (u.state == nil || u.naming != sending && u.state.URL != at.String()) { // it was sent again, as after 401 or 417
		u.naming = sending
		u.name(&task.UploadState{Protocol: task.ResumableIETF, Version: int(r.offered), URL: at.String()})
		u.learnLocked(limits)
		u.tell()
	} else {
		u.learnLocked(limits)
	}
	r.limits = limits
	if limits.forbid(u.size) || limits.maxAppend > 0 && limits.maxAppend < r.to-r.from && (limits.creation || !r.creation) {
		r.halt(errHalted)
		return nil
	}
	if offset, ok := integer(h, offsetField); ok && offset > u.state.Offset && offset <= u.sent(u.state) {
		u.body.quiet.Store(true)
		u.confirmLocked(offset)
	}
	return nil
}

// resourceURL is where a server that was asked at target says the upload is; nil: nowhere that a request may go. A server
// behind a proxy that ends TLS may take itself for one of http.
func resourceURL(target *url.URL, location string) *url.URL {
	ref, err := url.Parse(location)
	if err != nil || location == "" {
		return nil
	}
	at := target.ResolveReference(ref)
	at.Fragment, at.RawFragment = "", ""
	if target.Scheme == "https" && at.Scheme == "http" {
		if at.Host != target.Host {
			return nil
		}
		at.Scheme = "https"
	}
	if at.Scheme != "http" && at.Scheme != "https" || at.Hostname() == "" {
		return nil
	}
	return at
}

// movedTo is told where the creation goes on after a redirect: what the server before has named is not gone on from.
func (u *upload) movedTo(to *url.URL) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.target = to
	if u.state != nil {
		u.state = nil
		u.tell()
	}
}

// conceal takes the URLs of upload resources out of what is told: who has one may go on with the upload.
func (u *upload) conceal(list []task.Transaction) {
	for i := range list {
		if !slices.Contains(u.resources, list[i].URL) {
			continue
		}
		if at, err := url.Parse(list[i].URL); err == nil {
			list[i].URL = at.Scheme + "://" + at.Host + "/" + task.Redacted
		}
	}
}

// redact is err without the URL of an upload resource.
func (u *upload) redact(err error) error {
	if e, ok := err.(*task.Error); ok && slices.Contains(u.resources, e.URL) {
		c := *e
		c.URL = task.Redact(u.Spec.Request.URL)
		return &c
	}
	return err
}
