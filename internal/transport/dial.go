package transport

import (
	"context"
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

	// A body that is no file is sent in pieces of copyBuffer, after a slow one in pieces of slowPiece, so that an idle
	// timer that counts what is read of the body sees a slow line move.
	copyBuffer = 256 << 10
	slowPiece  = 16 << 10
	slowWrite  = time.Second
)

// dialContext makes connections for net/http.
func dialContext(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	if dial == nil {
		dial = (&net.Dialer{Timeout: connectTimeout}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if m := metricsOf(ctx); m != nil {
			ctx = m.dialing(ctx)
		}
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c, readEnded: make(chan struct{})}, nil
	}
}

// conn is a connection that sends request bodies with few system calls (a FileBody by sendfile), that does not let a
// failed write hide the server's answer, and that tells the end of TLS from a cut.
//
// A server may answer early and hang up, a 413 to a long upload, say: the write then fails before the answer, which
// waits in the socket's receive buffer, has been read, and net/http drops the connection at the first error it sees. So
// the error of a write onto a connection that the server has ended is kept back until the reader has come to that end
// too, or lastWordTimeout has passed.
type conn struct {
	net.Conn
	endOnce   sync.Once
	readEnded chan struct{} // closed when Read has failed or the connection is closed
	cut       atomic.Bool   // Read has come to the end of what the server sends
	records   records       // Read's
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
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
