package transfer

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// An upload of tus is one PATCH by default, as tus itself prefers it: to join partial ones, the server copies all of the body once
// more, and holds it twice meanwhile, which it has to be asked for. Several connections help only where each is held back by
// itself, and who knows that says so (Policy.Connections).
const (
	// leastPartial is the least size of a partial upload, in bytes. Each takes three round trips beside its bytes; and a server
	// whose store is S3 joins none below 5 MiB without fetching it.
	leastPartial = 8 << 20
	// partialsEach is how many partial uploads a connection sends, if all are as fast: one that is slow then keeps the others
	// waiting for a quarter of its share at most.
	partialsEach = 4
	// mostPartials is how many there are at most: the list of their URLs is one field, and many servers read no field of more
	// than 8 KiB.
	mostPartials = 32
)

const concatField = "Upload-Concat"

// splits says whether the body is sent as partial uploads, side by side, which the server joins in the end (concatenation).
func (u *upload) splits() bool {
	return !u.partial && u.Connections != nil && u.Spec.Policy.Connections > 1 &&
		u.tus.has("concatenation") && u.body.file != nil && u.size >= 2*leastPartial
}

// split decides on the partial uploads, none of which is there yet.
func (u *upload) split() {
	n := min(u.size/leastPartial, partialsEach*int64(u.Spec.Policy.Connections), mostPartials)
	s := &task.UploadState{Protocol: task.ResumableTus}
	for i := range n {
		s.Parts = append(s.Parts, task.Part{Number: int(i) + 1, Length: u.size*(i+1)/n - u.size*i/n})
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state = s
}

// sendPartials sends what the server does not have of the partial uploads, and has them joined. A response is that, or what one
// of them was refused with. No response and no error: it is to be gone on with.
func (u *upload) sendPartials() (*http.Response, error) {
	p := &parallel{run: u.run, size: u.size, target: func(section) string { return u.req.URL.String() }, bring: u.bring}
	from, unnamed := int64(0), false
	for _, part := range u.known().Parts {
		p.sections = append(p.sections, section{part.Number, from, from + part.Length})
		from += part.Length
		unnamed = unnamed || part.URL == ""
	}
	if from != u.size {
		return nil, u.lost(fmt.Sprintf("its parts have %d bytes, and the body has %d", from, u.size))
	}
	if unnamed {
		u.unfinished()
	}
	resp, err := p.transmit()
	switch {
	case task.CodeOf(err) == task.SourceChanged && u.stopped() == nil:
		u.abandon()
	case resp != nil && refusesPartials(resp.StatusCode) && !slices.ContainsFunc(u.known().Parts, func(p task.Part) bool { return p.URL != "" }):
		resp.Body.Close()
		u.forget()
		u.tus.extensions = slices.DeleteFunc(u.tus.extensions, func(name string) bool { return name == "concatenation" })
		return nil, nil
	}
	if resp != nil || err != nil {
		return resp, err
	}
	if err := u.body.check(); err != nil {
		u.abandon()
		return nil, err
	}
	return u.join()
}

// refusesPartials says whether a status that the first partial upload was refused with may not be that of a whole one.
func refusesPartials(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusLocked, http.StatusTooManyRequests:
		return false
	}
	return status/100 == 3 || status/100 == 4
}

// join has the server make the upload of the partial ones, all of which are there. Should its answer be lost, the next attempt asks
// for it again: what is made twice then has the same content, and the first is an orphan.
func (u *upload) join() (*http.Response, error) {
	u.mu.Lock()
	u.state.Whole = true
	u.tell()
	s := *u.state
	u.mu.Unlock()
	list := make([]string, len(s.Parts))
	for i, part := range s.Parts {
		list[i] = part.URL
	}
	req := u.tusCreation(uploadRequest{stays: true})
	req.Header.Set(concatField, "final;"+strings.Join(list, " "))
	resp, err := u.send(u.rt, req)
	if err != nil {
		return nil, err
	}
	switch status := resp.StatusCode; {
	case status/100 == 2:
		if at := resourceURL(u.target, resp.Header.Get("Location")); at != nil {
			u.mu.Lock()
			u.name(&task.UploadState{Protocol: s.Protocol, URL: at.String(), Offset: u.size, Parts: s.Parts, Whole: true})
			u.tell()
			u.mu.Unlock()
		}
		if err := keep(u.run, resp); err != nil { // its connection is wanted
			return nil, err
		}
	case status == http.StatusLocked:
		return nil, u.locked(resp)
	case !u.rejoined && (status == http.StatusBadRequest || status == http.StatusNotFound || status == http.StatusConflict || status == http.StatusGone):
		u.rejoined = true // one may be gone since it was there: each is looked at again
		resp.Body.Close()
		return nil, nil
	}
	return u.answer(resp), nil
}

// joined asks whether the upload is there that was made of partial ones, of which the answer was lost.
func (u *upload) joined() (*http.Response, error) {
	resp, err := u.ask(http.MethodHead)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	length, measured := integer(resp.Header, lengthField)
	switch status := resp.StatusCode; {
	case status/100 == 2 && measured && length != u.size:
		return nil, u.lost(fmt.Sprintf("the server has there one of %d bytes, and this has %d", length, u.size))
	case status == http.StatusLocked:
		return nil, u.locked(resp)
	case status/100 == 2, status >= 500, status == http.StatusUnauthorized, status == http.StatusProxyAuthRequired,
		status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return u.answer(resp), nil
	}
	return nil, u.lost("the server answered " + statusText(resp))
}

// dropPartials deletes the partial uploads, which are of no use any more.
func (u *upload) dropPartials() {
	if s := u.known(); s != nil && len(s.Parts) > 0 {
		u.drop(u.partials(s))
	}
}

// partials are the URLs of the partial uploads of s, as far as they have one.
func (u *upload) partials(s *task.UploadState) (list []string) {
	for _, part := range s.Parts {
		if at := u.partialURL(part); at != nil {
			list = append(list, at.String())
		}
	}
	return list
}

// partialURL is where a partial upload is; nil: nowhere yet. Its creation was not redirected.
func (u *upload) partialURL(part task.Part) *url.URL { return resourceURL(u.req.URL, part.URL) }

// bring is parallel.bring of a partial upload: one like others, of a section of the body.
func (u *upload) bring(ctx context.Context, r *run, s section) (*http.Response, error) {
	state := u.known()
	p := &partialOf{Observer: r.Observer, whole: u, section: s}
	a, spec := *r.Attempt, *r.Spec
	a.Spec, a.Observer, a.Upload = &spec, p, nil
	spec.Policy.RetryUnsafe = spec.Policy.RetryUnsafe || !state.Whole // alone it finishes nothing
	if at := u.partialURL(state.Parts[s.number-1]); at != nil {
		a.Upload = &task.UploadState{Protocol: state.Protocol, URL: at.String(), Whole: state.Whole,
			Sent: s.to - s.from} // as nobody has kept how much of each may have left
	}
	r.Attempt = &a
	req, err := r.newRequest(ctx)
	if err != nil {
		return nil, err
	}
	n := s.to - s.from
	body := &requestBody{run: r, ctx: ctx, file: u.body.file, base: s.from, size: n, to: n}
	defer body.newest.Store(nil)
	p.upload = r.newUpload(u.rt, req, body)
	p.upload.tus, p.upload.partial = u.tus, true
	defer p.end()
	resp, err := p.upload.transmit()
	if err == nil && resp.StatusCode/100 == 2 {
		resp.Body.Close()
		return nil, nil
	}
	return resp, err
}

// partialOf is the Observer of a partial upload.
type partialOf struct {
	Observer
	section
	whole  *upload
	upload *upload // its own
}

// end is upload.end. What was hidden of the partial upload is hidden of the whole.
func (p *partialOf) end() {
	p.upload.end()
	p.whole.mu.Lock()
	defer p.whole.mu.Unlock()
	for _, at := range p.upload.resources {
		p.whole.hide(at)
	}
}

func (p *partialOf) Sent(total, _ int64) { p.Observer.Sent(p.from+total, 0) }

func (p *partialOf) Confirmed(total, _ int64) {
	p.Sent(total, 0)
	if total < p.to-p.from {
		p.whole.unfinished()
	}
}

// Resumable notes where the partial upload is, as Location had it: so it stands in the list that joins them.
func (p *partialOf) Resumable(s *task.UploadState) {
	location := ""
	if s != nil {
		if location = p.upload.location; location == "" {
			return // it goes on from an earlier attempt's
		}
	}
	u := p.whole
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state.Parts[p.number-1].URL == location {
		return
	}
	u.state.Parts = slices.Clone(u.state.Parts)
	u.state.Parts[p.number-1].URL = location
	u.tell()
}

// drop deletes what the server has at some URLs, as far as that can be done within a few seconds. Nobody is asked for a
// credential, and nothing is deleted at another origin than the one that has named it: no server may have what is another's
// deleted by who uploads to it.
func (u *upload) drop(list []string) {
	if !u.tus.terminates() {
		return
	}
	ctx, cancel := context.WithTimeout(transport.WithAsker(u.req.Context(), nil), abandonWithin)
	defer cancel()
	for _, at := range list {
		req, err := u.toURL(http.MethodDelete, at)
		if err != nil || !transport.SameOrigin(u.target, req.URL) {
			continue
		}
		if resp, err := u.rt.RoundTrip(req.WithContext(ctx)); err == nil {
			resp.Body.Close()
		}
	}
}
