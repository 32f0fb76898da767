package transfer

import (
	"cmp"
	"context"
	"io"
	"os"
	"sync"
)

// streamBuffer is how much of a stream is read ahead, in bytes.
const streamBuffer = 64 << 10

// emptyReads is how often a stream may give neither bytes nor an error, on end.
const emptyReads = 100

// A stream reads a body in a goroutine of its own, which a Read that blocks for ever can keep. The request must not
// wait for it: net/http returns, also of a request that was given up, only when a Read of its body has.
//
// The goroutine begins with the first Read. It ends, and closes the body, when the body has ended or, after Close, as
// soon as the Read that it is in has returned.
type stream struct {
	ctx  context.Context // whose end ends a Read
	from io.ReadCloser

	buf    []byte
	filled chan filling
	empty  chan struct{} // buf may be filled again
	rest   []byte        // of buf, to be handed out
	err    error         // after rest

	mu      sync.Mutex
	begun   bool
	closed  bool
	closing chan struct{} // closed by Close
}

type filling struct {
	n   int
	err error
}

// newStream reads from, of size bytes; -1: unknown.
func newStream(ctx context.Context, from io.ReadCloser, size int64) *stream {
	if size < 0 {
		size = streamBuffer
	}
	return &stream{
		ctx: ctx, from: from, buf: make([]byte, min(size, streamBuffer)),
		filled: make(chan filling), empty: make(chan struct{}, 1), closing: make(chan struct{}),
	}
}

// Read is called by one goroutine at a time.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		if !s.begin() {
			return 0, os.ErrClosed
		}
		select {
		case f := <-s.filled:
			s.rest, s.err = s.buf[:f.n], f.err
		case <-s.ctx.Done():
			return 0, context.Cause(s.ctx)
		case <-s.closing:
			return 0, os.ErrClosed
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// begin lets buf be filled; it is false after Close.
func (s *stream) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if !s.begun {
		s.begun = true
		go s.fill()
	}
	select {
	case s.empty <- struct{}{}:
	default: // it is being filled since an earlier Read, which was given up
	}
	return true
}

func (s *stream) fill() {
	defer s.from.Close()
	for {
		select {
		case <-s.empty:
		case <-s.closing:
			return
		}
		var f filling
		for tries := 0; f.n == 0 && f.err == nil; tries++ {
			if f.n, f.err = s.from.Read(s.buf); tries == emptyReads {
				f.err = cmp.Or(f.err, io.ErrNoProgress)
			}
		}
		select {
		case s.filled <- f:
		case <-s.closing:
			return
		}
		if f.err != nil {
			return
		}
	}
}

// Close may be called beside a Read, and again.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.closing)
	if !s.begun {
		return s.from.Close()
	}
	return nil
}
