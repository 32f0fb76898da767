package httpcache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// directives are those of Cache-Control, each once. They are not changed.
type directives []directive

// directive has its name in lower case. arg is "" where there is none.
type directive struct{ name, arg string }

// maxDirectives is how many different ones a message may have. With more it counts as tooMany: not stored, and not used unasked.
const maxDirectives = 64

var tooMany = directives{{name: "no-store"}, {name: "no-cache"}}

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
			return directives{{name: "no-cache"}}
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
			if all = all.with(name, arg, hasArg); len(all) > maxDirectives {
				return tooMany
			}
		}
	}
	return all
}

// with is d, which is changed, with one more directive, or one that says both where it is there already.
func (d directives) with(name, arg string, hasArg bool) directives {
	i := d.index(name)
	twice, old := i >= 0, ""
	if twice {
		old = d[i].arg
	}
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
	if !twice {
		return append(d, directive{name, arg})
	}
	d[i].arg = arg
	return d
}

// index is where a directive stands; -1: there is none of that name.
func (d directives) index(name string) int {
	return slices.IndexFunc(d, func(x directive) bool { return x.name == name })
}

// lookup is the argument of a directive.
func (d directives) lookup(name string) (arg string, ok bool) {
	if i := d.index(name); i >= 0 {
		return d[i].arg, true
	}
	return "", false
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

func (d directives) has(name string) bool { return d.index(name) >= 0 }

// always reports whether there is a directive without field names, which speaks of the whole response.
func (d directives) always(name string) bool {
	v, ok := d.lookup(name)
	return ok && v == ""
}

// fields are the canonical field names that a directive is qualified by.
func (d directives) fields(name string) []string {
	var names []string
	arg, _ := d.lookup(name)
	for f := range strings.SplitSeq(arg, ",") {
		if f = strings.TrimSpace(f); f != "" {
			names = append(names, http.CanonicalHeaderKey(f))
		}
	}
	return names
}

// seconds is the directive's argument; 0 where it is no number. ok is false where there is no such directive.
func (d directives) seconds(name string) (_ time.Duration, ok bool) {
	v, ok := d.lookup(name)
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
