package transport

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/task"
)

// Proxy says which requests go through which proxy. It is plain values, so that the app resolves it and the daemon
// keeps to it. The zero value is none.
//
// A proxy's URL is [SCHEME://][USER:PASSWORD@]HOST[:PORT] with scheme http (the default), https, socks5 or socks5h;
// both SOCKS5 leave the resolution of names to the proxy.
type Proxy struct {
	// URL is the proxy of all requests, the environment's variables notwithstanding. Those to this very machine go
	// through it too, unless Except is set.
	URL string `json:"url,omitempty"`

	// HTTP and HTTPS are, where URL is empty, the proxies of requests of that scheme. Requests to this very machine
	// (localhost, loopback addresses) never go through them.
	HTTP  string `json:"http,omitempty"`
	HTTPS string `json:"https,omitempty"`

	// Except lists what goes direct, as NO_PROXY does: hosts (their subdomains too), addresses, CIDR blocks, each with an
	// optional port, separated by commas; "*" is everything.
	Except string `json:"except,omitempty"`
}

// FromEnvironment reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY (for what the former leave open) and NO_PROXY, or their
// lower-case forms. In a CGI program (REQUEST_METHOD is set) HTTP_PROXY is not read: there it is a request's header.
func FromEnvironment() Proxy {
	c := httpproxy.FromEnvironment()
	p := Proxy{HTTP: c.HTTPProxy, HTTPS: c.HTTPSProxy, Except: c.NoProxy}
	if c.CGI {
		p.HTTP = ""
	}
	all := os.Getenv("ALL_PROXY")
	if all == "" {
		all = os.Getenv("all_proxy")
	}
	if p.HTTP == "" {
		p.HTTP = all
	}
	if p.HTTPS == "" {
		p.HTTPS = all
	}
	return p
}

// resolver is the function from a request's URL to its proxy's; nil where there are no proxies.
func (p Proxy) resolver() (func(*url.URL) (*url.URL, error), error) {
	if p.URL != "" {
		p.HTTP, p.HTTPS = p.URL, p.URL
	}
	if p.HTTP == "" && p.HTTPS == "" {
		return nil, nil
	}
	for _, raw := range []string{p.HTTP, p.HTTPS} {
		if err := checkProxy(raw); err != nil {
			return nil, err
		}
	}
	byScheme := (&httpproxy.Config{HTTPProxy: p.HTTP, HTTPSProxy: p.HTTPS, NoProxy: p.Except}).ProxyFunc()
	if p.URL == "" || p.Except != "" {
		return byScheme, nil
	}
	// httpproxy never sends requests for loopback hosts to a proxy: ask it about a host that is none.
	fixed, err := byScheme(&url.URL{Scheme: "http", Host: "host.invalid"})
	if err != nil {
		return nil, &task.Error{Op: "use proxy", URL: task.Redact(p.URL), Code: task.BadURL, Err: cause(err)}
	}
	return func(*url.URL) (*url.URL, error) { return fixed, nil }, nil
}

func checkProxy(raw string) error {
	if raw == "" {
		return nil
	}
	full := withScheme(raw)
	fail := func(code task.Code, err error) error {
		return &task.Error{Op: "use proxy", URL: task.Redact(full), Code: code, Err: err}
	}
	u, err := url.Parse(full)
	if err != nil {
		return fail(task.BadURL, cause(err))
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return fail(task.UnsupportedURL, errors.New("a proxy is http, https, socks5 or socks5h"))
	}
	if u.Hostname() == "" {
		return fail(task.BadURL, errors.New("it names no host"))
	}
	return nil
}

// withScheme is a proxy's URL with the scheme that may be left out. Without it a user would be taken for one, and the
// password for no secret.
func withScheme(raw string) string {
	if raw != "" && !strings.Contains(raw, "://") {
		return "http://" + raw
	}
	return raw
}

// String is the URL that all requests go by, without user and password; empty: there is none.
func (p Proxy) String() string { return task.Redact(withScheme(p.URL)) }

// isHTTP reports that p is a proxy that speaks HTTP; nil is none.
func isHTTP(p *url.URL) bool { return p != nil && (p.Scheme == "http" || p.Scheme == "https") }

// seenProxy is the proxy of u that net/http is to see. A tunnel it does not see, and userinfo only of a proxy whose
// credentials nobody else looks after.
func (t *Transport) seenProxy(u *url.URL) (*url.URL, error) {
	p, err := t.proxy(u)
	a := t.opts.Authenticator
	switch {
	case err != nil || p == nil:
		return nil, err
	case isHTTP(p) && u.Scheme == "https":
		return nil, nil
	case a == nil:
		return p, nil
	}
	seen := *p
	if isHTTP(p) {
		seen.User = nil
	} else if c, ok := a.Stored(credential.Proxy(p)); ok && p.User == nil && c.User != "" {
		seen.User = url.UserPassword(c.User, c.Password.Reveal())
	}
	return &seen, nil
}

// userinfo is u's as Basic credentials; zero: it has none.
func userinfo(u *url.URL) credential.Secret {
	if u.User == nil {
		return credential.Secret{}
	}
	password, _ := u.User.Password()
	req := http.Request{Header: make(http.Header)}
	req.SetBasicAuth(u.User.Username(), password)
	return credential.NewSecret(req.Header.Get("Authorization"))
}

func proxyWantsCredentials(proxy *url.URL) error {
	hint := "the proxy wants credentials: give them in its URL"
	if proxy.User != nil {
		hint = "the proxy does not accept the credentials in its URL"
	}
	return &task.Error{
		Op: "connect through proxy", URL: task.RedactURL(proxy), Code: task.AuthenticationRequired,
		Status: http.StatusProxyAuthRequired, Err: errors.New(hint), Unsent: true,
	}
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
