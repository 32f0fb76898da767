package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// connectTimeout bounds the making of a connection over all addresses of a host, which share it: a dead one does not
	// eat the time of the next.
	connectTimeout = 30 * time.Second

	// lastWordTimeout is how long a failed write waits for what the server said before it hung up.
	lastWordTimeout = time.Second

	// cleanTimeout bounds conn.awaitClean, which waits for no more than another goroutine's turn.
	cleanTimeout = time.Second

	// A body that is no file is sent in pieces of copyBuffer, after a slow one in pieces of slowPiece, so that an idle
	// timer that counts what is read of the body sees a slow line move.
	copyBuffer = 256 << 10
	slowPiece  = 16 << 10
	slowWrite  = time.Second
)

// dialer makes a connection.
type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialContext makes connections for net/http.
func dialContext(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if m := metricsOf(ctx); m != nil {
			ctx = m.dialing(ctx)
		}
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c, readBegan: make(chan struct{}, 1), readEnded: make(chan struct{})}, nil
	}
}

// conn is a connection that sends request bodies with few system calls (a FileBody by sendfile), that does not let a
// failed write hide the server's answer, that is not used again where more than the answer has come, and that tells the
// end of TLS from a cut.
//
// A server may answer early and hang up, a 413 to a long upload, say: the write then fails before the answer, which
// waits in the socket's receive buffer, has been read, and net/http drops the connection at the first error it sees. So
// the error of a write onto a connection that the server has ended is kept back until the reader has come to that end
// too, or lastWordTimeout has passed.
type conn struct {
	net.Conn
	endOnce   sync.Once
	reading   atomic.Bool   // Read is under way
	readBegan chan struct{} // of one place, full after a Read has begun
	readEnded chan struct{} // closed when Read has failed or the connection is closed
	cut       atomic.Bool   // Read has come to the end of what the server sends
	records   records       // Read's

	known  sync.Once
	tls    *tls.Conn // over it; nil: none
	h2     bool
	remote string
}

// know notes, once, what does not change from request to request; outer is c, or the TLS over it.
func (c *conn) know(outer net.Conn) {
	c.known.Do(func() {
		if t, ok := outer.(*tls.Conn); ok {
			c.tls, c.h2 = t, t.ConnectionState().NegotiatedProtocol == "h2"
		}
		c.remote = c.RemoteAddr().String()
	})
}

func (c *conn) Read(p []byte) (int, error) {
	c.reading.Store(true)
	select {
	case c.readBegan <- struct{}{}:
	default:
	}
	n, err := c.Conn.Read(p)
	c.reading.Store(false)
	c.records.see(p[:n])
	if err != nil {
		if err == io.EOF {
			c.cut.Store(true)
			if c.records.cut() {
				err = errNoCloseNotify
			}
		}
		c.endRead()
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.written(err)
}

func (c *conn) Close() error {
	c.endRead()
	return c.Conn.Close()
}

// awaitClean holds a request back, which was given a kept HTTP/1.1 connection, until net/http has looked at what it had
// read beyond the last answer. Of a server whose answers are longer than they say that is the start of something that
// would pass as the next request's answer; net/http closes the connection when it sees it, and takes another one, but
// only while no request is under way. Where nothing was left, it reads.
//
// What comes only after that cannot be told from an answer.
func (c *conn) awaitClean() {
	var timeout <-chan time.Time
	for !c.reading.Load() {
		if timeout == nil {
			t := time.NewTimer(cleanTimeout)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-c.readBegan:
		case <-c.readEnded:
			return
		case <-timeout:
			return
		}
	}
}

// lastWord is why net/http has closed the connection of HTTP/1.1, where err says only that it did: the alert that it had read
// before the request was written, as that of a server of TLS 1.3 that does not take our certificate. net/http returns the
// one or the other, whichever it comes upon first.
func (c *conn) lastWord(err error) error {
	if c.tls == nil || c.h2 || !errors.Is(err, net.ErrClosed) {
		return err
	}
	_, last := c.tls.Read(make([]byte, 1)) // at once: the connection is closed
	if _, alert := remoteAlert(last); alert {
		return last
	}
	return err
}

func (c *conn) endRead() { c.endOnce.Do(func() { close(c.readEnded) }) }

func (c *conn) written(err error) error {
	if err == nil || !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	t := time.NewTimer(lastWordTimeout)
	defer t.Stop()
	select {
	case <-c.readEnded:
	case <-t.C:
	}
	return err
}

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// ReadFrom sends r to its end. net/http hands it the request's body within an io.LimitedReader.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if body, ok := limited.R.(*FileBody); ok {
			if tcp, ok := c.Conn.(*net.TCPConn); ok {
				n, handled, err := body.sendTo(tcp, limited.N)
				limited.N -= n
				if handled {
					return n, c.written(err)
				}
			}
		}
	}
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	size := copyBuffer
	for sent := int64(0); ; {
		n, err := r.Read(buf[:size])
		if n > 0 {
			start := time.Now()
			written, err := c.Write(buf[:n])
			sent += int64(written)
			if err != nil {
				return sent, err
			}
			if time.Since(start) > slowWrite {
				size = slowPiece
			}
		}
		if err == io.EOF {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}
