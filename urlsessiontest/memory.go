package urlsessiontest

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	memoryHost   = "origin.test"
	memoryBuffer = 64 << 10 // bytes in flight in each direction
)

// memoryConn is one end of a connection in memory. Unlike [net.Pipe]'s it has a
// buffer, so that a server may answer a client that is still writing, and can
// be half closed and reset as TCP can. It waits by [sync.Cond] alone, which
// blocks durably in a testing/synctest bubble.
type memoryConn struct {
	in, out       *memoryStream
	local, remote memoryAddr
	abrupt        atomic.Bool // SetLinger(0): the next Close is a reset
}

func newMemoryPipe(address string) (client, server *memoryConn) {
	up, down := newMemoryStream(), newMemoryStream()
	client = &memoryConn{in: down, out: up, local: "client.test:0", remote: memoryAddr(address)}
	server = &memoryConn{in: up, out: down, local: memoryAddr(address), remote: "client.test:0"}
	return client, server
}

func (c *memoryConn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	if err != nil && err != io.EOF {
		err = &net.OpError{Op: "read", Net: "memory", Source: c.local, Addr: c.remote, Err: err}
	}
	return n, err
}

func (c *memoryConn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	if err != nil {
		err = &net.OpError{Op: "write", Net: "memory", Source: c.local, Addr: c.remote, Err: err}
	}
	return n, err
}

// CloseWrite lets the other end read to EOF.
func (c *memoryConn) CloseWrite() error {
	c.out.finish()
	return nil
}

// Close ends both directions; what was written can still be read.
func (c *memoryConn) Close() error {
	if c.abrupt.Load() {
		c.in.abort(net.ErrClosed, syscall.ECONNRESET)
		c.out.abort(syscall.ECONNRESET, net.ErrClosed)
		return nil
	}
	c.in.abort(net.ErrClosed, syscall.EPIPE)
	c.out.finish()
	return nil
}

// SetLinger makes the next Close a reset if seconds is 0, as for TCP.
func (c *memoryConn) SetLinger(seconds int) error {
	c.abrupt.Store(seconds == 0)
	return nil
}

func (c *memoryConn) LocalAddr() net.Addr  { return c.local }
func (c *memoryConn) RemoteAddr() net.Addr { return c.remote }

func (c *memoryConn) SetDeadline(t time.Time) error {
	c.in.reader.set(c.in, t)
	c.out.writer.set(c.out, t)
	return nil
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.reader.set(c.in, t)
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.writer.set(c.out, t)
	return nil
}

type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }

// memoryStream is one direction: a bounded buffer between a writer and a reader.
type memoryStream struct {
	mu       sync.Mutex
	cond     sync.Cond // signalled at each change
	buf      []byte
	finished bool  // EOF after buf
	readErr  error // what a reader, or a writer, gets at once
	writeErr error
	reader   memoryDeadline
	writer   memoryDeadline
}

func newMemoryStream() *memoryStream {
	s := new(memoryStream)
	s.cond.L = &s.mu
	return s
}

func (s *memoryStream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readErr != nil:
			return 0, s.readErr
		case s.reader.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(s.buf) > 0:
			n := copy(p, s.buf)
			s.buf = s.buf[:copy(s.buf, s.buf[n:])]
			s.cond.Broadcast()
			return n, nil
		case s.finished:
			return 0, io.EOF
		}
		s.cond.Wait()
	}
}

func (s *memoryStream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.writeErr != nil:
			return n, s.writeErr
		case s.writer.passed():
			return n, os.ErrDeadlineExceeded
		case len(p) == 0:
			return n, nil
		}
		if m := min(len(p), memoryBuffer-len(s.buf)); m > 0 {
			s.buf = append(s.buf, p[:m]...)
			p, n = p[m:], n+m
			s.cond.Broadcast()
			continue
		}
		s.cond.Wait()
	}
}

// finish is the writer's orderly end.
func (s *memoryStream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished, s.writeErr = true, net.ErrClosed
	s.writer.stop()
	s.cond.Broadcast()
}

// abort ends the stream at once, with what each side's calls then return, unless
// it has ended before. What is in the buffer is lost.
func (s *memoryStream) abort(readErr, writeErr error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readErr == nil {
		s.readErr = readErr
	}
	if s.writeErr == nil {
		s.writeErr = writeErr
	}
	s.buf = nil
	s.reader.stop()
	s.writer.stop()
	s.cond.Broadcast()
}

// memoryDeadline is the deadline of one side; its stream's mu guards it.
type memoryDeadline struct {
	t     time.Time
	timer *time.Timer
}

func (d *memoryDeadline) set(s *memoryStream, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	d.t = t
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.cond.Broadcast()
		})
	}
	s.cond.Broadcast()
}

func (d *memoryDeadline) passed() bool { return !d.t.IsZero() && !time.Now().Before(d.t) }

func (d *memoryDeadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}
