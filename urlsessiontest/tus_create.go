package urlsessiontest

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// offsetStream is the media type of each request with content.
const offsetStream = "application/offset+octet-stream"

// create takes a creation: of an upload, empty or with its first content, of a
// partial upload, or of a final one.
func (s *TusServer) create(x *uploadExchange) {
	h := x.req.Header
	concat := h.Get("Upload-Concat")
	if !s.offers("concatenation") {
		concat = ""
	}
	if list, final := strings.CutPrefix(concat, "final;"); final {
		s.concatenate(x, strings.Fields(list))
		return
	}
	length, ok := tusInteger(h, "Upload-Length")
	deferred := s.offers("creation-defer-length") && h.Get("Upload-Defer-Length") == "1"
	content := x.req.ContentLength != 0
	switch {
	case concat != "" && concat != "partial":
		x.refuse(http.StatusBadRequest, "an Upload-Concat is partial, or final with a list")
		return
	case ok == deferred:
		x.refuse(http.StatusBadRequest, "a creation has an Upload-Length, or an Upload-Defer-Length that is 1")
		return
	case ok && s.tooLong(length):
		x.answer(UploadAnswer{Status: http.StatusRequestEntityTooLarge})
		return
	case content && !s.offers("creation-with-upload"):
		x.refuse(http.StatusBadRequest, "a creation has no content")
		return
	case content && h.Get("Content-Type") != offsetStream:
		x.answer(UploadAnswer{Status: http.StatusUnsupportedMediaType})
		return
	}
	if deferred {
		length = -1
	}
	up := s.hold(x, tusProtocol, length)
	up.acquire(x)
	defer up.release(x)
	a := UploadAnswer{Status: http.StatusCreated, Header: s.fields(up)}
	if !content {
		up.settle()
		up.release(x)
		x.answer(a)
		return
	}
	s.transfer(x, up, a)
}

// fields is Location and Upload-Expires of a new upload.
func (s *TusServer) fields(up *uploadResource) http.Header {
	h := http.Header{"Location": {s.locations(s.URL + up.upload.Location)}}
	setOrDelete(h, "Upload-Expires", s.expires(up))
	return h
}

// expires is the Upload-Expires of an upload; empty if it has none.
func (s *TusServer) expires(up *uploadResource) string {
	if up.expires.IsZero() || !s.offers("expiration") {
		return ""
	}
	return up.expires.UTC().Format(http.TimeFormat)
}

// tooLong reports whether an upload of n bytes is more than Tus-Max-Size.
func (s *TusServer) tooLong(n int64) bool { return s.limit.MaxSize > 0 && n > s.limit.MaxSize }

// concatenate makes a final upload of partial ones that are complete, in the order of
// the list. Their bytes are copied, and they stay.
func (s *TusServer) concatenate(x *uploadExchange, list []string) {
	if x.req.Header.Get("Upload-Length") != "" || len(list) == 0 {
		x.refuse(http.StatusBadRequest, "a final upload has a list of URLs, and no Upload-Length")
		return
	}
	var parts []Upload
	var total int64
	for _, location := range list {
		at, err := url.Parse(location)
		var part *uploadResource
		if err == nil {
			part = s.uploadAt(x.req.URL.ResolveReference(at).Path)
		}
		if part == nil || part.state().Gone != 0 {
			x.refuse(http.StatusNotFound, "there is no upload "+location)
			return
		}
		state := part.state()
		if state.Header.Get("Upload-Concat") != "partial" || !state.Complete {
			x.refuse(http.StatusBadRequest, "it is no partial upload that is complete: "+location)
			return
		}
		parts = append(parts, state)
		total += state.Offset
	}
	if s.tooLong(total) {
		x.answer(UploadAnswer{Status: http.StatusRequestEntityTooLarge})
		return
	}
	up := s.hold(x, tusProtocol, total)
	buf := make([]byte, 1<<20)
	for _, part := range parts {
		for r := part.Reader(); ; {
			n, err := io.ReadFull(r, buf)
			up.content.append(buf[:n])
			if err != nil { // content in memory or a file of ours does not fail
				break
			}
		}
	}
	up.settle()
	x.answer(UploadAnswer{Status: http.StatusCreated, Header: s.fields(up)})
}

// settle notes what has come: an upload that has its length is complete.
func (up *uploadResource) settle() {
	up.update(func(u *Upload) { u.Complete = u.Length >= 0 && up.content.length() == u.Length })
}

// transfer receives the content of a creation or an append, and answers with a
// and the new offset.
func (s *TusServer) transfer(x *uploadExchange, up *uploadResource, a UploadAnswer) {
	sum, refusal := s.checksum(x.req)
	if refusal != "" {
		up.release(x)
		x.refuse(http.StatusBadRequest, refusal)
		return
	}
	begin := up.offset()
	err := x.receive(func(p []byte) error {
		switch n := up.offset() + int64(len(p)); {
		case up.upload.Length >= 0 && n > up.upload.Length:
			return errTooMuch
		case s.tooLong(n):
			return errTooLarge
		}
		up.append(p)
		sum.Write(p)
		return nil
	})
	if err != nil {
		keep := max(begin, up.offset()-x.reply.Lost)
		if sum.promised() || errors.Is(err, errTooMuch) || errors.Is(err, errTooLarge) {
			keep = begin
		}
		up.truncate(keep)
	}
	switch {
	case errors.Is(err, errTooMuch), errors.Is(err, errTooLarge):
		a = UploadAnswer{Status: http.StatusRequestEntityTooLarge}
	case errors.Is(err, errEarly):
		a = UploadAnswer{Status: x.early}
	case err != nil:
		up.release(x)
		x.cut(err)
	case !sum.matches():
		up.truncate(begin)
		a = UploadAnswer{Status: statusChecksum, Body: "the content is not that of Upload-Checksum\n"}
	default:
		if s.limit.MaxAge > 0 {
			up.renew(time.Now().Add(s.limit.MaxAge))
		}
		up.settle()
		a.Header.Set("Upload-Offset", strconv.FormatInt(up.offset(), 10))
		setOrDelete(a.Header, "Upload-Expires", s.expires(up))
	}
	up.release(x)
	x.answer(a)
}
