package transfer

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/urlsession/urlsession/internal/task"
)

// An interop is a version of draft-ietf-httpbis-resumable-upload, by the number that Upload-Draft-Interop-Version has: a
// server reads only requests of a version that is its own, and takes others for plain ones. 3 is draft -01, 4 is -02, 5 is
// -03, 6 is -04 and -05, 7 is -06 to -08, 8 is -09 to -12.
type interop int

// offers are the versions that a creation is tried by, in order. 0 is a plain upload.
var offers = []interop{8, 7, 6, 5, 4, 3, 0}

// less are the offers that are left when a server has refused the first of these. Where nobody has asked for an upload that
// resumes, they are those that the server has said to know, and the plain one: what refuses without a word may have a
// reason of its own.
func less(left []interop, resp *http.Response, how task.Resumable) []interop {
	left = left[1:]
	if named, ok := integer(resp.Header, interopField); ok { // as swift-nio names its newest
		if i := slices.Index(left, interop(named)); i >= 0 {
			return left[i:]
		}
	}
	if how == task.ResumableAuto {
		return left[len(left)-1:]
	}
	return left
}

// interimStatus is 104, Upload Resumption Supported.
const interimStatus = 104

const (
	interopField    = "Upload-Draft-Interop-Version"
	offsetField     = "Upload-Offset"
	lengthField     = "Upload-Length"
	limitField      = "Upload-Limit"
	completeField   = "Upload-Complete"
	incompleteField = "Upload-Incomplete"

	partialUpload = "application/partial-upload"
)

func (v interop) announce(h http.Header) { h.Set(interopField, strconv.Itoa(int(v))) }

// create makes h that of a creation; whole: of one that has all of the body.
func (v interop) create(h http.Header, size int64, whole bool) {
	v.announce(h)
	v.setComplete(h, whole)
	if v >= 6 {
		h.Set(lengthField, strconv.FormatInt(size, 10))
	}
}

func (v interop) append(h http.Header, offset int64, last bool) {
	v.announce(h)
	v.setComplete(h, last)
	h.Set(offsetField, strconv.FormatInt(offset, 10))
	if v >= 6 {
		h.Set("Content-Type", partialUpload)
	}
}

// setComplete says whether the request's end is the upload's.
func (v interop) setComplete(h http.Header, complete bool) {
	name, value := completeField, complete
	if v == 3 {
		name, value = incompleteField, !complete
	}
	text, _ := httpsfv.Marshal(httpsfv.NewItem(value)) // of a boolean it cannot fail
	h.Set(name, text)
}

// complete is what an answer says of the whole upload; false without said where it says nothing. Either field is read in
// each version: a server in the field has them mixed up.
func (v interop) complete(h http.Header, _ int64) (complete, said bool) {
	if complete, said = boolean(h, completeField); said {
		return complete, true
	}
	incomplete, said := boolean(h, incompleteField)
	return said && !incomplete, said
}

// limits reads Upload-Limit. Its max-append-size is of a creation too from version 8 on, where one limit that is no number
// voids the field.
func (v interop) limits(h http.Header) uploadLimits {
	d, err := httpsfv.UnmarshalDictionary(h.Values(limitField))
	if err != nil {
		return uploadLimits{}
	}
	l := uploadLimits{creation: v >= 8}
	for _, name := range d.Names() {
		member, _ := d.Get(name)
		i, _ := member.(httpsfv.Item)
		n, ok := i.Value.(int64)
		ok = ok && n >= 0
		switch name {
		case "max-size":
			l.maxSize = n
		case "max-append-size":
			l.maxAppend = n
		case "expires", "max-age": // the former up to version 6
			if ok {
				l.expires = time.Now().Add(time.Duration(min(n, math.MaxInt32)) * time.Second)
			}
		default:
			continue
		}
		if !ok && v >= 8 {
			return uploadLimits{}
		}
	}
	return l
}

// integer is a structured field that is a number of bytes (RFC 9651 §3.3.1); false: it is absent, or anything else.
func integer(h http.Header, name string) (int64, bool) {
	n, ok := item(h, name).(int64)
	return n, ok && n >= 0
}

func boolean(h http.Header, name string) (value, ok bool) {
	value, ok = item(h, name).(bool)
	return value, ok
}

// item is a structured field's bare item; nil: there is none.
func item(h http.Header, name string) any {
	values := h.Values(name)
	if len(values) == 0 {
		return nil
	}
	i, err := httpsfv.UnmarshalItem(values)
	if err != nil {
		return nil
	}
	return i.Value
}
