package task

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
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

// secretHeaders carry a secret in requests or responses, and so do those whose names end in one of secretEndings
// (X-Auth-Token). The URL-valued ones may carry one in a query.
var secretHeaders = []string{
	"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie",
	"Authentication-Info", "Proxy-Authentication-Info",
}

var secretEndings = []string{"-Token", "-Api-Key", "-Secret", "-Password"}

// linked is a URL as Link has it (RFC 8288 §3).
var linked = regexp.MustCompile(`<[^>]*>`)

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
	for name, values := range h {
		if slices.ContainsFunc(secretEndings, func(end string) bool { return strings.HasSuffix(name, end) }) {
			set(name, Redacted)
		}
		if name == "Link" {
			all := strings.Join(values, ", ")
			if r := linked.ReplaceAllStringFunc(all, func(u string) string { return "<" + Redact(u[1:len(u)-1]) + ">" }); r != all {
				set(name, r)
			}
		}
	}
	if c != nil {
		return c
	}
	return h
}
