package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/task"
)

// refusalLimit is how much of a refusal's body is read, or kept while somebody is asked, so that its connection can be used
// again.
const refusalLimit = 64 << 10

// authenticate sends req, and sends it again as long as a server wants to know who asks and there is something new to show
// it. The body is opened anew each time. The error of an Asker is returned as it is.
func (t *Transport) authenticate(req *http.Request, m *Metrics) (*http.Response, error) {
	server := t.opts.Authenticator.Begin(req)
	server.Asks = askerOf(req.Context()) != nil
	giveAnswers(req.Context(), server, credential.Origin(req.URL))
	out := req
	if value := server.Authorize(); !value.IsZero() {
		out = authorized(req, server.Field(), value)
	}
	for {
		resp, err := t.send(out, m)
		if err != nil {
			return nil, err
		}
		resp.Request = req
		step, err := t.step(server, resp, m)
		if err == nil && step.Action == credential.Fail {
			err = refusalError(step.Err, resp)
		}
		if err != nil {
			resp.Body.Close()
			return nil, err
		}
		if step.Action == credential.Deliver {
			return resp, nil
		}
		drain(resp, refusalLimit)
		out = authorized(req, step.Field, step.Value)
		if step.NoBody {
			withoutBody(out)
		} else if err := reopen(out); err != nil {
			return nil, err
		}
	}
}

// step finds what follows from resp, and asks for it where that is needed. While it asks, resp holds no connection.
func (t *Transport) step(x *credential.Exchange, resp *http.Response, m *Metrics) (credential.Step, error) {
	ctx := resp.Request.Context()
	step := x.Next(resp)
	for {
		switch step.Action {
		case credential.Refresh:
			setAside(resp)
			m.queued()
			step = x.Refresh(ctx)
			m.moved()
		case credential.Ask:
			setAside(resp)
			answer, err := askerOf(ctx)(ctx, *step.Challenge)
			if err != nil {
				return step, err
			}
			step = x.Answer(answer)
		default:
			if step.Keep != nil && t.opts.Keep != nil {
				_ = t.opts.Keep(ctx, *step.Keep) // the response is there all the same
			}
			return step, nil
		}
	}
}

// refusalError is the error of a request that resp has answered. Where that was a refusal, nothing was applied.
func refusalError(err error, resp *http.Response) error {
	e, ok := errors.AsType[*task.Error](err)
	if !ok {
		return err
	}
	e.Status = resp.StatusCode
	e.Unsent = refusal(resp.StatusCode)
	return e
}

// refusal reports that a status says that a request was not looked at, for want of credentials.
func refusal(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusProxyAuthRequired
}

// authorized is req with a value in a field, and a header of its own.
func authorized(req *http.Request, field string, value credential.Secret) *http.Request {
	out := req.WithContext(req.Context())
	out.Header = cloneHeader(req.Header)
	out.Header.Set(field, value.Reveal())
	return out
}

// reopen gives req its body from the start.
func reopen(req *http.Request) error {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return exhausted(req, err)
	}
	req.Body = body
	return nil
}

// withoutBody takes the body from a request that will only be refused.
func withoutBody(req *http.Request) {
	req.Body, req.GetBody, req.ContentLength, req.TransferEncoding, req.Trailer = http.NoBody, nil, 0, nil, nil
	req.Header.Del("Expect")
}

// setAside has a refusal, which may yet become the response, give its connection back. A long one keeps it.
func setAside(resp *http.Response) {
	if resp.ContentLength > refusalLimit {
		return
	}
	var kept bytes.Buffer
	_, err := io.CopyN(&kept, resp.Body, refusalLimit+1)
	if err == nil { // there is more
		resp.Body = aside{io.MultiReader(&kept, resp.Body), resp.Body}
		return
	}
	resp.Body.Close()
	rest := io.Reader(&kept)
	if err != io.EOF {
		rest = io.MultiReader(rest, failing{err})
	}
	resp.Body = io.NopCloser(rest)
}

type aside struct {
	io.Reader
	io.Closer
}

// failing ends in an error.
type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }
