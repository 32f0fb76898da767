package transfer

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/urlsession/urlsession/internal/partial"
)

// held is what a download has when it asks for more.
type held struct {
	bytes     int64 // from position 0 on
	until     int64 // where the first hole behind them ends; 0: with the file
	end       int64 // the position after the last byte of all
	total     int64 // the complete length; -1: unknown
	validator partial.Validator
	digest    bool // the user gave one: it decides in the end, also where the validator is weak
}

// held is what the part file has.
func (d *download) held() held {
	written := d.part.Written()
	h := held{
		bytes: written.Prefix(), end: written.End(), total: d.part.Total(),
		validator: d.part.Validator(), digest: d.proven(),
	}
	for _, r := range written {
		if r[0] > h.bytes {
			h.until = r[0]
			break
		}
	}
	return h
}

// proven reports whether a digest will tell whether the file is the right one.
func (d *download) proven() bool { return d.digest.asked() || d.to.spec.DigestFile != "" }

// question is what a request asks for: all, where from and to are 0.
type question struct {
	from    int64  // the first byte wanted
	to      int64  // the position after the last one; 0: the file's end
	ifRange string // empty: none is sent
}

// whole reports whether all is asked for, without Range.
func (q question) whole() bool { return q.from == 0 && q.to == 0 }

// ask makes the question that goes on from what is held, or asks for everything where that is not safe: a range is asked
// for by a strong validator, or where a digest will tell a mixture (contract: Download).
//
// Where everything is held, the last byte is asked for again: its 206 tells that the version still is the server's, and
// the name and digests that the end needs.
func (h held) ask() question {
	if h.end == 0 {
		return question{}
	}
	ifRange, strong := h.validator.IfRange()
	if !strong && !h.digest {
		return question{}
	}
	if !strong {
		ifRange = ""
	}
	from := h.bytes
	if from == h.total {
		from--
	}
	return question{from, h.until, ifRange}
}

// set puts the question in a request's header.
func (q question) set(h http.Header) {
	if q.whole() {
		return
	}
	last := ""
	if q.to > 0 {
		last = strconv.FormatInt(q.to-1, 10)
	}
	h.Set("Range", "bytes="+strconv.FormatInt(q.from, 10)+"-"+last)
	if q.ifRange != "" {
		h.Set("If-Range", q.ifRange)
	}
}

// verdict is what becomes of a response.
type verdict int

const (
	takeWhole verdict = iota // its body is the file, from byte 0
	takeRange                // its body goes on from what is held
	allHeld                  // nothing is missing
	startOver                // it is of no use, and all is asked for anew, without Range
	refuse                   // it is of no use
)

// judge decides what becomes of a response to q. why says what is wrong with one that is of no use. The range is set
// for takeRange.
func judge(q question, h held, resp *http.Response) (v verdict, c contentRange, why string) {
	switch {
	case resp.StatusCode == http.StatusPartialContent && q.whole():
		return refuse, c, "it sent a part of the file (206) and was asked for all of it"
	case resp.StatusCode == http.StatusPartialContent:
		if c, why = judgeRange(q, h, resp); why != "" {
			return startOver, c, why
		}
		return takeRange, c, ""
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && !q.whole():
		// Done only if the complete length was known before, and all of it is here.
		c, ok := parseContentRange(resp.Header.Get("Content-Range"))
		if h.total >= 0 && h.bytes == h.total && (!ok || c.unsatisfied() && c.total == h.total) &&
			!contradicts(h.validator, partial.FromHeader(resp.Header)) {
			return allHeld, c, ""
		}
		return startOver, c, "it has no byte where the file goes on (416)"
	case resp.StatusCode == http.StatusNotModified:
		return refuse, c, "it says that the file has not changed (304), and there is nothing to download; leave the condition out of the request's header"
	}
	return takeWhole, c, ""
}

// judgeRange says why a 206 does not go on from what is held; empty: it does.
func judgeRange(q question, h held, resp *http.Response) (c contentRange, why string) {
	c, ok := parseContentRange(resp.Header.Get("Content-Range"))
	switch {
	case strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "multipart/byteranges"):
		return c, "it sent several parts (multipart/byteranges) and was asked for one"
	case !ok || c.unsatisfied() || len(resp.Header.Values("Content-Range")) > 1:
		return c, "its part of the file (206) has no valid Content-Range"
	case c.first != q.from:
		return c, fmt.Sprintf("its part of the file starts at byte %d, and byte %d was asked for", c.first, q.from)
	case c.total < 0:
		return c, "it does not say of how many bytes its part of the file is"
	case h.total >= 0 && c.total != h.total || c.total < h.end:
		return c, fmt.Sprintf("the file has %d bytes now, and had %d", c.total, max(h.total, h.end))
	case q.to > 0 && c.end > q.to:
		return c, fmt.Sprintf("its part of the file ends with byte %d, and no more than byte %d was asked for", c.end-1, q.to-1)
	case !sameVersion(h, partial.FromHeader(resp.Header)):
		return c, "its part of the file does not say that it is of the same version"
	case resp.ContentLength > c.end-c.first:
		return c, fmt.Sprintf("its part of the file has %d bytes by Content-Length and %d by Content-Range", resp.ContentLength, c.end-c.first)
	case coding(resp.Header) != "" && resp.ContentLength != c.end-c.first:
		// A part of a coded file is as long as its range. This is a part that was coded on its way.
		return c, "its part of the file is coded (Content-Encoding), and was asked for as it is stored"
	}
	return c, ""
}

func sameVersion(h held, sent partial.Validator) bool {
	if h.validator.Strong() {
		return h.validator.Matches(sent)
	}
	return h.digest && !contradicts(h.validator, sent)
}

// contradicts reports whether two validators cannot be of one version. One that says nothing contradicts nothing.
func contradicts(a, b partial.Validator) bool {
	return differ(strings.TrimPrefix(a.ETag, "W/"), strings.TrimPrefix(b.ETag, "W/")) ||
		differ(a.LastModified, b.LastModified)
}

func differ(a, b string) bool { return a != "" && b != "" && a != b }
