package urlsessiontest

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
)

// resource answers a request for an upload resource.
func (s *UploadServer) resource(x *uploadExchange, up *uploadResource) {
	up.acquire(x)
	defer up.release(x)
	for _, before := range x.reply.before {
		before(up)
	}
	d := dialect(up.upload.Version)
	state := up.state()
	switch {
	case state.Gone != 0:
		x.refuse(state.Gone, "the upload is not active")
		return
	case x.reply.Version != state.Version:
		x.refuse(http.StatusBadRequest, fmt.Sprintf("the upload is of interop version %d", state.Version))
		return
	}
	switch x.req.Method {
	case http.MethodHead:
		s.tell(x, up, d)
	case http.MethodPatch:
		s.appendTo(x, up, d)
	case http.MethodDelete:
		if d.strict() && saysState(x.req.Header) {
			x.refuse(http.StatusBadRequest, "a cancellation has no fields of the upload's state")
			return
		}
		up.goAway(http.StatusNotFound)
		x.answer(UploadAnswer{Status: http.StatusNoContent})
	default:
		x.answer(UploadAnswer{Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {"DELETE, HEAD, PATCH"}}})
	}
}

// saysState reports whether a request that asks tells something too.
func saysState(h http.Header) bool {
	for _, name := range []string{"Upload-Offset", "Upload-Complete", "Upload-Incomplete", "Upload-Length"} {
		if h.Get(name) != "" {
			return true
		}
	}
	return false
}

// tell answers HEAD.
func (s *UploadServer) tell(x *uploadExchange, up *uploadResource, d dialect) {
	if d.strict() && saysState(x.req.Header) {
		x.refuse(http.StatusBadRequest, "to ask for the offset has no fields of the upload's state")
		return
	}
	state := up.state()
	h := http.Header{"Upload-Offset": {strconv.FormatInt(state.Offset, 10)}, "Cache-Control": {"no-store"}}
	d.setComplete(h, state.Complete)
	if d.typed() && state.Length >= 0 {
		h.Set("Upload-Length", strconv.FormatInt(state.Length, 10))
	}
	setOrDelete(h, "Upload-Limit", d.limits(s.limit, s.left(up)))
	if state.Complete {
		setOrDelete(h, "Repr-Digest", up.wanted())
	}
	x.answer(UploadAnswer{Status: http.StatusNoContent, Header: h})
}

// appendTo answers PATCH.
func (s *UploadServer) appendTo(x *uploadExchange, up *uploadResource, d dialect) {
	state := up.state()
	offset, ok := integerField(x.req.Header, "Upload-Offset")
	complete, given := d.complete(x.req.Header)
	if !given && d.flagOptional() {
		complete, given = true, true
	}
	length, consistent := d.length(x.req, offset, complete)
	switch media, _, _ := mime.ParseMediaType(x.req.Header.Get("Content-Type")); {
	case d.typed() && media != partialUpload:
		x.answer(UploadAnswer{Status: http.StatusUnsupportedMediaType, Header: http.Header{"Accept-Patch": {partialUpload}}})
	case !ok || offset < 0:
		x.refuse(http.StatusBadRequest, "an append has an Upload-Offset")
	case !given:
		x.refuse(http.StatusBadRequest, "an append has an Upload-Complete")
	case state.Complete && !x.reply.conflict:
		x.answer(d.completed(state.Offset, hasContent(x.req)))
	case offset != state.Offset || x.reply.conflict:
		a := d.mismatch(state.Offset, offset)
		if !d.targetAnswers() || d == 8 {
			d.setComplete(a.Header, state.Complete)
		}
		x.answer(a)
	case !consistent, length >= 0 && state.Length >= 0 && length != state.Length:
		x.answer(d.inconsistent())
	case s.limit.MaxSize > 0 && length > s.limit.MaxSize, d.typed() && s.limit.MaxAppendSize > 0 && x.req.ContentLength > s.limit.MaxAppendSize:
		s.tooLarge(x, d)
	case d.typed() && !complete && x.req.ContentLength >= 0 && x.req.ContentLength < s.limit.MinAppendSize:
		x.refuse(http.StatusBadRequest, fmt.Sprintf("an append has at least %d bytes", s.limit.MinAppendSize))
	default:
		if length >= 0 {
			up.update(func(u *Upload) { u.Length = length })
		}
		s.transfer(x, up, complete, make(http.Header))
	}
}

// hasContent reports whether the body, of which nothing was read, has a byte.
func hasContent(req *http.Request) bool {
	if req.ContentLength >= 0 {
		return req.ContentLength > 0
	}
	n, _ := io.ReadFull(req.Body, make([]byte, 1))
	return n > 0
}
