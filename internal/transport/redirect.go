package transport

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/urlsession/urlsession/internal/task"
)

const (
	defaultRedirects = 20

	// drainLimit is how much of a redirect's body is read to keep its connection; a new one costs about as much.
	drainLimit = 4 << 10
)

// Redirects is how redirects are followed. The zero value follows up to 20.
type Redirects struct {
	Max             int  // 0: 20; the next is TooManyRedirects
	ForbidDowngrade bool // https to http is RequiresSecureConnection

	// Ask decides on a redirect from one request to the next; nil follows. It may change and return to, or return another
	// request. Nil without an error refuses: the redirect is then the response. An error ends Follow with it. to.Body is
	// opened by GetBody only after Ask.
	Ask func(ctx context.Context, status int, from, to *http.Request) (*http.Request, error)
}

// Follow sends req by rt and goes where the responses point to (RFC 9110 §15.4). 301 and 302 turn POST into GET; 303
// turns all into GET without a body, but HEAD stays; 307 and 308 keep method and body, which req.GetBody opens anew (without it that is
// a BodyStreamExhausted); 300, 304 and the rest are final. The response's Request is the one that it answers, and each
// followed request's Response the redirect that it came from.
//
// Credentials of the request (Authorization, Proxy-Authorization, Cookie) do not go to another origin, nor come back
// with a redirect back. Every error is a *task.Error, but for those of rt and of Ask, which are returned as they are.
func Follow(rt http.RoundTripper, req *http.Request, r Redirects) (*http.Response, error) {
	if r.Max <= 0 {
		r.Max = defaultRedirects
	}
	for n := 0; ; n++ {
		resp, err := rt.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		if !isRedirect(resp.StatusCode) {
			return resp, nil
		}
		next, err := r.next(req, resp, n)
		if err != nil {
			resp.Body.Close()
			return nil, err
		}
		if next == nil {
			return resp, nil
		}
		drain(resp, drainLimit)
		if next.Body == nil && next.GetBody != nil {
			if next.Body, err = next.GetBody(); err != nil {
				return nil, exhausted(next, err)
			}
		}
		req = next
	}
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// next is the request that resp, the answer to req and the redirect after n others, leads to; nil: it was refused.
func (r Redirects) next(req *http.Request, resp *http.Response, n int) (*http.Request, error) {
	fail := func(err error) error {
		e := *Classify("", "", err)
		e.Op, e.URL, e.Status = "follow redirect of", task.RedactURL(req.URL), resp.StatusCode
		return &e
	}
	to, err := redirected(req, resp)
	if err == nil {
		err = r.allowed(req, to)
	}
	if err == nil && n >= r.Max {
		err = fault(task.TooManyRedirects, "%d were followed", r.Max)
	}
	if err != nil {
		return nil, fail(err)
	}
	if r.Ask != nil {
		if to, err = r.Ask(req.Context(), resp.StatusCode, req, to); err != nil || to == nil {
			return nil, err
		}
		if err := r.allowed(req, to); err != nil {
			return nil, fail(err)
		}
		if to.Response == nil {
			to = to.WithContext(to.Context())
			to.Response = resp
		}
	}
	if to.Body == nil && to.GetBody == nil && to.ContentLength != 0 {
		return nil, exhausted(to, errors.New("it was sent once and cannot be read again"))
	}
	return to, nil
}

// allowed finds why to must not follow from.
func (r Redirects) allowed(from, to *http.Request) error {
	if err := checkURL(to.URL); err != nil {
		return err
	}
	if r.ForbidDowngrade && from.URL.Scheme == "https" && to.URL.Scheme != "https" {
		return fault(task.RequiresSecureConnection, "it leads from https to http")
	}
	return nil
}

// redirected is the request that resp, a redirect, asks for in place of req. Where its body is kept, GetBody opens it.
func redirected(req *http.Request, resp *http.Response) (*http.Request, error) {
	target, err := location(req.URL, resp.Header)
	if err != nil {
		return nil, err
	}
	to := req.WithContext(req.Context())
	to.URL, to.Response, to.Body = target, resp, nil
	to.Header = cloneHeader(req.Header)
	to.Method = redirectedMethod(req.Method, resp.StatusCode)
	if to.Method != methodOf(req) || resp.StatusCode == http.StatusSeeOther && req.Body != nil {
		to.GetBody, to.ContentLength, to.TransferEncoding, to.Trailer = nil, 0, nil, nil
		drop(to.Header, bodyHeaders)
	} else if req.Body == nil || req.Body == http.NoBody {
		to.GetBody, to.ContentLength = nil, 0
	} else if to.ContentLength == 0 {
		to.ContentLength = -1 // what 0 means beside a body
	}
	if !SameOrigin(req.URL, target) {
		to.Host = ""
		drop(to.Header, credentialHeaders)
		if req.URL.Scheme == "https" && target.Scheme != "https" {
			to.Header.Del("Referer") // RFC 9110 §10.1.3
		}
	}
	return to, nil
}

func methodOf(req *http.Request) string {
	if req.Method == "" {
		return http.MethodGet
	}
	return req.Method
}

func redirectedMethod(method string, status int) string {
	switch {
	case method == "":
		return http.MethodGet
	case status == http.StatusSeeOther && method != http.MethodHead,
		(status == http.StatusMovedPermanently || status == http.StatusFound) && method == http.MethodPost:
		return http.MethodGet
	}
	return method
}

// location is the URL that a response to a request for base points to. A fragment is inherited (RFC 9110 §10.2.2), and
// so is userinfo within the origin.
func location(base *url.URL, h http.Header) (*url.URL, error) {
	values := h["Location"]
	if len(values) == 0 || values[0] == "" {
		return nil, fault(task.RedirectWithoutLocation, "the response names no URL")
	}
	for _, v := range values[1:] {
		if v != values[0] {
			return nil, fault(task.BadServerResponse, "it has several Locations, which differ")
		}
	}
	ref, err := url.Parse(values[0])
	if err != nil {
		return nil, fault(task.BadServerResponse, "its Location is no URL: %w", cause(err))
	}
	target := base.ResolveReference(ref)
	if (target.Scheme == "http" || target.Scheme == "https") && target.Hostname() == "" { // "http:path", "http:///path"
		return nil, fault(task.BadServerResponse, "its Location names no host")
	}
	if target.Fragment == "" {
		target.Fragment, target.RawFragment = base.Fragment, base.RawFragment
	}
	if target.User == nil && SameOrigin(base, target) {
		target.User = base.User
	}
	return target, nil
}

// bodyHeaders describe a body that is no longer sent (RFC 9110 §15.4).
var bodyHeaders = []string{
	"Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Location", "Content-Range",
	"Content-Disposition", "Content-Digest", "Content-Md5", "Repr-Digest", "Digest", "Last-Modified",
	"Transfer-Encoding", "Trailer", "Expect",
}

// credentialHeaders are for one origin only (RFC 9110 §15.4).
var credentialHeaders = []string{
	"Authorization", "Proxy-Authorization", "Cookie", "Cookie2", "Www-Authenticate", "Proxy-Authenticate", "Host",
}

// drop removes headers however their names are spelled.
func drop(h http.Header, names []string) {
	for _, name := range names {
		delete(h, name)
	}
	for have := range h {
		if canonical := http.CanonicalHeaderKey(have); canonical != have {
			for _, name := range names {
				if canonical == name {
					delete(h, have)
				}
			}
		}
	}
}

// SameOrigin reports whether two URLs have one origin (RFC 6454): scheme, host and port. Subdomains are other origins.
func SameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	switch strings.ToLower(u.Scheme) {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

func exhausted(req *http.Request, err error) error {
	if e, ok := errors.AsType[*task.Error](err); ok {
		return e
	}
	return &task.Error{Op: "send body again", URL: task.RedactURL(req.URL), Code: task.BodyStreamExhausted, Err: err}
}
