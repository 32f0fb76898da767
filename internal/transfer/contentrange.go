package transfer

import (
	"strconv"
	"strings"
)

// A contentRange is what a Content-Range says (RFC 9110 §14.4): the body is [first, end) of total bytes.
type contentRange struct {
	first, end int64 // both -1 of an unsatisfied range, "bytes */total"
	total      int64 // the complete length; -1: unknown, "*"
}

// unsatisfied reports whether c is of a 416.
func (c contentRange) unsatisfied() bool { return c.first < 0 }

// parseContentRange reads a Content-Range in bytes. What contradicts itself, as a range that ends before it starts or
// beyond the complete length, is no Content-Range.
func parseContentRange(s string) (contentRange, bool) {
	none := contentRange{-1, -1, -1}
	unit, rest, ok := strings.Cut(strings.Trim(s, " \t"), " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return none, false
	}
	span, size, ok := strings.Cut(strings.Trim(rest, " \t"), "/")
	if !ok {
		return none, false
	}
	c := none
	if size != "*" {
		if c.total, ok = parseLength(size); !ok {
			return none, false
		}
	}
	if span == "*" {
		return c, c.total >= 0
	}
	first, last, ok := strings.Cut(span, "-")
	if !ok {
		return none, false
	}
	if c.first, ok = parseLength(first); !ok {
		return none, false
	}
	if c.end, ok = parseLength(last); !ok {
		return none, false
	}
	c.end++
	if c.end <= c.first || c.total >= 0 && c.end > c.total {
		return none, false
	}
	return c, true
}

// parseLength reads 1*DIGIT of less than 2^62, so that sums of two do not overflow.
func parseLength(s string) (int64, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 63)
	return n, err == nil
}
