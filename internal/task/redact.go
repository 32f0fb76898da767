package task

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Redacted stands where a secret was cut out.
const Redacted = "REDACTED"

// Redact makes a URL fit for an error, an event or a log: userinfo goes, and the query's text is replaced, since that
// is where signed URLs keep their secret. What does not parse as a URL is reduced to what precedes its first '?', '#'
// and follows its last '@'.
func Redact(raw string) string {
	if !strings.ContainsAny(raw, "@?#") {
		return raw // it has neither
	}
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

// secret says whether a header carries a secret, in requests or responses. The URL-valued ones may carry one in a query.
func secret(name string) bool {
	switch name {
	case "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Authentication-Info", "Proxy-Authentication-Info":
		return true
	}
	switch name[strings.LastIndexByte(name, '-')+1:] {
	case "Token", "Secret", "Password": // X-Auth-Token
		return strings.Contains(name, "-")
	case "Key":
		return strings.HasSuffix(name, "-Api-Key")
	}
	return false
}

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
	for name, values := range h {
		switch {
		case secret(name):
			set(name, Redacted)
		case name == "Location", name == "Content-Location", name == "Referer":
			if v := h.Get(name); v != "" {
				if r := Redact(v); r != v {
					set(name, r)
				}
			}
		case name == "Link":
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
