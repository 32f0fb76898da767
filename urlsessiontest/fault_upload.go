package urlsessiontest

import (
	"crypto/sha256"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
)

// uploadPolicy is how a request's body is read before the reply is sent.
type uploadPolicy struct {
	upTo       int64 // bytes read; 0 none
	rate       int64 // bytes a second, 0 unlimited
	noContinue bool  // Expect: 100-continue gets no 100
	never      bool  // no reply either
}

func readAll() uploadPolicy { return uploadPolicy{upTo: math.MaxInt64} }

// RejectBody answers with status before it has read the request's body, and
// closes: also the refusal of Expect: 100-continue, as in RejectBody(413) or
// [RefuseContinue]. The answer arrives although the client is still sending;
// for the harsher kind add ResetAt(AtEnd()).
func RejectBody(status int, also ...Step) Step {
	return func(r *Reply) {
		r.respond(status, "", "")
		r.upload.upTo = 0
		r.upload.noContinue = true
		r.Close = r.Close || r.Request.ContentLength != 0
		All(also...)(r)
	}
}

// RefuseContinue is 417 to a request with Expect: 100-continue, its body unread
// (RFC 9110 §10.1.1); other requests are answered honestly.
func RefuseContinue() Step {
	return When(expectsContinue, RejectBody(http.StatusExpectationFailed))
}

// IgnoreContinue reads the body without ever sending the 100 that the client
// expects; a client must not wait for it for ever.
func IgnoreContinue() Step { return func(r *Reply) { r.upload.noContinue = true } }

// ReadUpTo reads only the first n bytes of the request's body, then replies and
// closes. All(ReadUpTo(n), ResetAt(BeforeHeader())) loses the connection in the
// midst of an upload.
func ReadUpTo(n int64) Step { return func(r *Reply) { r.upload.upTo = n } }

// SlowRead reads the request's body at a number of bytes a second.
func SlowRead(bytesPerSecond int64) Step {
	return func(r *Reply) { r.upload.rate = bytesPerSecond }
}

// NeverRead neither reads the request's body nor replies. The connection stays
// until [Server.Close], for without reading the server cannot see that the
// client has left.
func NeverRead() Step { return func(r *Reply) { r.upload = uploadPolicy{never: true} } }

func expectsContinue(req *http.Request) bool {
	return req.ProtoAtLeast(1, 1) && strings.EqualFold(req.Header.Get("Expect"), "100-continue")
}

// receive reads and records the request's body as the reply wants it.
func (c *conn) receive(r *Reply, req *http.Request, rec *recording) error {
	if !c.unread {
		return nil
	}
	if r.upload.never {
		return c.pause(Forever, nil)
	}
	if expectsContinue(req) && !r.upload.noContinue {
		if _, err := io.WriteString(c.net, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return err
		}
	}
	limit := newLimiter(r.upload.rate)
	buf, sum := c.buffer(), sha256.New()
	for left := r.upload.upTo; left > 0; {
		n, err := req.Body.Read(buf[:limit.slice(int(min(int64(len(buf)), left)))])
		left -= int64(n)
		sum.Write(buf[:n])
		rec.received(buf[:n], [sha256.Size]byte(sum.Sum(nil)))
		if errors.Is(err, io.EOF) {
			c.unread = false
			return nil
		}
		if err != nil {
			rec.update(func(q *Request) { q.BodyError = err })
			return err
		}
		if err := c.pause(limit.reserve(n), nil); err != nil {
			return err
		}
	}
	return nil
}
