package httpcache

import (
	"net/http"
	"net/url"
	"strings"
)

// invalidate removes what a request has made wrong: an unsafe method that did not fail changes its target, and what Location
// and Content-Location name at the same origin (RFC 9111, section 4.4).
func (c *Cache) invalidate(req *http.Request, resp *http.Response) {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return
	}
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return
	}
	target, _ := keyOf(req)
	c.storage.remove(target)
	base := *req.URL
	if req.Host != "" {
		base.Host = req.Host
	}
	for _, name := range []string{"Location", "Content-Location"} {
		value := resp.Header.Get(name)
		if value == "" {
			continue
		}
		if u, err := base.Parse(value); err == nil && sameOrigin(u, &base) {
			k, _ := keyOfURL(u, "")
			c.storage.remove(k)
		}
	}
}

func sameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if p := u.Port(); p != "" {
			return p
		}
		return defaultPort[strings.ToLower(u.Scheme)]
	}
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}
