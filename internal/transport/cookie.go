package transport

import (
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/urlsession/urlsession/internal/cookie"
)

// AcceptPolicy says which of the received cookies enter the jar.
type AcceptPolicy int

const (
	// AcceptFromMainDocument takes the cookies of the main document's site. A task's main document is the request that
	// it began with: what another site sets during a redirect is dropped. A site is a public suffix and one label more.
	AcceptFromMainDocument AcceptPolicy = iota
	AcceptAlways
	AcceptNever
)

// cookiesFor are the jar's cookies for req, but for names that req's own Cookie header has.
func (t *Transport) cookiesFor(req *http.Request) []*http.Cookie {
	if t.opts.Jar == nil || !t.opts.SetCookies {
		return nil
	}
	cookies := t.opts.Jar.Cookies(req.URL)
	if len(cookies) == 0 || req.Header["Cookie"] == nil {
		return cookies
	}
	others := make([]*http.Cookie, 0, len(cookies))
	for _, c := range cookies {
		if _, err := req.Cookie(c.Name); err != nil {
			others = append(others, c)
		}
	}
	return others
}

// keepCookies puts a response's cookies into the jar.
func (t *Transport) keepCookies(req *http.Request, resp *http.Response) {
	if t.opts.Jar == nil || t.opts.AcceptPolicy == AcceptNever || len(resp.Header["Set-Cookie"]) == 0 {
		return
	}
	if t.opts.AcceptPolicy == AcceptFromMainDocument && !sameSite(mainDocument(req), req.URL) {
		return
	}
	if jar, ok := t.opts.Jar.(receiver); ok {
		_ = jar.Receive(req.URL, resp.Header["Set-Cookie"]) // a cookie that is refused is no failure of the request
		return
	}
	t.opts.Jar.SetCookies(req.URL, resp.Cookies())
}

// receiver is a jar that parses Set-Cookie itself, and gives cookies as they were received: http.Response.Cookies and
// http.Request.AddCookie leave out what net/http dislikes.
type receiver interface {
	Receive(u *url.URL, fields []string) error
}

// addCookies adds the jar's cookies to the Cookie field.
func (t *Transport) addCookies(out *http.Request, cookies []*http.Cookie) {
	if _, ok := t.opts.Jar.(receiver); !ok {
		for _, c := range cookies {
			out.AddCookie(c)
		}
		return
	}
	value := cookie.FieldValue(cookies)
	if own := out.Header.Get("Cookie"); own != "" {
		value = own + "; " + value
	}
	out.Header.Set("Cookie", value)
}

// mainDocument is the URL that a chain of redirects began with. Follow and http.Client keep the chain in
// Request.Response.
func mainDocument(req *http.Request) *url.URL {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return req.URL
}

func sameSite(a, b *url.URL) bool { return a == b || site(a) == site(b) }

// site is the registrable domain, or the host where there is none: an address, a bare name, a public suffix itself.
func site(u *url.URL) string {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if s, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil && !isAddress(host) {
		return s
	}
	return host
}
