package urlsessiontest

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// The steps of this file that change a 206 leave every other reply as it is.
// IgnoreRange, IgnoreIfRange and Partial make the reply anew: steps of the same
// All that change it come after them.

// IgnoreRange answers 200 with the whole content although a range was asked
// for.
func IgnoreRange() Step {
	return func(r *Reply) {
		if r.Request.Header.Get("Range") == "" || r.resource == nil {
			return
		}
		r.becomeWithout("Range")
	}
}

// Partial answers 206 with the bytes first to last, honestly labelled, whatever
// was asked for: another range, none, or one whose If-Range does not hold.
func Partial(first, last int64) Step {
	return func(r *Reply) {
		if r.resource == nil {
			return
		}
		IgnoreRange()(r) // for the validators and the rest of a 200's header
		for _, d := range r.resource.Digests {
			r.Header.Del(d.field)
		}
		r.partial(first, last)
	}
}

// IgnoreIfRange answers 206 although If-Range says another version: the mistake
// that mixes two files into one.
func IgnoreIfRange() Step {
	return func(r *Reply) {
		if r.Request.Header.Get("If-Range") == "" {
			return
		}
		r.becomeWithout("If-Range")
	}
}

// becomeWithout makes r the honest answer to its request without a field.
func (r *Reply) becomeWithout(field string) {
	req := r.Request
	r.Request = req.Clone(req.Context())
	r.Request.Header.Del(field)
	r.Become(r.resource)
	r.Request = req
}

// WrongStart sends the range that was asked for under a Content-Range whose
// start is off by delta.
func WrongStart(delta int64) Step {
	return relabel(func(c *contentRange) { c.first += delta })
}

// WrongEnd does so with the end.
func WrongEnd(delta int64) Step {
	return relabel(func(c *contentRange) { c.last += delta })
}

// WrongTotal does so with the complete length.
func WrongTotal(delta int64) Step {
	return relabel(func(c *contentRange) { c.total += delta })
}

// UnknownTotal says * for the complete length.
func UnknownTotal() Step {
	return relabel(func(c *contentRange) { c.total = -1 })
}

func relabel(change func(*contentRange)) Step {
	return func(r *Reply) {
		if r.contentRange != nil {
			change(r.contentRange)
			r.Header.Set("Content-Range", r.contentRange.String())
		}
	}
}

// ContentRange sends a 206's Content-Range as it stands, malformed perhaps;
// empty leaves it out.
func ContentRange(value string) Step {
	return func(r *Reply) {
		if r.Status == http.StatusPartialContent {
			r.Header.Del("Content-Range")
			if value != "" {
				r.Header.Set("Content-Range", value)
			}
		}
	}
}

// NoContentRange leaves a 206's Content-Range out.
func NoContentRange() Step { return ContentRange("") }

// RangeBodyOff sends a 206 whose body is delta bytes longer, or shorter, than
// its Content-Range says. Its Content-Length agrees with the body.
func RangeBodyOff(delta int64) Step {
	return func(r *Reply) {
		n := r.length()
		if r.contentRange == nil || n < 0 || r.Body == nil {
			return
		}
		extra := io.NewSectionReader(Body{Seed: 1, Size: max(0, delta)}, 0, max(0, delta))
		size := max(0, n+delta)
		r.Body = io.LimitReader(io.MultiReader(r.Body, extra), size)
		r.Header.Set("Content-Length", strconv.FormatInt(size, 10))
	}
}

// MultipartRange sends a 206 as multipart/byteranges of one part, which RFC 9110
// §15.3.7.2 forbids for a request of one range.
func MultipartRange() Step {
	return func(r *Reply) {
		if r.contentRange == nil || r.Body == nil {
			return
		}
		const boundary = "urlsessiontest-boundary"
		before := fmt.Sprintf("--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n",
			boundary, r.Header.Get("Content-Type"), r.contentRange)
		after := "\r\n--" + boundary + "--\r\n"
		n := r.length() + int64(len(before)+len(after))
		r.Header.Set("Content-Type", "multipart/byteranges; boundary="+boundary)
		r.Header.Del("Content-Range")
		r.Header.Set("Content-Length", strconv.FormatInt(n, 10))
		r.Body = io.MultiReader(strings.NewReader(before), r.Body, strings.NewReader(after))
		r.contentRange = nil
	}
}

// Unsatisfiable is 416 with Content-Range as it stands: right as in
// "bytes */1000", wrong, or empty for none.
func Unsatisfiable(contentRange string) Step {
	step := Status(http.StatusRequestedRangeNotSatisfiable)
	if contentRange == "" {
		return step
	}
	return All(step, SetHeader("Content-Range", contentRange))
}

// OtherETag sends another ETag than the resource's.
func OtherETag(etag string) Step { return SetHeader("ETag", etag) }

// NoValidators sends neither ETag nor Last-Modified.
func NoValidators() Step { return All(SetHeader("ETag"), SetHeader("Last-Modified")) }
