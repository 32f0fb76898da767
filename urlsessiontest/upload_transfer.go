package urlsessiontest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// What an upload does not take.
var (
	errTooMuch  = errors.New("urlsessiontest: more than the upload's length")
	errTooLarge = errors.New("urlsessiontest: more than the limit")
)

// create takes a first request: of an upload that resumes, or a plain one.
func (s *UploadServer) create(x *uploadExchange) {
	d := dialect(x.reply.Version)
	complete, given := d.complete(x.req.Header)
	if d == 0 || !given {
		s.plain(x)
		return
	}
	if d.strict() && x.req.Header.Get("Upload-Offset") != "" {
		x.refuse(http.StatusBadRequest, "a creation has no Upload-Offset")
		return
	}
	length, ok := d.length(x.req, 0, complete)
	switch {
	case !ok:
		x.answer(d.inconsistent())
		return
	case s.limit.MaxSize > 0 && length > s.limit.MaxSize, d == 8 && s.limit.MaxAppendSize > 0 && x.req.ContentLength > s.limit.MaxAppendSize:
		s.tooLarge(x, d)
		return
	case s.limit.MinSize > 0 && length >= 0 && length < s.limit.MinSize:
		x.refuse(http.StatusBadRequest, fmt.Sprintf("an upload has at least %d bytes", s.limit.MinSize))
		return
	}
	up := s.hold(x, int(d), length)
	up.acquire(x)
	defer up.release(x)
	for range x.reply.Announcements {
		h := s.fields(d, up)
		h.Set("Upload-Draft-Interop-Version", strconv.Itoa(int(d)))
		x.interim(h)
	}
	s.transfer(x, up, complete, s.fields(d, up))
}

// fields is Location and Upload-Limit of an upload.
func (s *UploadServer) fields(d dialect, up *uploadResource) http.Header {
	h := http.Header{"Location": {s.URL + up.upload.Location}}
	setOrDelete(h, "Upload-Limit", d.limits(s.limit, s.left(up)))
	return h
}

// left is how long an upload has to live.
func (s *UploadServer) left(up *uploadResource) time.Duration {
	if up.expires.IsZero() {
		return 0
	}
	return time.Until(up.expires)
}

// plain takes a body that is whole, or nothing.
func (s *UploadServer) plain(x *uploadExchange) {
	up := s.hold(x, 0, x.req.ContentLength)
	if err := x.receive(func(p []byte) error { up.append(p); return nil }); err != nil {
		up.truncate(0)
		s.broken(x, err)
		return
	}
	x.answer(s.final(x, up))
}

// transfer receives the content of a creation or an append, and answers with
// fields among others.
func (s *UploadServer) transfer(x *uploadExchange, up *uploadResource, complete bool, fields http.Header) {
	d := dialect(up.upload.Version)
	begin := up.offset()
	told := begin
	content := newDigester(digestField(x.req.Header, "Content-Digest"))
	err := x.receive(func(p []byte) error {
		switch {
		case up.upload.Length >= 0 && up.offset()+int64(len(p)) > up.upload.Length:
			return errTooMuch
		case s.exceeds(up.offset()+int64(len(p)), up.offset()+int64(len(p))-begin, d, begin == 0):
			return errTooLarge
		}
		up.append(p)
		content.Write(p)
		if n := x.reply.Progress; d.reports() && n > 0 && up.offset()-told >= n {
			told = up.offset()
			x.interim(http.Header{"Upload-Draft-Interop-Version": {strconv.Itoa(int(d))}, "Upload-Offset": {strconv.FormatInt(told, 10)}})
		}
		return nil
	})
	switch {
	case errors.Is(err, errTooMuch):
		if d == 8 {
			up.goAway(http.StatusGone)
		}
		up.release(x)
		x.answer(d.inconsistent())
		return
	case errors.Is(err, errTooLarge):
		up.release(x)
		s.tooLarge(x, d)
		return
	case err != nil:
		up.truncate(max(begin, up.offset()-x.reply.Lost))
		up.release(x)
		s.broken(x, err)
		return
	case !content.matches():
		up.truncate(begin)
		up.release(x)
		x.refuse(http.StatusBadRequest, "the content is not that of Content-Digest")
		return
	}
	a := UploadAnswer{Status: http.StatusCreated, Header: fields, Body: "more is to come\n"}
	if x.req.Method == http.MethodPatch && d.targetAnswers() && up.upload.Location == x.req.URL.Path {
		a.Status = http.StatusNoContent
	}
	if complete {
		a = s.final(x, up)
		for name, values := range fields {
			if a.Header.Get(name) == "" {
				a.Header[name] = values
			}
		}
	}
	if d.strict() {
		a.Header.Set("Upload-Offset", strconv.FormatInt(up.offset(), 10))
	}
	if !complete || d.targetAnswers() {
		d.setComplete(a.Header, complete)
	}
	up.release(x)
	x.answer(a)
}

// exceeds reports whether size bytes of the whole, or part of one request, are
// more than the limit.
func (s *UploadServer) exceeds(size, part int64, d dialect, creation bool) bool {
	l := s.limit
	return l.MaxSize > 0 && size > l.MaxSize || l.MaxAppendSize > 0 && part > l.MaxAppendSize && (d == 8 || d.typed() && !creation)
}

func (s *UploadServer) tooLarge(x *uploadExchange, d dialect) {
	a := UploadAnswer{Status: http.StatusRequestEntityTooLarge, Header: make(http.Header)}
	setOrDelete(a.Header, "Upload-Limit", d.limits(s.limit, s.limit.MaxAge))
	x.answer(a)
}

// broken ends a request whose content did not come, or was not wanted, to its
// end.
func (s *UploadServer) broken(x *uploadExchange, err error) {
	if errors.Is(err, errEarly) {
		x.answer(UploadAnswer{Status: x.early})
		return
	}
	x.cut(err)
}

// final completes the upload, and is its target's answer. Digests that were
// promised and are not the content's make it 400, and the upload 410.
func (s *UploadServer) final(x *uploadExchange, up *uploadResource) UploadAnswer {
	a := x.reply.Final
	a.Header = a.Header.Clone()
	if a.Header == nil {
		a.Header = http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	}
	if a.Status == 0 {
		a.Status, a.Body = http.StatusCreated, fmt.Sprintf("received %d bytes\n", up.offset())
	}
	for algorithm, sum := range up.digests {
		if !bytes.Equal(sum, sumReader(Upload{content: up.content, Offset: up.offset()}.Reader(), algorithm)) {
			up.goAway(http.StatusGone)
			return UploadAnswer{Status: http.StatusBadRequest, Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
				Body: "the representation is not that of Repr-Digest\n"}
		}
	}
	up.update(func(u *Upload) { u.Complete, u.Length = true, up.content.length() })
	setOrDelete(a.Header, "Repr-Digest", up.wanted())
	return a
}
