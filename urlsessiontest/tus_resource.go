package urlsessiontest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// resource answers a request for an upload resource.
func (s *TusServer) resource(x *uploadExchange, up *uploadResource) {
	if s.locks {
		if !up.tryAcquire(x) {
			x.answer(UploadAnswer{Status: http.StatusLocked})
			return
		}
	} else {
		up.acquire(x)
	}
	defer up.release(x)
	for _, before := range x.reply.before {
		before(up)
		up.settle()
	}
	if state := up.state(); state.Gone != 0 {
		x.refuse(state.Gone, "the upload is not active")
		return
	}
	switch {
	case x.req.Method == http.MethodHead:
		s.tell(x, up)
	case x.req.Method == http.MethodPatch:
		s.appendTo(x, up)
	case x.req.Method == http.MethodDelete && s.offers("termination"):
		up.goAway(http.StatusNotFound)
		x.answer(UploadAnswer{Status: http.StatusNoContent})
	default:
		x.answer(UploadAnswer{Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {"HEAD, PATCH"}}})
	}
}

// tell answers HEAD.
func (s *TusServer) tell(x *uploadExchange, up *uploadResource) {
	state := up.state()
	h := http.Header{"Upload-Offset": {strconv.FormatInt(state.Offset, 10)}, "Cache-Control": {"no-store"}}
	if state.Length >= 0 {
		h.Set("Upload-Length", strconv.FormatInt(state.Length, 10))
	} else {
		h.Set("Upload-Defer-Length", "1")
	}
	for _, name := range []string{"Upload-Metadata", "Upload-Concat"} {
		setOrDelete(h, name, state.Header.Get(name))
	}
	setOrDelete(h, "Upload-Expires", s.expires(up))
	x.answer(UploadAnswer{Status: http.StatusOK, Header: h})
}

// appendTo answers PATCH.
func (s *TusServer) appendTo(x *uploadExchange, up *uploadResource) {
	state := up.state()
	offset, ok := tusInteger(x.req.Header, "Upload-Offset")
	length, given := tusInteger(x.req.Header, "Upload-Length")
	switch {
	case s.offers("concatenation") && strings.HasPrefix(state.Header.Get("Upload-Concat"), "final;"):
		x.refuse(http.StatusForbidden, "a final upload takes no content")
		return
	case x.req.Header.Get("Content-Type") != offsetStream:
		x.answer(UploadAnswer{Status: http.StatusUnsupportedMediaType})
		return
	case !ok:
		x.refuse(http.StatusBadRequest, "an append has an Upload-Offset")
		return
	case offset != state.Offset || x.reply.conflict:
		x.answer(UploadAnswer{Status: http.StatusConflict})
		return
	case given && state.Length >= 0 && length != state.Length:
		x.refuse(http.StatusBadRequest, "the length of the upload is known, and is another")
		return
	case given && s.tooLong(length):
		x.answer(UploadAnswer{Status: http.StatusRequestEntityTooLarge})
		return
	case given:
		up.update(func(u *Upload) { u.Length = length })
	}
	s.transfer(x, up, UploadAnswer{Status: http.StatusNoContent, Header: make(http.Header)})
}

// tusInteger is a field that is a decimal without a sign.
func tusInteger(h http.Header, name string) (int64, bool) {
	n, err := strconv.ParseUint(h.Get(name), 10, 63)
	return int64(n), err == nil
}

// tusSum is what a request's Upload-Checksum promises of its content, and what
// that is found to have. The zero value promises nothing.
type tusSum struct {
	hash hash.Hash
	want []byte
}

// checksum reads Upload-Checksum, which a server without the extension ignores.
// A refusal says what is wrong with it.
func (s *TusServer) checksum(req *http.Request) (sum tusSum, refusal string) {
	field := req.Header.Get("Upload-Checksum")
	if field == "" || !s.offers("checksum") {
		return tusSum{}, ""
	}
	algorithm, value, _ := strings.Cut(field, " ")
	want, err := base64.StdEncoding.DecodeString(value)
	switch {
	case !slices.Contains(s.checksums, algorithm):
		return tusSum{}, fmt.Sprintf("checksum algorithm %q is none of %s", algorithm, strings.Join(s.checksums, ", "))
	case err != nil:
		return tusSum{}, "the checksum is no base64"
	}
	return tusSum{tusAlgorithms[algorithm](), want}, ""
}

func (c tusSum) promised() bool { return c.hash != nil }

func (c tusSum) Write(p []byte) {
	if c.promised() {
		c.hash.Write(p)
	}
}

func (c tusSum) matches() bool { return !c.promised() || bytes.Equal(c.hash.Sum(nil), c.want) }
