package cookie

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// received is a Set-Cookie field once it is parsed, before anything is known of who sent it.
type received struct {
	name, value      string
	domain           string // in lower case, without one leading dot; empty as good as absent
	path             string
	hasPath          bool // there is a Path attribute; path is empty where it names none
	secure, httpOnly bool
	sameSite         http.SameSite
	expires          time.Time // zero: a session cookie
}

// ended is an expiry in the past, for a Max-Age that is not positive.
var ended = time.Unix(1, 0)

// parse reads a Set-Cookie field's value (the draft, section 5.6). Max-Age counts from now.
func parse(field string, now time.Time) (received, error) {
	if hasControl(field) {
		return received{}, refuse("", "a control character stands in its field")
	}
	var r received
	pair, attributes, more := strings.Cut(field, ";")
	name, value, named := strings.Cut(pair, "=")
	if !named {
		name, value = "", pair
	}
	r.name, r.value = trimSpace(name), trimSpace(value)
	if n := len(r.name) + len(r.value); n > maxPair {
		return received{}, refuse(r.name, "name and value measure %d bytes; at most %d are taken", n, maxPair)
	}
	var age, date time.Time // of the last such attribute that says something
	for more {
		var av string
		av, attributes, more = strings.Cut(attributes, ";")
		attribute, value, _ := strings.Cut(av, "=")
		attribute, value = trimSpace(attribute), trimSpace(value)
		if len(value) > maxAttribute {
			continue
		}
		switch strings.ToLower(attribute) {
		case "expires":
			if t, ok := parseDate(value); ok {
				date = t
			}
		case "max-age":
			if t, ok := parseMaxAge(value, now); ok {
				age = t
			}
		case "domain":
			r.domain = strings.TrimPrefix(value, ".")
		case "path":
			r.hasPath, r.path = true, ""
			if strings.HasPrefix(value, "/") {
				r.path = value
			}
		case "secure":
			r.secure = true
		case "httponly":
			r.httpOnly = true
		case "samesite":
			r.sameSite = parseSameSite(value)
		}
	}
	if r.expires = age; age.IsZero() {
		r.expires = date
	}
	return r, nil
}

// parseMaxAge is the time at which a Max-Age ends, or false where the attribute is to be ignored. What it asks for
// beyond maxAge is cut off when the cookie is taken.
func parseMaxAge(value string, now time.Time) (time.Time, bool) {
	digits := strings.TrimPrefix(value, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return time.Time{}, false
	}
	if len(digits) < len(value) || strings.Trim(digits, "0") == "" {
		return ended, true
	}
	seconds, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || seconds > int64(maxAge/time.Second) {
		return now.Add(maxAge), true
	}
	return now.Add(time.Duration(seconds) * time.Second), true
}

// parseSameSite maps what is unknown to 0, the draft's "Default".
func parseSameSite(value string) http.SameSite {
	switch strings.ToLower(value) {
	case "strict":
		return http.SameSiteStrictMode
	case "lax":
		return http.SameSiteLaxMode
	case "none":
		return http.SameSiteNoneMode
	}
	return 0
}

// fromHTTP is the face of parse for a cookie that net/http has parsed already.
func fromHTTP(c *http.Cookie, now time.Time) received {
	r := received{
		name: trimSpace(c.Name), value: trimSpace(c.Value),
		domain: strings.TrimPrefix(c.Domain, "."), path: c.Path, hasPath: c.Path != "",
		secure: c.Secure, httpOnly: c.HttpOnly,
	}
	if c.Quoted {
		r.value = `"` + c.Value + `"`
	}
	if !strings.HasPrefix(r.path, "/") {
		r.path = ""
	}
	if c.SameSite != http.SameSiteDefaultMode {
		r.sameSite = c.SameSite
	}
	switch {
	case c.MaxAge < 0:
		r.expires = ended
	case c.MaxAge > 0:
		r.expires = now.Add(time.Duration(min(int64(c.MaxAge), int64(maxAge/time.Second))) * time.Second)
	case !c.Expires.IsZero():
		r.expires = c.Expires
	case c.RawExpires != "": // in a form that net/http does not read
		if t, ok := parseDate(c.RawExpires); ok {
			r.expires = t
		}
	}
	return r
}
