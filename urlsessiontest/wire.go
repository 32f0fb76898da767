package urlsessiontest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"
)

// errOver ends a connection that a step has closed.
var errOver = errors.New("urlsessiontest: the script closed the connection")

// wire sends one reply and counts, so that the reply's triggers happen at their
// byte.
type wire struct {
	c        *conn
	r        *Reply
	count    func(int64) // told of bytes of content sent
	limits   [3]*limiter // the reply's, the connection's, the server's
	triggers []trigger

	sent      int64 // bytes, interim answers left out
	content   int64 // bytes of content among them
	inContent bool  // what is being written is content
}

func (c *conn) send(r *Reply, count func(int64)) error {
	w := &wire{c: c, r: r, count: count,
		limits:   [3]*limiter{newLimiter(r.rate), c.limit, c.server.limit},
		triggers: r.triggers,
	}
	if err := w.interim(); err != nil {
		return err
	}
	w.sent = 0
	if r.Raw != nil {
		if err := w.stream(r.Raw, false); err != nil {
			return err
		}
		return w.fire(replyEnd, 0)
	}
	if err := w.head(); err != nil {
		return err
	}
	if err := w.body(); err != nil {
		return err
	}
	if err := w.write(r.Trailing); err != nil {
		return err
	}
	return w.fire(replyEnd, 0)
}

func (w *wire) interim() error {
	for _, in := range w.r.interim {
		head := formatHead(fmt.Sprintf("HTTP/1.1 %03d %s", in.status, http.StatusText(in.status)), in.header, nil)
		for i := 0; in.times < 0 || i < in.times; i++ {
			if err := w.push(head); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *wire) head() error {
	if w.r.headless {
		return nil
	}
	head := w.r.head()
	for i := range w.triggers {
		if w.triggers[i].at.where == midHeader {
			w.triggers[i].at = AtByte(int64(len(head) / 2))
		}
	}
	if w.r.perByte <= 0 {
		return w.write(head)
	}
	for i := range head {
		if err := w.write(head[i : i+1]); err != nil {
			return err
		}
		if err := w.c.pause(w.r.perByte, nil); err != nil {
			return err
		}
	}
	return nil
}

func (w *wire) body() error {
	if w.r.Body != nil && (w.r.Request.Method != http.MethodHead || w.r.bodyToHEAD) {
		if err := w.stream(w.r.Body, w.r.Chunked); err != nil {
			return err
		}
		if err := w.fire(bodyEnd, 0); err != nil {
			return err
		}
		if w.r.Chunked {
			return w.write([]byte("0\r\n\r\n"))
		}
		return nil
	}
	if err := w.fire(inBody, 0); err != nil {
		return err
	}
	return w.fire(bodyEnd, 0)
}

// stream sends src to its end, stopping at each trigger in the content. A raw
// reply has no content to stop in: w.r.Raw passes here with triggers of onWire
// alone.
func (w *wire) stream(src io.Reader, chunked bool) error {
	raw := w.r.Raw != nil
	buf := w.c.buffer()
	for {
		room := len(buf)
		if !raw {
			if err := w.fire(inBody, w.content); err != nil {
				return err
			}
			room = int(min(int64(room), w.until(inBody, w.content)))
		}
		n, err := src.Read(buf[:room])
		if n > 0 {
			if werr := w.piece(buf[:n], chunked, raw); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			if raw {
				return nil
			}
			return w.fire(inBody, w.content)
		}
		if err != nil {
			return err
		}
	}
}

// piece sends a part of the body; push counts what of its content has left.
func (w *wire) piece(p []byte, chunked, raw bool) error {
	if chunked {
		if err := w.write(fmt.Appendf(nil, "%x\r\n", len(p))); err != nil {
			return err
		}
	}
	w.inContent = !raw
	err := w.write(p)
	w.inContent = false
	if err == nil && chunked {
		err = w.write([]byte("\r\n"))
	}
	return err
}

// write sends p, stopping at each trigger on the wire.
func (w *wire) write(p []byte) error {
	for {
		if err := w.fire(onWire, w.sent); err != nil {
			return err
		}
		if len(p) == 0 {
			return nil
		}
		n := int(min(int64(len(p)), w.until(onWire, w.sent)))
		if err := w.push(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
}

// push sends p at the pace of the limits.
func (w *wire) push(p []byte) error {
	for len(p) > 0 {
		n := len(p)
		for _, l := range w.limits {
			n = l.slice(n)
		}
		if w.inContent {
			w.count(int64(n)) // before the client can have it, and look
		}
		m, err := w.c.net.Write(p[:n])
		w.sent += int64(m)
		if w.inContent {
			w.content += int64(m)
			if m < n {
				w.count(int64(m - n))
			}
		}
		if err != nil {
			return err
		}
		var wait time.Duration
		for _, l := range w.limits {
			wait = max(wait, l.reserve(n))
		}
		if wait > 0 {
			if err := w.c.pause(wait, nil); err != nil {
				return err
			}
		}
		p = p[n:]
	}
	return nil
}

// fire runs the triggers at that point, in the order of their steps, each once.
func (w *wire) fire(place where, n int64) error {
	for i := 0; i < len(w.triggers); {
		t := w.triggers[i]
		if t.at != (Point{place, n}) {
			i++
			continue
		}
		w.triggers = append(w.triggers[:i:i], w.triggers[i+1:]...)
		if err := t.do(w.c); err != nil {
			return err
		}
	}
	return nil
}

// until is the number of bytes to the next trigger beyond n.
func (w *wire) until(place where, n int64) int64 {
	next := int64(math.MaxInt64)
	for _, t := range w.triggers {
		if t.at.where == place && t.at.n > n {
			next = min(next, t.at.n-n)
		}
	}
	return next
}
