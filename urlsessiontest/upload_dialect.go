package urlsessiontest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The interop versions of draft-ietf-httpbis-resumable-upload that an
// [UploadServer] speaks: 3 is draft -01, 4 is -02, 5 is -03, 6 is -04 and -05, 7
// is -06 to -08, 8 is -09 to -12, and the rules of the last of each hold.
const (
	firstInterop = 3
	lastInterop  = 8
)

const partialUpload = "application/partial-upload"

// dialect is what the interop versions say differently.
type dialect int

// complete is what a request says of completeness, if it does.
func (d dialect) complete(h http.Header) (complete, given bool) {
	if d == 3 {
		incomplete, ok := booleanField(h, "Upload-Incomplete")
		return !incomplete, ok
	}
	return booleanField(h, "Upload-Complete")
}

func (d dialect) setComplete(h http.Header, complete bool) {
	name, value := "Upload-Complete", complete
	if d == 3 {
		name, value = "Upload-Incomplete", !complete
	}
	h.Set(name, map[bool]string{true: "?1", false: "?0"}[value])
}

// flagOptional: an append without a word of completeness is the last one.
func (d dialect) flagOptional() bool { return d < 6 }

// typed: an append has a media type, lengths and limits have fields, and errors
// are problems.
func (d dialect) typed() bool { return d >= 6 }

// strict: HEAD and DELETE with fields of the upload are malformed, and answers
// tell the offset.
func (d dialect) strict() bool { return d <= 6 }

// targetAnswers: a complete append is answered as the target would answer, and
// every append says whether it completed.
func (d dialect) targetAnswers() bool { return d >= 7 }

// reports: 104s with Upload-Offset tell the progress.
func (d dialect) reports() bool { return d >= 5 }

// length is what the request says of the whole's length, −1 if nothing; ok is
// false if it contradicts itself.
func (d dialect) length(req *http.Request, offset int64, complete bool) (n int64, ok bool) {
	n = -1
	if complete && req.ContentLength >= 0 {
		n = offset + req.ContentLength
	}
	if said, given := integerField(req.Header, "Upload-Length"); d.typed() && given && said >= 0 {
		if n >= 0 && n != said {
			return 0, false
		}
		n = said
	}
	return n, true
}

// UploadLimit is what a server takes (interop version 6 and later say it). Zeros
// are no limits. MaxAppendSize holds for creations from version 8 on.
type UploadLimit struct {
	MaxSize, MinSize             int64         // bytes of the whole
	MaxAppendSize, MinAppendSize int64         // bytes of one request
	MaxAge                       time.Duration // how long an upload resource is active; it ends with 410
}

// UploadLimits makes the server enforce and tell a limit.
func UploadLimits(limit UploadLimit) UploadOption {
	return func(h *uploadHost) { h.limit = limit }
}

// limits is the Upload-Limit of an upload that has left to live; empty if there
// is none to tell.
func (d dialect) limits(l UploadLimit, left time.Duration) string {
	var members []string
	add := func(key string, n int64) {
		if n > 0 {
			members = append(members, fmt.Sprintf("%s=%d", key, n))
		}
	}
	if !d.typed() {
		return ""
	}
	add("max-size", l.MaxSize)
	add("min-size", l.MinSize)
	add("max-append-size", l.MaxAppendSize)
	add("min-append-size", l.MinAppendSize)
	age := "max-age"
	if d == 6 {
		age = "expires"
	}
	add(age, int64(left/time.Second))
	return strings.Join(members, ", ")
}

// problem is an error, from interop version 6 on by RFC 9457.
func (d dialect) problem(status int, kind, title string, members ...string) UploadAnswer {
	a := UploadAnswer{Status: status, Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, Body: title + "\n"}
	if d.typed() {
		a.Header.Set("Content-Type", "application/problem+json")
		a.Body = fmt.Sprintf(`{"type":"https://iana.org/assignments/http-problem-types#%s","title":%q%s}`, kind, title, strings.Join(members, ""))
	}
	return a
}

func (d dialect) mismatch(expected, provided int64) UploadAnswer {
	a := d.problem(http.StatusConflict, "mismatching-upload-offset", "offset from request does not match offset of resource",
		fmt.Sprintf(`,"expected-offset":%d,"provided-offset":%d`, expected, provided))
	a.Header.Set("Upload-Offset", strconv.FormatInt(expected, 10))
	return a
}

func (d dialect) inconsistent() UploadAnswer {
	return d.problem(http.StatusBadRequest, "inconsistent-upload-length", "inconsistent length values for upload")
}

// completed is the answer to an append to a complete upload; before version 6 the
// drafts leave it open.
func (d dialect) completed(offset int64, content bool) UploadAnswer {
	switch {
	case !d.typed():
		a := d.mismatch(offset, offset)
		d.setComplete(a.Header, true)
		return a
	case d < 8:
		return d.problem(http.StatusBadRequest, "completed-upload", "upload is already completed")
	case content:
		return d.inconsistent()
	}
	return d.problem(http.StatusGone, "completed-upload", "upload is already completed")
}
