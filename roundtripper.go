package urlsession

import (
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
	"github.com/urlsession/urlsession/internal/transport"
)

// RoundTripper is the session's chain for code that speaks net/http: its connections, proxies, TLS, cookies, credentials,
// cache (by Configuration.RequestCachePolicy) and additional headers, and its decoding of gzip, br and zstd (for requests that
// set no Accept-Encoding). It follows no redirects, since http.Client does; it makes no tasks and events, and knows no timeouts,
// retries and RateLimit. Its errors are *Error.
//
// OnChallenge is asked without a task. That of a background session works in this process, by the session's configuration and
// without stored credentials, which are the daemon's: its requests end with the process. Servers are trusted there as the
// daemon does, without asking. Its cookies are those of the session, but for those without an expiry, which it and the daemon
// keep each for itself.
//
// It must have an http.Client without a Jar, where the session has a CookieStorage. Once the session was invalidated it
// fails with ErrSessionInvalidated; what is under way then is its caller's to end.
func (s *Session) RoundTripper() http.RoundTripper { return roundTripper{s, transport.Decode(s.chain)} }

type roundTripper struct {
	s    *Session
	next http.RoundTripper
}

func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.s.invalidated.Load() {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, &Error{Op: "send request", URL: task.RedactURL(req.URL), Code: ErrSessionInvalidated}
	}
	out := t.asConfigured(req)
	if t.s.config.OnChallenge != nil {
		out = out.WithContext(transport.WithAsker(out.Context(), t.s.ask))
	}
	resp, err := t.next.RoundTrip(out)
	if err != nil {
		return nil, publicError("send request", err)
	}
	resp.Request = req
	if resp.StatusCode != http.StatusSwitchingProtocols { // whose body is an io.Writer too
		resp.Body = &publicBody{resp.Body}
	}
	return resp, nil
}

// asConfigured is the request with the session's cache policy and additional headers, or itself where it lacks none. Secret
// headers do not follow http.Client to another origin.
func (t roundTripper) asConfigured(req *http.Request) *http.Request {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	foreign := first != req && !sameOrigin(first.URL, req.URL)
	r := req
	for name, values := range t.s.config.AdditionalHeaders {
		if hasField(req.Header, name) || foreign && slices.Contains(secretHeaders, name) {
			continue
		}
		if r == req {
			r = req.Clone(req.Context())
		}
		if r.Header == nil {
			r.Header = make(http.Header)
		}
		r.Header[name] = values
	}
	if p := t.s.policy.Cache; p != task.CacheUseProtocol {
		r = r.WithContext(transfer.Caching(r.Context(), p))
	}
	return r
}

func sameOrigin(a, b *url.URL) bool { return a != nil && b != nil && transport.SameOrigin(a, b) }

// secretHeaders are for the origin alone that they were made for.
var secretHeaders = []string{"Authorization", "Proxy-Authorization", "Cookie"}

// hasField looks a canonical name up, compared case-insensitively.
func hasField(h http.Header, name string) bool {
	if _, ok := h[name]; ok {
		return true
	}
	for key := range h {
		if http.CanonicalHeaderKey(key) == name {
			return true
		}
	}
	return false
}

// publicBody is a body whose errors are this package's.
type publicBody struct{ io.ReadCloser }

func (b *publicBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = publicError("read response", err)
	}
	return n, err
}
