package urlsessiontest

import (
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Resource is what a path honestly is. The zero value is an empty resource
// without validators. A Resource is a value: the server keeps a copy.
//
// GET and HEAD answer it with Accept-Ranges, single ranges (several at once are
// ignored, as RFC 9110 §14.2 allows), If-Match, If-None-Match, the two date
// conditions and If-Range. POST and PATCH record the request's body and answer
// 200 with the content; PUT (201 where nothing is published) and DELETE answer
// 204. None of them changes what is published.
type Resource struct {
	Content Content // nil is empty

	// ETag is sent as it stands, quotes included: `"v1"`, weak `W/"v1"`, or
	// empty for none.
	ETag string
	// LastModified is sent in whole seconds; zero for none. It is a strong
	// validator only if Date is at least a second later (RFC 9110 §8.8.2.2).
	LastModified time.Time
	// Date is the Date field; zero for the clock's.
	Date time.Time

	ContentType        string // default application/octet-stream
	ContentDisposition string // as it stands; empty for none
	Digests            []Digest
	Header             http.Header // further fields; they replace those above

	// NoRanges ignores Range and does not say Accept-Ranges.
	NoRanges bool

	sums *sums
}

// prepared is a copy for the server's use.
func (res Resource) prepared() *Resource {
	if res.Content == nil {
		res.Content = Bytes(nil)
	}
	if res.ContentType == "" {
		res.ContentType = "application/octet-stream"
	}
	res.Digests = slices.Clone(res.Digests)
	res.Header = res.Header.Clone()
	res.sums = new(sums)
	return &res
}

// Become makes r the honest answer to r.Request by res, or by a path where
// nothing is published if res is nil. Points, rates and what else concerns
// the delivery stay.
func (r *Reply) Become(res *Resource) {
	if res != nil && res.sums == nil {
		res = res.prepared()
	}
	date := time.Now()
	if res != nil && !res.Date.IsZero() {
		date = res.Date
	}
	r.resource = res
	r.contentRange = nil
	r.Proto, r.Reason = "HTTP/1.1", ""
	r.StatusLine, r.Lines, r.headless = "", nil, false
	r.Chunked, r.Raw, r.Trailing = false, nil, nil
	r.Header = http.Header{"Date": {date.UTC().Format(http.TimeFormat)}}

	switch method := r.Request.Method; method {
	case http.MethodGet, http.MethodHead:
		if res == nil {
			r.respond(http.StatusNotFound, "", "")
			return
		}
		r.represent(res, date)
	case http.MethodPost, http.MethodPatch:
		if res == nil {
			r.respond(http.StatusNotFound, "", "")
			return
		}
		r.Status = http.StatusOK
		r.Header.Set("Content-Type", res.ContentType)
		r.setBody(res.Content, 0, res.Content.Len())
		r.setHeader(res.Header)
	case http.MethodPut:
		if res == nil {
			r.respond(http.StatusCreated, "", "")
			return
		}
		r.respond(http.StatusNoContent, "", "")
	case http.MethodDelete:
		if res == nil {
			r.respond(http.StatusNotFound, "", "")
			return
		}
		r.respond(http.StatusNoContent, "", "")
	default:
		r.respond(http.StatusMethodNotAllowed, "", "")
		r.Header.Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE")
	}
}

// represent answers GET and HEAD: the conditions in the order of RFC 9110
// §13.2.2, then the range.
func (r *Reply) represent(res *Resource, date time.Time) {
	if res.ETag != "" {
		r.Header.Set("ETag", res.ETag)
	}
	if !res.LastModified.IsZero() {
		r.Header.Set("Last-Modified", res.LastModified.UTC().Format(http.TimeFormat))
	}
	switch status := res.condition(r.Request.Header); status {
	case http.StatusNotModified:
		r.Status, r.Body = status, nil
		r.setHeader(res.Header)
		return
	case http.StatusPreconditionFailed:
		r.respond(status, "", "")
		return
	}

	if res.ContentDisposition != "" {
		r.Header.Set("Content-Disposition", res.ContentDisposition)
	}
	r.Header.Set("Content-Type", res.ContentType)
	if !res.NoRanges {
		r.Header.Set("Accept-Ranges", "bytes")
	}
	total := res.Content.Len()
	if spec := r.Request.Header.Get("Range"); spec != "" && !res.NoRanges &&
		r.Request.Method == http.MethodGet && res.ifRange(r.Request.Header.Get("If-Range"), date) {
		switch first, last, verdict := parseRange(spec, total); verdict {
		case rangeSatisfiable:
			r.partial(first, last)
			return
		case rangeUnsatisfiable:
			r.respond(http.StatusRequestedRangeNotSatisfiable, "", "")
			r.Header.Set("Content-Range", fmt.Sprintf("bytes */%d", total))
			return
		}
	}
	r.Status = http.StatusOK
	r.setBody(res.Content, 0, total)
	r.addDigests(0, total)
	r.setHeader(res.Header)
}

// partial makes r a 206 with the bytes first to last of its resource; whatever
// of them the resource lacks is not sent.
func (r *Reply) partial(first, last int64) {
	res := r.resource
	r.Status, r.Reason = http.StatusPartialContent, ""
	r.contentRange = &contentRange{first: first, last: last, total: res.Content.Len()}
	r.Header.Set("Content-Range", r.contentRange.String())
	r.setBody(res.Content, first, last-first+1)
	r.addDigests(first, last-first+1)
	r.setHeader(res.Header)
}

// setBody makes n bytes of c from off the body, with its true Content-Length.
func (r *Reply) setBody(c Content, off, n int64) {
	n = max(0, min(n, c.Len()-off))
	r.Body = io.NewSectionReader(c, off, n)
	r.Header.Set("Content-Length", strconv.FormatInt(n, 10))
}

func (r *Reply) addDigests(off, n int64) {
	for _, d := range r.resource.Digests {
		if d.field == "" {
			continue
		}
		var sum []byte
		if d.message && (off != 0 || n != r.resource.Content.Len()) {
			sum = sumRange(r.resource.Content, off, n, d.algorithm)
		} else {
			sum = r.resource.sums.of(r.resource.Content, d.algorithm)
		}
		// Two algorithms of one field are one list (RFC 9530 §2).
		if old := r.Header.Get(d.field); old != "" {
			r.Header.Set(d.field, old+", "+d.value(sum))
		} else {
			r.Header.Set(d.field, d.value(sum))
		}
	}
}

func (r *Reply) setHeader(h http.Header) {
	for name, values := range h {
		r.Header[textproto.CanonicalMIMEHeaderKey(name)] = slices.Clone(values)
	}
}

// condition is 304 or 412 if the request's conditions say so, else 0.
func (res *Resource) condition(h http.Header) int {
	modified := res.LastModified.Truncate(time.Second)
	if match := h.Get("If-Match"); match != "" {
		if match != "*" && !listsTag(match, res.ETag, true) {
			return http.StatusPreconditionFailed
		}
	} else if t, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil && modified.After(t) {
		return http.StatusPreconditionFailed
	}
	if none := h.Get("If-None-Match"); none != "" {
		if none == "*" || listsTag(none, res.ETag, false) {
			return http.StatusNotModified
		}
	} else if t, err := http.ParseTime(h.Get("If-Modified-Since")); err == nil &&
		!res.LastModified.IsZero() && !modified.After(t) {
		return http.StatusNotModified
	}
	return 0
}

// listsTag reports whether list has the entity tag, by strong or weak
// comparison (RFC 9110 §8.8.3.2).
func listsTag(list, tag string, strong bool) bool {
	if tag == "" {
		return false
	}
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if strong {
			if item == tag && !strings.HasPrefix(tag, "W/") {
				return true
			}
		} else if strings.TrimPrefix(item, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

// ifRange reports whether the range applies (RFC 9110 §13.1.5): an entity tag
// must match strongly, a date exactly and be a strong validator.
func (res *Resource) ifRange(value string, date time.Time) bool {
	if value == "" {
		return true
	}
	if strings.HasPrefix(value, `"`) || strings.HasPrefix(value, "W/") {
		return listsTag(value, res.ETag, true)
	}
	t, err := http.ParseTime(value)
	modified := res.LastModified.Truncate(time.Second)
	return err == nil && !res.LastModified.IsZero() && t.Equal(modified) &&
		date.Sub(modified) >= time.Second
}

type rangeVerdict int

const (
	rangeIgnored rangeVerdict = iota
	rangeSatisfiable
	rangeUnsatisfiable
)

// parseRange reads a Range of one byte range (RFC 9110 §14.1.2); anything else
// is ignored.
func parseRange(spec string, total int64) (first, last int64, verdict rangeVerdict) {
	unit, set, ok := strings.Cut(spec, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return 0, 0, rangeIgnored
	}
	from, to, ok := strings.Cut(strings.TrimSpace(set), "-")
	if !ok {
		return 0, 0, rangeIgnored
	}
	last = total - 1
	if from == "" {
		n, ok := parsePosition(to)
		switch {
		case !ok:
			return 0, 0, rangeIgnored
		case n == 0 || total == 0:
			return 0, 0, rangeUnsatisfiable
		}
		return max(0, total-n), last, rangeSatisfiable
	}
	first, ok = parsePosition(from)
	if !ok {
		return 0, 0, rangeIgnored
	}
	if to != "" {
		end, ok := parsePosition(to)
		if !ok || end < first {
			return 0, 0, rangeIgnored
		}
		last = min(last, end)
	}
	if first >= total {
		return 0, 0, rangeUnsatisfiable
	}
	return first, last, rangeSatisfiable
}

// parsePosition reads 1*DIGIT; what exceeds an int64 is its maximum.
func parsePosition(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, _ := strconv.ParseInt(s, 10, 64) // out of range gives the maximum
	return n, true
}

// contentRange is what a 206 says of itself; total −1 is unknown.
type contentRange struct{ first, last, total int64 }

func (c contentRange) String() string {
	total := "*"
	if c.total >= 0 {
		total = strconv.FormatInt(c.total, 10)
	}
	return fmt.Sprintf("bytes %d-%d/%s", c.first, c.last, total)
}
