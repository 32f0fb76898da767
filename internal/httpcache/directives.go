package httpcache

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// directives are those of Cache-Control, by name in lower case. The value is "" where there is none. It is not changed.
type directives map[string]string

// invalid stands for a value that is none: of two that differ, or of one that cannot be read. A response of invalid
// freshness is stale (RFC 9111, section 4.2.1).
const invalid = "?"

// maxSeconds is what larger numbers of seconds count as (RFC 9111, section 1.2.2).
const maxSeconds = 1 << 31

// responseDirectives are those of a response.
func responseDirectives(h http.Header) directives { return parseDirectives(h["Cache-Control"]) }

// requestDirectives are those of a request: where it has no Cache-Control, Pragma: no-cache is one (RFC 9111, section 5.4).
func requestDirectives(h http.Header) directives {
	if values := h["Cache-Control"]; len(values) > 0 {
		return parseDirectives(values)
	}
	for _, v := range h["Pragma"] {
		if parseDirectives([]string{v}).has("no-cache") {
			return directives{"no-cache": ""}
		}
	}
	return nil
}

// parseDirectives reads Cache-Control leniently: arguments may be quoted or not, whatever the directive; what is no
// directive is skipped up to the next comma.
func parseDirectives(values []string) directives {
	var all directives
	for _, v := range values {
		for v != "" {
			var name, arg string
			var hasArg bool
			name, arg, hasArg, v = nextDirective(v)
			if name == "" {
				continue
			}
			if all == nil {
				all = make(directives)
			}
			all.add(name, arg, hasArg)
		}
	}
	return all
}

func (d directives) add(name, arg string, hasArg bool) {
	old, twice := d[name]
	switch name {
	case "no-cache", "private": // the one without fields says more
		if twice && (old == "" || arg == "") {
			arg = ""
		} else if twice {
			arg = old + "," + arg
		}
	case "max-stale":
		if hasArg && arg == "" {
			arg = invalid
		}
	default:
		if twice && old != arg {
			arg = invalid
		}
	}
	d[name] = arg
}

// nextDirective cuts the first directive off v. name is "" where there is none.
func nextDirective(v string) (name, arg string, hasArg bool, rest string) {
	v = strings.TrimLeft(v, " \t,")
	i := 0
	for i < len(v) && isToken(v[i]) {
		i++
	}
	name, v = strings.ToLower(v[:i]), strings.TrimLeft(v[i:], " \t")
	if name != "" && v != "" && v[0] == '=' {
		hasArg = true
		v = strings.TrimLeft(v[1:], " \t")
		if v != "" && v[0] == '"' {
			arg, v = unquote(v)
		} else {
			i := strings.IndexByte(v, ',')
			if i < 0 {
				i = len(v)
			}
			arg, v = strings.TrimRight(v[:i], " \t"), v[i:]
		}
	} else if name != "" && v != "" && v[0] != ',' {
		name = ""
	}
	_, rest, _ = strings.Cut(v, ",")
	return name, arg, hasArg, rest
}

// unquote reads the quoted string that v begins with. One that does not end takes all of v.
func unquote(v string) (text, rest string) {
	var b strings.Builder
	for i := 1; i < len(v); i++ {
		switch {
		case v[i] == '"':
			return b.String(), v[i+1:]
		case v[i] == '\\' && i+1 < len(v):
			i++
		}
		b.WriteByte(v[i])
	}
	return b.String(), ""
}

// isToken is RFC 9110's tchar (section 5.6.2).
func isToken(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func (d directives) has(name string) bool {
	_, ok := d[name]
	return ok
}

// always reports whether there is a directive without field names, which speaks of the whole response.
func (d directives) always(name string) bool {
	v, ok := d[name]
	return ok && v == ""
}

// fields are the canonical field names that a directive is qualified by.
func (d directives) fields(name string) []string {
	var names []string
	for f := range strings.SplitSeq(d[name], ",") {
		if f = strings.TrimSpace(f); f != "" {
			names = append(names, http.CanonicalHeaderKey(f))
		}
	}
	return names
}

// seconds is the directive's argument; 0 where it is no number. ok is false where there is no such directive.
func (d directives) seconds(name string) (_ time.Duration, ok bool) {
	v, ok := d[name]
	if !ok {
		return 0, false
	}
	s, _ := parseSeconds(v)
	return s, true
}

// parseSeconds reads delta-seconds.
func parseSeconds(v string) (_ time.Duration, ok bool) {
	if v == "" {
		return 0, false
	}
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n > maxSeconds {
		n = maxSeconds
	}
	return time.Duration(n) * time.Second, true
}
