package httpcache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// stored is an entry that was found, with its body open. It is closed once, or answers once.
type stored struct {
	key  key
	slot int // the Storage's business
	head *head
	body body
}

// body is a stored body. section hands it over to the reader, whose Close closes it.
type body interface {
	section(from, length int64) io.ReadCloser
	close()
}

func (s *stored) close() {
	if s != nil {
		s.body.close()
	}
}

// response is the stored response, without its body.
func (s *stored) response(q *query) *http.Response {
	resp := &http.Response{
		Status:     strings.TrimSpace(fmt.Sprintf("%d %s", s.head.Status, http.StatusText(s.head.Status))),
		StatusCode: s.head.Status, Proto: s.head.Proto, Header: s.head.Header.Clone(), ContentLength: s.head.Length, Request: q.req,
	}
	var ok bool
	if resp.ProtoMajor, resp.ProtoMinor, ok = http.ParseHTTPVersion(s.head.Proto); !ok {
		resp.Proto, resp.ProtoMajor, resp.ProtoMinor = "HTTP/1.1", 1, 1
	}
	age := min(s.head.age(time.Now()), maxSeconds*time.Second)
	resp.Header.Set("Age", strconv.FormatInt(int64(age/time.Second), 10))
	return resp
}

// answer answers q with s: as a whole, with the range that was asked for, or with 304 for whoever has it already.
func (s *stored) answer(q *query, source Source) *http.Response {
	resp := s.response(q)
	from, length := int64(0), s.head.Length
	switch {
	case s.head.Status != http.StatusOK:
	case q.hasConditions() && s.head.known(q.req.Header):
		setStatus(resp, http.StatusNotModified)
		length = 0
		for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Type"} {
			resp.Header.Del(name)
		}
		resp.ContentLength = 0
	default:
		first, n, kind := s.head.rangeFor(q.req.Header)
		switch kind {
		case satisfiable:
			setStatus(resp, http.StatusPartialContent)
			from, length = first, n
			resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+n-1, s.head.Length))
		case unsatisfiable:
			setStatus(resp, http.StatusRequestedRangeNotSatisfiable)
			length = 0
			resp.Header.Set("Content-Range", fmt.Sprintf("bytes */%d", s.head.Length))
		}
		if kind != wholly {
			resp.ContentLength = length
			resp.Header.Set("Content-Length", strconv.FormatInt(length, 10))
		}
	}
	if length == 0 {
		s.close()
		resp.Body = http.NoBody
	} else {
		resp.Body = &cachedBody{q.req.Context(), s.body.section(from, length)}
	}
	report(q.req.Context(), source)
	return resp
}

// cachedBody is a stored body that ends with its request's context, as one from the network does.
type cachedBody struct {
	ctx  context.Context
	body io.ReadCloser
}

func (b *cachedBody) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.body.Read(p)
}

func (b *cachedBody) Close() error { return b.body.Close() }

func setStatus(resp *http.Response, status int) {
	resp.StatusCode, resp.Status = status, fmt.Sprintf("%d %s", status, http.StatusText(status))
}

// known reports whether whoever sends these conditions has what h is the head of (RFC 9110, section 13.2.2).
func (h *head) known(req http.Header) bool {
	if values := req["If-None-Match"]; values != nil {
		for tag := range strings.SplitSeq(strings.Join(values, ","), ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || tag != "" && h.etag() != "" && weakMatch(tag, h.etag()) {
				return true
			}
		}
		return false
	}
	since, err1 := http.ParseTime(req.Get("If-Modified-Since"))
	modified, err2 := http.ParseTime(h.lastModified())
	return err1 == nil && err2 == nil && !modified.After(since)
}

type rangeKind int

const (
	wholly rangeKind = iota // there is no Range, or it does not count
	satisfiable
	unsatisfiable
)

// rangeFor is the part of h's body that a request with these fields gets. Several ranges get the whole, as do units and
// syntax that are not known (RFC 9110, section 14.2).
func (h *head) rangeFor(req http.Header) (first, length int64, kind rangeKind) {
	values := req["Range"]
	if len(values) != 1 || !h.ifRange(req) {
		return 0, 0, wholly
	}
	unit, set, ok := strings.Cut(values[0], "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return 0, 0, wholly
	}
	a, b, ok := strings.Cut(strings.TrimSpace(set), "-")
	if !ok {
		return 0, 0, wholly
	}
	start, hasStart, ok1 := position(a)
	end, hasEnd, ok2 := position(b)
	switch {
	case !ok1 || !ok2 || !hasStart && !hasEnd || hasStart && hasEnd && end < start:
		return 0, 0, wholly
	case !hasStart: // the last end bytes
		n := min(end, h.Length)
		if n == 0 {
			return 0, 0, unsatisfiable
		}
		return h.Length - n, n, satisfiable
	case start >= h.Length:
		return 0, 0, unsatisfiable
	case !hasEnd || end >= h.Length:
		end = h.Length - 1
	}
	return start, end - start + 1, satisfiable
}

// position reads a position of a range, or its absence.
func position(s string) (n int64, present, ok bool) {
	if s == "" {
		return 0, false, true
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, true, err == nil
}

// ifRange reports whether Range counts: If-Range, where there is one, must name h by a strong validator (RFC 9110, section
// 13.1.5).
func (h *head) ifRange(req http.Header) bool {
	values, ok := req["If-Range"]
	if !ok {
		return true
	}
	v := strings.TrimSpace(strings.Join(values, ","))
	if strings.HasPrefix(v, `"`) || strings.HasPrefix(v, "W/") {
		return strongMatch(v, h.etag())
	}
	modified, err := http.ParseTime(h.lastModified())
	return err == nil && v == h.lastModified() && h.date().Sub(modified) >= time.Second
}
