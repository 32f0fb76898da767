package transfer

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// dispositionName is the file name that a response's Content-Disposition gives, as sent: it is not safe yet. Empty: it
// gives none.
//
// RFC 6266 with the grammar of RFC 8187 for filename*, read as servers write it: types may be missing, values
// unquoted with spaces, quotes unclosed. filename* goes before the continuations of RFC 2231 (filename*0, filename*1*),
// those before filename. Of two of the same name the first counts.
func dispositionName(h http.Header) string {
	for _, field := range h.Values("Content-Disposition") {
		if name := parseDisposition(field).name(); name != "" {
			return name
		}
	}
	return ""
}

// A disposition holds the parameters of one Content-Disposition that name a file.
type disposition struct {
	plain, extended string
	pieces          []piece
}

// A piece is one of RFC 2231's continuations.
type piece struct {
	number int
	coded  bool // its value is percent-coded; the first such one begins with charset'language'
	value  string
}

// maxPieces bounds the continuations that are looked at.
const maxPieces = 64

func parseDisposition(field string) disposition {
	var d disposition
	for first := true; field != ""; first = false {
		var name, value string
		name, value, field = nextParameter(field)
		if first && value == "" { // the type
			continue
		}
		rest, ok := strings.CutPrefix(strings.ToLower(name), "filename")
		switch {
		case !ok || value == "":
		case rest == "":
			if d.plain == "" {
				d.plain = value
			}
		case rest == "*":
			if d.extended == "" {
				d.extended = decodeExtended(value)
			}
		default:
			d.addPiece(rest, value)
		}
	}
	return d
}

func (d *disposition) addPiece(suffix, value string) {
	digits, ok := strings.CutPrefix(suffix, "*")
	if !ok || len(d.pieces) == maxPieces {
		return
	}
	digits, coded := strings.CutSuffix(digits, "*")
	if n, err := strconv.ParseUint(digits, 10, 8); err == nil {
		d.pieces = append(d.pieces, piece{int(n), coded, value})
	}
}

func (d disposition) name() string {
	if d.extended != "" {
		return d.extended
	}
	if name := d.joined(); name != "" {
		return name
	}
	name := d.plain
	if strings.Contains(name, "=?") { // RFC 2047, which RFC 6266 has no place for and servers send
		if decoded, err := new(mime.WordDecoder).DecodeHeader(name); err == nil {
			name = decoded
		}
	}
	if !utf8.ValidString(name) {
		name = latin1(name)
	}
	return name
}

// joined puts the continuations together: 0, 1, 2 … up to the first that is missing.
func (d disposition) joined() string {
	var b strings.Builder
	charset := ""
	for n := 0; ; n++ {
		found := false
		for _, p := range d.pieces {
			if p.number != n {
				continue
			}
			found = true
			if !p.coded {
				b.WriteString(p.value)
				break
			}
			text := p.value
			if n == 0 {
				if charset, text, found = cutCharset(text); !found {
					return ""
				}
			}
			raw, ok := percentDecode(text)
			if !ok {
				return ""
			}
			b.WriteString(raw)
			break
		}
		if !found {
			break
		}
	}
	text, _ := decodeCharset(charset, b.String())
	return text
}

// nextParameter takes "name=value;" from the front of s. The value is empty where there is no "=".
func nextParameter(s string) (name, value, rest string) {
	i := strings.IndexAny(s, "=;")
	if i < 0 {
		return trimOWS(s), "", ""
	}
	name = trimOWS(s[:i])
	if s[i] == ';' {
		return name, "", s[i+1:]
	}
	s = strings.TrimLeft(s[i+1:], " \t")
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ";")
		return name, trimOWS(value), rest
	}
	value, rest = quotedString(s[1:])
	_, rest, _ = strings.Cut(rest, ";")
	return name, value, rest
}

// quotedString reads up to the closing quote, or to the end where there is none (RFC 9110 §5.6.4).
func quotedString(s string) (value, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:]
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// decodeExtended reads an ext-value of RFC 8187 §3.2; empty where it is not one, so that filename counts.
func decodeExtended(s string) string {
	charset, text, ok := cutCharset(s)
	if !ok {
		return ""
	}
	raw, ok := percentDecode(text)
	if !ok {
		return ""
	}
	text, _ = decodeCharset(charset, raw)
	return text
}

// cutCharset takes charset'language' from the front of s.
func cutCharset(s string) (charset, text string, ok bool) {
	charset, rest, ok := strings.Cut(s, "'")
	if !ok {
		return "", "", false
	}
	_, text, ok = strings.Cut(rest, "'")
	return charset, text, ok
}

func decodeCharset(charset, raw string) (string, bool) {
	switch strings.ToLower(charset) {
	case "", "utf-8", "us-ascii":
		if utf8.ValidString(raw) {
			return raw, true
		}
		if charset == "" {
			return latin1(raw), true
		}
	case "iso-8859-1", "latin1", "windows-1252":
		return latin1(raw), true
	}
	return "", false
}

// percentDecode is strict: a percent sign without two hex digits is an error.
func percentDecode(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(n))
		i += 2
	}
	return string(b), true
}

// latin1 reads each byte as the character of its number (ISO-8859-1).
func latin1(s string) string {
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

func trimOWS(s string) string { return strings.Trim(s, " \t") }
