package urlsessiontest

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// LengthOff sends the whole body under a Content-Length that is off by delta
// bytes, and closes without announcing it. A positive delta promises more than
// comes, a negative one less. A reply without Content-Length stays as it is.
// For a malformed length see SetHeader("Content-Length", …).
func LengthOff(delta int64) Step {
	return func(r *Reply) {
		n := r.length()
		if n < 0 {
			return
		}
		r.Header.Set("Content-Length", strconv.FormatInt(max(0, n+delta), 10))
		CloseAt(AtEnd())(r)
	}
}

// NoLength says no length: the body ends where the connection does.
func NoLength() Step {
	return func(r *Reply) {
		r.Header.Del("Content-Length")
		r.Close = true
	}
}

// HTTP10 is NoLength by a server of HTTP/1.0.
func HTTP10() Step {
	return func(r *Reply) {
		r.Proto = "HTTP/1.0"
		NoLength()(r)
	}
}

// Chunked sends the body, honestly, with Transfer-Encoding: chunked in place of
// Content-Length.
func Chunked() Step {
	return func(r *Reply) {
		if r.Body != nil {
			r.setStream(r.Body)
		}
	}
}

// NoLastChunk sends all of the body's chunks but not the last, empty one, and
// closes.
func NoLastChunk() Step { return All(Chunked(), CloseAt(BodyEnd())) }

// BadChunkSize sends the first n bytes of the body in a chunk, then a chunk
// whose size is the given text: "zz" is malformed, "-1" negative,
// "7fffffffffffffff" huge, "fffffffffffffffff" more than 64 bits. The rest of
// the body follows, then a close.
func BadChunkSize(n int64, size string) Step {
	return func(r *Reply) {
		if r.Body == nil {
			return
		}
		rest := r.Body
		r.setStream(nil)
		r.Chunked = false // chunks are made here
		var first io.Reader = strings.NewReader("")
		if n > 0 {
			first = io.MultiReader(strings.NewReader(fmt.Sprintf("%x\r\n", n)),
				io.LimitReader(rest, n), strings.NewReader("\r\n"))
		}
		r.Body = io.MultiReader(first, strings.NewReader(size+"\r\n"), rest)
		CloseAt(AtEnd())(r)
	}
}

// TwoLengths sends Content-Length twice, the second off by one (RFC 9112 §6.3:
// the message is invalid).
func TwoLengths() Step {
	return func(r *Reply) {
		if n := r.length(); n >= 0 {
			r.Header["Content-Length"] = []string{strconv.FormatInt(n, 10), strconv.FormatInt(n+1, 10)}
		}
	}
}

// LengthAndChunked sends the body in chunks and also a Content-Length, which
// is off by one (RFC 9112 §6.3: chunked overrides it, and it ought to be handled
// as an error).
func LengthAndChunked() Step {
	return func(r *Reply) {
		if n := r.length(); n >= 0 {
			Chunked()(r)
			r.Header.Set("Content-Length", strconv.FormatInt(n+1, 10))
		}
	}
}

// EndlessBody goes on after the body with bytes without end, chunked.
func EndlessBody() Step {
	return func(r *Reply) {
		if r.Body == nil {
			r.Body = strings.NewReader("")
		}
		r.setStream(io.MultiReader(r.Body, io.NewSectionReader(Body{Size: math.MaxInt64}, 0, math.MaxInt64)))
	}
}

// Trailing sends more bytes after a whole reply and leaves the connection open:
// a client that uses it again may take them for the next answer. net/http's
// does if its next request is quick.
func Trailing(extra string) Step {
	return func(r *Reply) { r.Trailing = []byte(extra) }
}
