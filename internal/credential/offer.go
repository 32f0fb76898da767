package credential

import "strings"

// Offer is a challenge of a WWW-Authenticate or Proxy-Authenticate field (RFC 9110 §11.6.1): a scheme by which the server
// would take proof. ("Challenge" is here, as in NSURLSession, the question that is put to the app.)
type Offer struct {
	Scheme  string // as it was written
	Token68 string // what stands in place of parameters, such as NTLM's message
	Params  []Param
}

// Param is one parameter of an Offer. Value is without its quotes.
type Param struct{ Name, Value string }

// Param is the value of the parameter of that name, which may be in any case; of several, the first. Empty: there is none.
func (o Offer) Param(name string) string {
	value, _ := o.param(name)
	return value
}

func (o Offer) param(name string) (string, bool) {
	for _, p := range o.Params {
		if strings.EqualFold(p.Name, name) {
			return p.Value, true
		}
	}
	return "", false
}

// Limits on what a server may make us read; net/http bounds the head as a whole.
const (
	maxOffers = 32
	maxParams = 64
)

// ParseOffers reads the values of all fields of one name: several challenges may stand in one field, and several fields are
// as one with commas in between. What is not well formed is left out, with the challenge that it is part of, and reading
// goes on at the next: servers do send such, and one scheme's mistake is not another's.
func ParseOffers(fields []string) []Offer {
	var all []Offer
	for _, field := range fields {
		all = append(all, parseOffers(field)...)
		if len(all) >= maxOffers {
			return all[:maxOffers]
		}
	}
	return all
}

func parseOffers(field string) (all []Offer) {
	in := scanner{rest: field}
	good := false // the challenge that is being read
	var o Offer
	end := func() {
		if good {
			all = append(all, o)
		}
		o, good = Offer{}, false
	}
	for len(all) < maxOffers {
		in.skip(" \t,")
		if in.rest == "" {
			break
		}
		name := in.token()
		if name == "" { // no token may begin so
			good = false
			in.toComma()
			continue
		}
		spaced := in.skip(" \t")
		if strings.HasPrefix(in.rest, "=") { // name = value, of the challenge that was begun
			in.rest = in.rest[1:]
			in.skip(" \t")
			value, ok := in.value()
			if !ok || o.Token68 != "" || len(o.Params) >= maxParams {
				good = false
			} else if o.Scheme != "" {
				o.Params = append(o.Params, Param{name, value})
			}
			in.skip(" \t")
			if in.rest != "" && in.rest[0] != ',' { // "a=b c=d": a comma was forgotten, or worse
				good = false
				in.toComma()
			}
			continue
		}
		end()
		o, good = Offer{Scheme: name}, spaced || in.rest == "" || in.rest[0] == ','
		if !good {
			in.toComma()
			continue
		}
		o.Token68 = in.token68()
	}
	end()
	return all
}

// scanner reads a field from its left.
type scanner struct{ rest string }

// skip passes bytes of set, and reports whether there were any.
func (s *scanner) skip(set string) bool {
	rest := strings.TrimLeft(s.rest, set)
	skipped := len(rest) < len(s.rest)
	s.rest = rest
	return skipped
}

// token is RFC 9110 §5.6.2's; empty: none stands here.
func (s *scanner) token() string {
	n := 0
	for n < len(s.rest) && isTokenByte(s.rest[n]) {
		n++
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

// token68 is RFC 9110 §11.2's, if the list's element is one to its end. It is told from the name of a parameter by that:
// "a=" is a token68, "a=b" is none.
func (s *scanner) token68() string {
	n := 0
	for n < len(s.rest) && (isAlphanumeric(s.rest[n]) || strings.IndexByte("-._~+/", s.rest[n]) >= 0) {
		n++
	}
	if n == 0 {
		return ""
	}
	for n < len(s.rest) && s.rest[n] == '=' {
		n++
	}
	if rest := strings.TrimLeft(s.rest[n:], " \t"); rest != "" && rest[0] != ',' {
		return ""
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

// value is a token or a quoted string. Unquoted, it goes up to a comma or a space whatever it holds: servers forget quotes.
func (s *scanner) value() (string, bool) {
	if !strings.HasPrefix(s.rest, `"`) {
		n := strings.IndexAny(s.rest, " \t,\"")
		if n < 0 {
			n = len(s.rest)
		}
		v := s.rest[:n]
		s.rest = s.rest[n:]
		return v, true
	}
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return b.String(), true
		case c == '\\' && i+1 < len(s.rest):
			i++
			b.WriteByte(s.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	s.rest = "" // the quote is never closed
	return "", false
}

func (s *scanner) toComma() {
	if n := strings.IndexByte(s.rest, ','); n >= 0 {
		s.rest = s.rest[n:]
	} else {
		s.rest = ""
	}
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isTokenByte(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// quote writes a value as a quoted string.
func quote(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
