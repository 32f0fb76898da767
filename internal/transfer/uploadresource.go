package transfer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// abandonWithin is how long a server may take to be told that an upload is given up.
const abandonWithin = 5 * time.Second

// toResource is a request for the upload resource, as far as it is the same for each method.
func (u *upload) toResource(method string) (*http.Request, error) {
	s := u.known()
	req, err := http.NewRequestWithContext(Caching(u.req.Context(), task.CacheReloadIgnoringLocalAndRemote), method, s.URL, nil)
	if err != nil {
		return nil, u.fail(task.BadServerResponse, 0, errors.New("the server's name for the upload is no URL"))
	}
	if transport.SameOrigin(u.req.URL, req.URL) {
		req.Host, req.URL.User = u.req.Host, u.req.URL.User
		for name, values := range u.req.Header {
			if !ofTarget(name) {
				req.Header[name] = values
			}
		}
	}
	protocolOf(s).announce(req.Header)
	return req, nil
}

// ofTarget says whether a field is of the creation alone: it describes the body as a whole, or has a condition on the target.
func ofTarget(name string) bool {
	name = http.CanonicalHeaderKey(name)
	switch name {
	case "Expect", "Idempotency-Key", "Last-Modified", "Prefer", "Repr-Digest", "Digest", "Want-Repr-Digest":
		return true
	}
	return strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "If-") || strings.HasPrefix(name, "Upload-")
}

// ask sends a request without body to the upload resource.
func (u *upload) ask(method string) (*http.Response, error) {
	req, err := u.toResource(method)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	u.request = &uploadRequest{ctx: req.Context(), halt: func(error) {}}
	u.mu.Unlock()
	return u.send(u.rt, req)
}

// locate asks how much of the upload the server has. A response is the upload's.
func (u *upload) locate() (*http.Response, error) {
	s := u.known()
	if !s.Expires.IsZero() && !time.Now().Before(s.Expires) {
		return nil, u.lost("it has expired")
	}
	resp, err := u.ask(http.MethodHead)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	switch status := resp.StatusCode; {
	case status/100 == 2:
	case status == http.StatusLocked:
		return nil, u.locked(resp)
	case status >= 500, status == http.StatusUnauthorized, status == http.StatusProxyAuthRequired,
		status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return u.answer(resp), nil
	default:
		return nil, u.lost("the server answered " + statusText(resp))
	}
	p := protocolOf(s)
	u.learn(p.limits(resp.Header))
	offset, ok := integer(resp.Header, offsetField)
	complete, _ := p.complete(resp.Header, u.size)
	length, measured := integer(resp.Header, lengthField)
	switch {
	case measured && length != u.size:
		return nil, u.lost(fmt.Sprintf("the server has there one of %d bytes, and this has %d", length, u.size))
	case ok && offset <= u.size && offset > u.sent(s) && !u.promised(s):
		u.drop()
		return nil, u.lost(fmt.Sprintf(
			"the server says that it has %d bytes, of which %d can have come from here: the others are of somebody else", offset, u.sent(s)))
	case complete && ok && offset == u.size && s.Failed:
		return nil, u.lost("the server has all of it, and answered 500 to that")
	case complete && ok && offset == u.size: // and its answer was lost
		u.confirm(u.size)
		return u.done(resp)
	case !ok:
		return nil, u.lost("the server does not say how much of it it has")
	case offset > u.size, complete:
		u.abandon()
		return nil, u.fail(task.BadServerResponse, 0, fmt.Errorf(
			"the server says that it has %d bytes of an upload of %d; it was cancelled there: upload it anew", offset, u.size))
	}
	if u.stalled++; offset > u.furthest {
		u.furthest, u.stalled = offset, 0
	}
	u.at = offset
	u.unfinished()
	u.confirm(offset)
	return nil, nil
}

// sent is how much of the body may have left, in this attempt and those before.
func (u *upload) sent(s *task.UploadState) int64 { return max(s.Sent, u.body.reached.Load()) }

// foreign says whether the resource is of another origin than the creation. It is asked first whether it is an upload then: what a
// server names is not sent to, with what is known for that origin, on its word alone.
func (u *upload) foreign() bool {
	at, err := url.Parse(u.known().URL)
	return err != nil || !transport.SameOrigin(u.target, at)
}

// redirect decides on a redirect of a request for the upload resource: only 307 and 308 are followed, the latter for good
// (draft-ietf-httpbis-resumable-upload-12 §4.3), and none of a request that stays.
func (u *upload) redirect(status int, from, to *http.Request) *http.Request {
	if u.request.stays {
		return nil
	}
	at := resourceURL(from.URL, to.URL.String())
	if status != http.StatusTemporaryRedirect && status != http.StatusPermanentRedirect || at == nil {
		return nil
	}
	to.URL = at
	u.mu.Lock()
	defer u.mu.Unlock()
	u.hide(at.String())
	if status == http.StatusPermanentRedirect {
		u.state.URL = at.String()
		u.tell()
	}
	return to
}

// Abandon tells the server of a.Upload that the upload is given up, if that can be done within a few seconds. Its Observer is
// told nothing.
func Abandon(ctx context.Context, a *Attempt) {
	c := *a
	c.Observer = nil
	r := &run{Attempt: &c}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ctx = r.begin(ctx, stop)
	defer r.idle.stop()
	if req, err := r.newRequest(ctx); err == nil {
		r.abandon(req)
	}
}

// abandon is that of an attempt which has not come to send anything.
func (r *run) abandon(req *http.Request) {
	if r.inParts() != nil {
		r.dropParts(req.Context())
		return
	}
	if r.Upload != nil {
		u := r.newUpload(r.RoundTripper, req, &requestBody{run: r})
		defer u.end()
		u.abandon()
	}
}

// abandon is drop, and forgets the upload.
func (u *upload) abandon() {
	if u.known() != nil {
		u.drop()
		u.forget()
	}
}

// drop tells the server that the upload is given up, if that can be done. Nobody is asked for a credential.
// Only a resource of the origin that has named it is deleted: a server must not have what is another's deleted by who uploads to it.
func (u *upload) drop() {
	req, err := u.toResource(http.MethodDelete)
	if err != nil {
		return
	}
	if !transport.SameOrigin(u.target, req.URL) {
		return
	}
	ctx, cancel := context.WithTimeout(transport.WithAsker(req.Context(), nil), abandonWithin)
	defer cancel()
	if resp, err := u.rt.RoundTrip(req.WithContext(ctx)); err == nil {
		resp.Body.Close()
	}
}
