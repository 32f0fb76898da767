package task

import (
	"net/http"
	"net/url"
	"strings"
)

// Redacted stands where a secret was cut out.
const Redacted = "REDACTED"

// Redact makes a URL fit for an error, an event or a log: userinfo goes, and the query's text is replaced, since that
// is where signed URLs keep their secret. What does not parse as a URL is reduced to what precedes its first '?', '#'
// and follows its last '@'.
func Redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		raw, _, _ = strings.Cut(raw, "#")
		raw, _, _ = strings.Cut(raw, "?")
		if i := strings.LastIndexByte(raw, '@'); i >= 0 {
			raw = raw[i+1:]
		}
		return raw
	}
	return RedactURL(u)
}

// RedactURL is Redact of a parsed URL; u is not changed.
func RedactURL(u *url.URL) string {
	if u.User == nil && u.RawQuery == "" && u.Fragment == "" && u.Opaque == "" {
		return u.String()
	}
	c := *u
	c.User, c.Fragment, c.RawFragment = nil, "", ""
	if i := strings.LastIndexByte(c.Opaque, '@'); i >= 0 { // "user:secret@host", written without a scheme
		c.Scheme, c.Opaque = "", c.Opaque[i+1:]
	}
	if c.RawQuery != "" {
		c.RawQuery = Redacted
	}
	return c.String()
}

// secretHeaders carry a secret in requests or responses. The URL-valued ones may carry one in a query.
var secretHeaders = []string{
	"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie",
	"Authentication-Info", "Proxy-Authentication-Info",
}

// RedactHeader is h without what must not be shown: secret values are replaced, URLs redacted. h is not changed, and
// is returned itself where it holds nothing to hide.
func RedactHeader(h http.Header) http.Header {
	var c http.Header
	set := func(name, value string) {
		if c == nil {
			c = h.Clone()
		}
		c[name] = []string{value}
	}
	for _, name := range secretHeaders {
		if _, ok := h[name]; ok {
			set(name, Redacted)
		}
	}
	for _, name := range []string{"Location", "Content-Location", "Referer"} {
		if v := h.Get(name); v != "" {
			if r := Redact(v); r != v {
				set(name, r)
			}
		}
	}
	if c != nil {
		return c
	}
	return h
}
