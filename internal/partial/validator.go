package partial

import (
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// strongAge is how much older than its response a Last-Modified must be to count as strong.
//
// RFC 9110 §8.8.2.2 asks for a Date at least one second after Last-Modified and either reason to believe that one
// clock made both or a difference that makes trouble with two clocks unlikely. A client knows nothing of the server's
// clocks, so it goes by the difference: a minute, the one that RFC 7232 §2.2.2 named. The price is that a file changed
// within the minute before its download starts over when it is interrupted; the gain is no mixed file.
const strongAge = time.Minute

// A Validator says of which version of a resource some bytes are: the response's fields of RFC 9110 §8.8, as sent.
// The zero Validator says nothing. Fit to be compared field by field; not a secret.
type Validator struct {
	ETag         string // a well-formed entity tag, weak or strong, or empty
	LastModified string
	Date         string // of the response that had LastModified
}

// FromHeader takes the validator from a response's header. An ETag that cannot be compared (malformed, not UTF-8, or
// two that differ) makes it the zero Validator: there was an entity tag, so that Last-Modified does not count
// (RFC 9110 §13.1.5).
func FromHeader(h http.Header) Validator {
	v := Validator{LastModified: h.Get("Last-Modified"), Date: h.Get("Date")}
	for i, tag := range h.Values("ETag") {
		if !wellFormed(tag) || i > 0 && tag != v.ETag {
			return Validator{}
		}
		v.ETag = tag
	}
	return v
}

// IfRange is the value of If-Range by which a range of this very version can be asked for, and whether there is one: a
// strong entity tag, or a strong Last-Modified where no entity tag came at all (RFC 9110 §13.1.5).
func (v Validator) IfRange() (string, bool) {
	switch {
	case v.ETag != "":
		return v.ETag, v.ETag[0] == '"' && wellFormed(v.ETag)
	case v.strongDate():
		return v.LastModified, true
	}
	return "", false
}

// Strong reports whether v tells versions apart that differ in a single byte (RFC 9110 §8.8.1).
func (v Validator) Strong() bool {
	_, ok := v.IfRange()
	return ok
}

// Matches reports whether other, of a 206, stands for the same version as v, of the bytes that are held: both strong,
// of the same kind, and equal (RFC 9110 §8.8.3.2, §15.3.7.3). It is false when either says nothing: a 206 without a
// validator could be of any version.
func (v Validator) Matches(other Validator) bool {
	held, strong := v.IfRange()
	sent, alsoStrong := other.IfRange()
	return strong && alsoStrong && held == sent && (v.ETag == "") == (other.ETag == "")
}

func (v Validator) strongDate() bool {
	modified, err := http.ParseTime(v.LastModified)
	if err != nil {
		return false
	}
	sent, err := http.ParseTime(v.Date)
	return err == nil && sent.Sub(modified) >= strongAge
}

// wellFormed reports whether tag is an entity-tag of RFC 9110 §8.8.3 and valid UTF-8, which a record can keep.
func wellFormed(tag string) bool {
	opaque, ok := strings.CutPrefix(strings.TrimPrefix(tag, "W/"), `"`)
	if !ok {
		return false
	}
	opaque, ok = strings.CutSuffix(opaque, `"`)
	if !ok || !utf8.ValidString(opaque) {
		return false
	}
	for i := range len(opaque) {
		if c := opaque[i]; c < 0x21 || c == '"' || c == 0x7f {
			return false
		}
	}
	return true
}
