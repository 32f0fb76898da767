package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// run is an attempt under way. Its exchanges follow one another.
type run struct {
	*Attempt
	ctx      context.Context // that the caller, or the idle timer, ends
	idle     idleTimer
	metrics  transport.Metrics
	further  []task.Transaction // of a download's further connections, or an upload's parts
	result   Result
	observed error   // what the Observer returned
	upload   *upload // nil: none that can be gone on from
	verdict  error   // what the attempt ends with once the Observer has the response, whatever that is; nil: the response says it
}

// errIdle is the cause of a context that the idle timer has ended.
var errIdle = fmt.Errorf("no byte moved for too long: %w", context.Canceled)

// begin makes the context that the attempt's requests run under.
func (r *run) begin(ctx context.Context, stop context.CancelCauseFunc) context.Context {
	r.ctx = ctx
	r.idle.begin(r.Spec.Policy.RequestTimeout, stop)
	return r.metrics.TraceAlone(r.authenticating(ctx), &r.idle)
}

// stopped is why the caller has ended the attempt; nil: it has not.
func (r *run) stopped() error {
	if cause := context.Cause(r.ctx); cause != errIdle {
		return cause
	}
	return nil
}

// newRequest is the task's request, without body.
func (r *run) newRequest(ctx context.Context) (*http.Request, error) {
	spec := &r.Spec.Request
	return r.requestTo(ctx, spec.Method, spec.URL, spec.Header)
}

// requestTo is a request without body to any URL.
func (r *run) requestTo(ctx context.Context, method, to string, header http.Header) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, nil)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // e's own text has the URL, with its secrets
		}
		return nil, r.fail(task.BadURL, 0, err)
	}
	if header != nil {
		req.Header = header.Clone()
		if host := req.Header.Get("Host"); host != "" {
			req.Host = host
			req.Header.Del("Host")
		}
	}
	return req, nil
}

// send sends a request, follows redirects, and returns the final response's head.
func (r *run) send(rt http.RoundTripper, req *http.Request) (*http.Response, error) {
	r.idle.wait(toConnect)
	defer r.idle.Moved() // also where the request never left the queue
	resp, err := transport.Follow(rt, req, transport.Redirects{
		ForbidDowngrade: r.Spec.Policy.ForbidDowngrade,
		Ask:             r.redirect,
	})
	if err != nil {
		if r.upload != nil {
			err = r.upload.redact(err)
		}
		return nil, r.wireError(err)
	}
	r.idle.wait(toReceive)
	return resp, nil
}

func (r *run) redirect(ctx context.Context, status int, from, to *http.Request) (*http.Request, error) {
	if u := r.upload; u != nil && (!u.request.creation || u.request.stays) {
		return u.redirect(status, from, to), nil
	}
	r.idle.hold()
	defer r.idle.release()
	next, err := r.Observer.Redirect(ctx, status, from, to)
	if err != nil {
		r.observed = err
	}
	if r.upload != nil && next != nil {
		r.upload.movedTo(next.URL)
	}
	return next, err
}

// tell gives the final head to the Observer and fails where the task wants an HTTP error to be one.
func (r *run) tell(ctx context.Context, resp *http.Response) error {
	r.result.Response = responseOf(resp)
	r.result.Response.Fetch = r.metrics.Fetch()
	if resp.Request != nil {
		r.metrics.Name(resp.Request.URL, r.result.Response.URL)
	}
	r.idle.hold()
	defer r.idle.release()
	if err := r.Observer.Response(ctx, r.result.Response); err != nil {
		return err
	}
	if r.verdict != nil {
		return r.verdict
	}
	if resp.StatusCode >= 400 && r.Spec.Policy.FailOnHTTPError {
		return r.fail(task.BadServerResponse, resp.StatusCode, errors.New("the server answered "+statusText(resp)))
	}
	return nil
}

func responseOf(resp *http.Response) *task.Response {
	out := &task.Response{
		Status: resp.StatusCode, Proto: resp.Proto, Header: resp.Header, ContentLength: resp.ContentLength,
		Coding: coding(resp.Header),
	}
	if resp.Request != nil {
		out.URL = resp.Request.URL.String()
	}
	return out
}

// coding is what Content-Encoding says; empty: the body is not coded.
func coding(h http.Header) string {
	values := h["Content-Encoding"]
	if len(values) == 0 {
		return ""
	}
	if coding := strings.Join(values, ", "); !strings.EqualFold(coding, "identity") {
		return coding
	}
	return ""
}

// statusText is "404 Not Found", with a reason of bounded length and without control characters.
func statusText(resp *http.Response) string {
	text := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, resp.Status)
	return text[:min(len(text), 100)]
}

// contentLength is how many bytes resp's body will have; -1: unknown. A HEAD's says what a GET's would.
func contentLength(resp *http.Response) int64 {
	if resp.Request != nil && resp.Request.Method == http.MethodHead {
		return 0
	}
	return resp.ContentLength
}

// read reads from a response's body, at the pace that the limits allow, unless the cache has it. Its error is io.EOF, of the
// wire, or ctx's cause.
func (r *run) read(ctx context.Context, body io.Reader, p []byte) (int, error) {
	if resp := r.result.Response; resp != nil && resp.Fetch != task.FetchNetwork {
		return body.Read(p)
	}
	taken, err := r.take(ctx, received, len(p))
	if err != nil {
		return 0, err
	}
	return r.readTaken(body, p[:taken])
}

// readTaken is read of bytes that take has let pass.
func (r *run) readTaken(body io.Reader, p []byte) (int, error) {
	n, err := body.Read(p)
	r.Limits.settle(received, len(p), n)
	if n > 0 {
		r.idle.touch()
	}
	return n, err
}

// take is Limits.take, which is no idleness of the network.
func (r *run) take(ctx context.Context, d direction, n int) (int, error) {
	if r.Limits.rates() == 0 {
		return n, nil
	}
	r.idle.hold()
	defer r.idle.release()
	return r.Limits.take(ctx, d, n)
}

// wireError makes the attempt's error of one that a request or its body had.
func (r *run) wireError(err error) error {
	if r.observed != nil {
		return r.observed
	}
	if stopped := r.stopped(); stopped != nil {
		return stopped
	}
	if !r.metrics.Unsent() && r.Spec.Request.Body == nil {
		r.idle.waitToSend(toRespond)
	}
	if expired := r.idle.expired(r.op(), task.Redact(r.Spec.Request.URL)); expired != nil {
		return expired
	}
	return transport.Classify(r.op(), r.Spec.Request.URL, err)
}

// fail makes an error of the attempt's own.
func (r *run) fail(code task.Code, status int, err error) *task.Error {
	return &task.Error{Op: r.op(), URL: task.Redact(r.Spec.Request.URL), Code: code, Status: status, Err: err}
}

func (r *run) op() string { return string(r.Spec.Kind) }
