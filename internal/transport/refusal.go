package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/urlsession/urlsession/internal/task"
)

// refusalLimit is how much of a refusal's body is read, or kept while somebody is asked, so that its connection can be used
// again.
const refusalLimit = 64 << 10

// refusalError is the error of a request that was answered with status. Where that was a refusal, nothing was applied.
func refusalError(err error, status int) error {
	e, ok := errors.AsType[*task.Error](err)
	if !ok {
		return err
	}
	e.Status, e.Unsent = status, refusal(status)
	return e
}

// refusal reports that a status says that a request was not looked at, for want of credentials.
func refusal(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusProxyAuthRequired
}

// withHeader is req with a header of its own.
func withHeader(req *http.Request) *http.Request {
	out := req.WithContext(req.Context())
	out.Header = cloneHeader(req.Header)
	return out
}

// reopen is req with its body from the start.
func reopen(req *http.Request) (*http.Request, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, nil
	}
	err := errors.New("it was sent once and cannot be read again")
	var body io.ReadCloser
	if req.GetBody != nil {
		body, err = req.GetBody()
	}
	if err != nil {
		return nil, exhausted(req, err)
	}
	out := req.WithContext(req.Context())
	out.Body = body
	return out, nil
}

// withoutBody is req without its body, where it will only be refused.
func withoutBody(req *http.Request) *http.Request {
	out := req.WithContext(req.Context())
	out.Body, out.GetBody, out.ContentLength, out.TransferEncoding, out.Trailer = http.NoBody, nil, 0, nil, nil
	out.Header = cloneHeader(req.Header)
	out.Header.Del("Expect")
	return out
}

// stopSending ends the sending of what is left of a refused request's body, unless that is less than a new connection
// costs. net/http goes on with it for a while, also where the server was asked first (Expect).
func stopSending(req *http.Request) {
	if s, ok := req.Body.(stopper); ok && (req.ContentLength < 0 || req.ContentLength > refusalLimit) {
		s.Stop()
	}
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
