package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// mostParts is how many parts an upload has at most, as S3 has it.
const mostParts = 10_000

// multipart is an upload in parts to presigned URLs (task.Multipart), within one attempt: the parts that the server does not
// have go side by side (parallel.go), then their list (completion.go).
type multipart struct {
	*run
	*task.Multipart
	ctx  context.Context // of requests by the attempt's own run
	body *requestBody    // of no request; nil: there is none
	at   io.ReaderAt     // the body, where it is no file
	size int64
	rest int // parts that the body has

	mu    sync.Mutex
	state task.UploadState
	has   map[int]bool   // the parts of state
	last  *http.Response // of the part that came last, in this attempt
}

// inParts is how the body is to be cut in parts; nil: it is not.
func (r *run) inParts() *task.Multipart {
	if r.Spec.Kind != task.Upload || r.Spec.Upload == nil {
		return nil
	}
	return r.Spec.Upload.Multipart
}

// sendParts runs the attempt of an upload in parts, and returns its answer: that to the completion, or of the last part.
func (r *run) sendParts(ctx context.Context, body *requestBody) (*http.Response, error) {
	m := &multipart{run: r, Multipart: r.inParts(), ctx: ctx, body: body, has: make(map[int]bool)}
	if err := m.cut(); err != nil {
		return nil, err
	}
	if err := m.goOn(); err != nil {
		return nil, err
	}
	resp, err := m.transmit()
	if task.CodeOf(err) == task.SourceChanged && r.stopped() == nil {
		m.dropParts(ctx)
	}
	return resp, err
}

// cut finds out what the parts are.
func (m *multipart) cut() error {
	if m.body != nil {
		m.size = m.body.size
	}
	if m.body != nil && m.body.file == nil && m.size != 0 {
		from, err := m.run.Body()
		if err != nil {
			return m.body.readError(err)
		}
		defer from.Close()
		at, ok := from.(io.ReaderAt)
		if !ok || m.size < 0 {
			return m.fail(task.BodyStreamExhausted, 0, errors.New(
				"a stream cannot be sent in parts, which are read side by side; give the body as a file or as bytes"))
		}
		m.at = at
	}
	if m.PartSize <= 0 {
		return m.fail(task.Unknown, 0, fmt.Errorf("its parts have a size of %d bytes; say how many each has", m.PartSize))
	}
	n := max(1, (m.size-1)/m.PartSize+1)
	switch {
	case n > mostParts:
		return m.fail(task.DataTooLarge, 0, fmt.Errorf(
			"its %d bytes are %d parts of %d, and a store takes %d parts; make them larger", m.size, n, m.PartSize, mostParts))
	case n > int64(len(m.Parts)):
		return m.fail(task.DataTooLarge, 0, fmt.Errorf(
			"its %d bytes are %d parts of %d, and there are URLs for %d; sign more, or make the parts larger", m.size, n, m.PartSize, len(m.Parts)))
	}
	m.rest = int(n)
	return nil
}

// section is part n.
func (m *multipart) section(n int) section {
	from := int64(n-1) * m.PartSize
	return section{n, from, min(from+m.PartSize, m.size)}
}

// goOn notes what the server has: as an earlier attempt has told it, else as the task says.
func (m *multipart) goOn() error {
	m.state.Protocol = task.ResumableParts
	parts := m.Uploaded
	if s := m.Upload; s != nil && s.Protocol == task.ResumableParts {
		m.state, parts = *s, s.Parts
		m.state.Parts, m.state.Offset = nil, 0
	}
	for _, p := range parts {
		if p.Number < 1 || p.Number > m.rest || p.ETag == "" {
			return m.fail(task.Unknown, 0, fmt.Errorf(
				"part %d, ETag %q, is said to be uploaded, and the body has parts 1 to %d, each of which has an ETag", p.Number, p.ETag, m.rest))
		}
		m.add(p)
	}
	if len(m.state.Parts) > 0 {
		m.tell()
	}
	return nil
}

// add notes a part that the server has. m.mu is held, but for the beginning, as for tell.
func (m *multipart) add(p task.Part) {
	i, again := slices.BinarySearchFunc(m.state.Parts, p, func(a, b task.Part) int { return a.Number - b.Number })
	if again { // sent a second time: the later one counts
		m.state.Parts[i].ETag = p.ETag
		return
	}
	m.state.Parts = slices.Insert(m.state.Parts, i, task.Part{Number: p.Number, ETag: p.ETag})
	m.has[p.Number] = true
	s := m.section(p.Number)
	m.state.Offset += s.to - s.from
}

// tell tells the Resumer of the state.
func (m *multipart) tell() {
	if o, ok := m.Observer.(Resumer); ok {
		s := m.state
		s.Parts = slices.Clone(s.Parts)
		o.Resumable(&s)
	}
}

func (m *multipart) transmit() (*http.Response, error) {
	var missing []section
	here := m.state.Offset
	for n := 1; n <= m.rest; n++ {
		if !m.has[n] {
			missing = append(missing, m.section(n))
		}
	}
	if missing == nil && !m.Completes { // the answer was lost, and is that of a part
		s := m.section(m.rest)
		missing, here = []section{s}, here-(s.to-s.from)
	}
	p := &parallel{
		run: m.run, size: m.size, here: here, sections: missing,
		target: func(s section) string { return m.Parts[s.number-1] },
		bring:  m.bring,
	}
	resp, err := p.transmit()
	switch {
	case resp == nil:
	case isError(resp, "NoSuchUpload"):
		m.forgetParts()
		m.verdict = m.fail(task.BadServerResponse, resp.StatusCode, errors.New(
			"the store knows no such upload: it was aborted or completed, and what it had of it is gone; begin a new one"))
	case resp.StatusCode/100 == 3:
		m.verdict = m.fail(task.BadServerResponse, resp.StatusCode, errors.New(
			"the store answered "+statusText(resp)+", and only 307 and 308 are followed"))
	}
	if resp != nil || err != nil {
		return resp, err
	}
	if m.Completes {
		if err := m.check(); err != nil {
			return nil, err
		}
		return m.complete()
	}
	return m.last, nil
}

// check is requestBody.check.
func (m *multipart) check() error {
	if m.body == nil {
		return nil
	}
	return m.body.check()
}

// bring is parallel.bring of a part.
func (m *multipart) bring(ctx context.Context, r *run, s section) (*http.Response, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	req, err := r.requestTo(ctx, http.MethodPut, m.Parts[s.number-1], m.Header)
	if err != nil {
		return nil, err
	}
	body := &requestBody{run: r, ctx: ctx, size: m.size, from: s.from, to: s.to}
	defer body.newest.Store(nil)
	if m.body != nil {
		body.file = m.body.file
	}
	r.Body = func() (io.ReadCloser, error) { return shared{io.NewSectionReader(m.at, 0, m.size)}, nil }
	resp, err := r.exchange(m.RoundTripper, req, body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return m.refusal(r, resp, s)
	}
	_ = keep(r, resp) // nothing, but that its connection is free: the head says all
	etag := resp.Header.Get("ETag")
	switch {
	case !body.left():
		return nil, r.fail(task.ConnectionLost, resp.StatusCode, errors.New("the server answered before all of it had left"))
	case etag == "":
		return nil, r.fail(task.BadServerResponse, resp.StatusCode, errors.New(
			"the answer has no ETag, without which it cannot be listed: the store, or a proxy before it, keeps that back; have it passed on"))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(task.Part{Number: s.number, ETag: etag})
	m.last = hidden(resp)
	m.tell()
	return nil, nil
}

// refusal is an answer to a part that is not of the 2xx, which then says which part: one that invites another attempt is an error
// of the wire.
func (m *multipart) refusal(r *run, resp *http.Response, s section) (*http.Response, error) {
	if err := keep(r, resp); err != nil {
		return nil, err
	}
	if isError(resp, "RequestTimeout") || isError(resp, "IncompleteBody") {
		return nil, r.fail(task.ConnectionLost, resp.StatusCode, errors.New("the server answered "+statusText(explained(resp))))
	}
	resp.Status = fmt.Sprintf("%s to part %d", strings.TrimSpace(resp.Status), s.number)
	return hidden(explained(resp)), nil
}

// hidden is an answer to a part without what of its URL only who may write the part is to know, and without its body if it has
// succeeded.
func hidden(resp *http.Response) *http.Response {
	req := new(http.Request)
	*req = *resp.Request
	at := *req.URL
	at.User, at.RawQuery, at.Fragment = nil, "", ""
	req.URL = &at
	resp.Request = req
	if resp.StatusCode/100 == 2 {
		resp.Body, resp.ContentLength = http.NoBody, 0
	}
	return resp
}

// dropParts asks the server to drop an upload in parts, where the task says how, if that can be done within a few seconds, and
// forgets it.
func (r *run) dropParts(ctx context.Context) {
	r.forgetParts()
	at := r.inParts().Abort
	if at == "" {
		return
	}
	ctx, cancel := context.WithTimeout(transport.WithAsker(ctx, nil), abandonWithin)
	defer cancel()
	req, err := r.requestTo(ctx, http.MethodDelete, at, nil)
	if err != nil {
		return
	}
	if resp, err := r.RoundTripper.RoundTrip(req); err == nil {
		resp.Body.Close()
	}
}

// forgetParts ends that the upload can be gone on from.
func (r *run) forgetParts() {
	if o, ok := r.Observer.(Resumer); ok {
		o.Resumable(nil)
	}
}

// shared is a body that is read at several places at once.
type shared struct{ *io.SectionReader }

func (shared) Close() error { return nil }
