package urlsessiontest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	maxHeader  = 1 << 20     // bytes of a request's line and header
	bufferSize = 64 << 10    // bytes of content read, and sent, at once
	lingerTime = time.Second // how long unread bytes are discarded before a close
)

// conn is one connection; its goroutine alone uses it.
type conn struct {
	server *Server
	id     int
	raw    net.Conn // the transport
	net    net.Conn // raw, or TLS over it
	in     meter
	br     *bufio.Reader
	limit  *limiter
	buf    []byte

	unread   bool // a part of the request's body has not been read
	watching *watcher
}

func (s *Server) serve(raw net.Conn) {
	c := &conn{server: s, raw: raw, limit: newLimiter(s.connRate)}
	handshake := s.connected(c)
	defer s.disconnected()
	c.net = raw
	if !c.greet(handshake) {
		return
	}
	c.in = meter{r: c.net, left: maxHeader}
	c.br = bufio.NewReader(&c.in)
	defer c.unwatch()
	for c.serveRequest() == nil {
	}
}

func (c *conn) serveRequest() error {
	c.in.left = maxHeader
	req, err := http.ReadRequest(c.br)
	c.in.left = math.MaxInt64
	if err != nil {
		if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			io.WriteString(c.net, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			c.unread = true
			c.close()
		}
		return errOver
	}
	c.unread = req.Body != http.NoBody
	rec := c.server.arrived(c, req)
	r := c.server.reply(c.id, req)
	err = c.receive(r, req, rec)
	if err == nil {
		rec.update(func(q *Request) { q.Status = r.Status })
		err = c.send(r, rec.sent)
	}
	c.unwatch()
	if err == nil && (r.Close || c.unread) {
		err = c.close()
	}
	rec.ended()
	return err
}

// close ends the connection in good order.
func (c *conn) close() error {
	c.unwatch()
	if c.unread {
		linger(c.net)
	}
	c.net.Close()
	return errOver
}

// drop ends the transport without a word of TLS.
func (c *conn) drop() error {
	c.unwatch()
	if c.unread {
		linger(c.raw)
	}
	c.raw.Close()
	return errOver
}

// tear is drop after the beginning of a TLS record: its header, which announces
// 16 KiB of application data (RFC 8446 §5.1), and a few of its bytes.
func (c *conn) tear() error {
	if c.server.tls {
		c.raw.Write(append([]byte{23, 3, 3, 0x40, 0}, make([]byte, 32)...))
	}
	return c.drop()
}

// reset ends the transport by RST.
func (c *conn) reset() error {
	if l, ok := c.raw.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
	c.raw.Close()
	return errOver
}

// linger ends the sending side and discards what still comes, for a while: to
// close with unread bytes would reset the connection, and with it destroy the
// answer that the client has not read yet (RFC 9112 §9.6).
func linger(c net.Conn) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.SetReadDeadline(time.Now().Add(lingerTime))
	io.Copy(io.Discard, c)
}

func (c *conn) buffer() []byte {
	if c.buf == nil {
		c.buf = make([]byte, bufferSize)
	}
	return c.buf
}

// pause waits for d, or until the gate opens. The client's leaving and the
// server's close end it with an error.
func (c *conn) pause(d time.Duration, gate <-chan struct{}) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-gate:
		return nil
	case <-c.watch():
		return errOver
	case <-c.server.conns.ctx.Done():
		return errOver
	}
}

// watcher waits in a read for the client to leave, as long as the server itself
// has nothing to read.
type watcher struct {
	gone chan struct{} // closed when the client has left
	done chan struct{} // closed when the goroutine has ended
}

// watch is closed when the client has left. With a request's body still to be
// read that cannot be known: then it is nil.
func (c *conn) watch() <-chan struct{} {
	if c.unread || c.br == nil {
		return nil
	}
	if c.watching == nil {
		w := &watcher{gone: make(chan struct{}), done: make(chan struct{})}
		c.watching = w
		go func() {
			defer close(w.done)
			if _, err := c.br.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				close(w.gone)
			}
		}()
	}
	return c.watching.gone
}

// unwatch ends the watcher, so that the connection can be read again.
func (c *conn) unwatch() {
	if c.watching == nil {
		return
	}
	c.net.SetReadDeadline(time.Unix(1, 0))
	<-c.watching.done
	c.net.SetReadDeadline(time.Time{})
	c.watching = nil
}

// meter limits what a request's header may be.
type meter struct {
	r    io.Reader
	left int64
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errors.New("urlsessiontest: request header is too long")
	}
	n, err := m.r.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	return n, err
}

// state is the TLS state, nil on a plain connection.
func (c *conn) state() *tls.ConnectionState {
	if t, ok := c.net.(*tls.Conn); ok {
		state := t.ConnectionState()
		return &state
	}
	return nil
}
