package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/urlsession/urlsession/internal/task"
)

// requestBody is the reader that came with a task. Each attempt, and each redirect that keeps the body, reads it from
// its start.
type requestBody struct {
	from    io.Reader // nil: the task has none
	last    *bodyReader
	rewound []io.Closer // what Rewind returned, to be closed at the task's end
}

// rewinder is a body that starts anew in its own way.
type rewinder interface {
	Rewind() (io.Reader, error)
}

func (b *requestBody) rewinds() bool {
	switch b.from.(type) {
	case rewinder, io.Seeker:
		return true
	}
	return false
}

// consumed says whether a new start needs a rewind.
func (b *requestBody) consumed() bool { return b.last != nil && b.last.consumed() }

// opener is an attempt's way to the body. A transport may go on to read a body whose request has failed, and close it
// later (see http.RoundTripper): a new start takes the reader away from the one before, and waits only for a Read that is
// under way, or for ctx, the attempt's end.
func (b *requestBody) opener(ctx context.Context) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		from := b.from
		if last := b.last; last != nil {
			last.Close()
			select {
			case <-last.free:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			from = last.from
			if last.consumed() {
				var err error
				if from, err = b.rewind(); err != nil {
					return nil, &task.Error{Op: "rewind request body", Code: task.BodyStreamExhausted, Err: err}
				}
			}
		}
		b.last = &bodyReader{from: from, free: make(chan struct{})}
		if at, ok := from.(io.ReaderAt); ok {
			return readerAt{b.last, at}, nil
		}
		return b.last, nil
	}
}

func (b *requestBody) rewind() (io.Reader, error) {
	switch from := b.from.(type) {
	case rewinder:
		next, err := from.Rewind()
		if c, ok := next.(io.Closer); ok && err == nil {
			b.rewound = append(b.rewound, c)
		}
		return next, err
	case io.Seeker:
		_, err := from.Seek(0, io.SeekStart)
		return b.from, err
	}
	return nil, errors.New("it has to be sent again, and the stream was given without a way to rewind it")
}

// close ends the body with its task: at once, or with the Read that is under way.
func (b *requestBody) close() {
	if b.last != nil {
		b.last.Close()
		b.last.then(b.closeAll)
	} else {
		b.closeAll()
	}
}

func (b *requestBody) closeAll() {
	if c, ok := b.from.(io.Closer); ok {
		c.Close()
	}
	for _, c := range b.rewound {
		c.Close()
	}
}

// bodyReader is one reading of a body. It reads nothing after Close, which may be called beside a Read, and again.
type bodyReader struct {
	from io.Reader
	free chan struct{} // closed when from is nobody's: after Close, and the Read that was under way

	mu      sync.Mutex
	read    bool // some Read has begun
	reading bool
	closed  bool
	after   func() // called when it is free
}

// readerAt is a bodyReader whose body can be read at any place besides, also after its end.
type readerAt struct {
	*bodyReader
	io.ReaderAt
}

func (r *bodyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return 0, os.ErrClosed
	}
	r.read, r.reading = true, true
	r.mu.Unlock()

	n, err := r.from.Read(p)

	r.mu.Lock()
	r.reading = false
	r.release()
	return n, err
}

func (r *bodyReader) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.release()
	return nil
}

// release frees from, if that is due, and unlocks.
func (r *bodyReader) release() {
	var after func()
	if r.closed && !r.reading {
		close(r.free)
		after, r.after = r.after, nil
	}
	r.mu.Unlock()
	if after != nil {
		after()
	}
}

// then calls f once the reader is free. It is called once, after Close.
func (r *bodyReader) then(f func()) {
	r.mu.Lock()
	free := !r.reading
	if !free {
		r.after = f
	}
	r.mu.Unlock()
	if free {
		f()
	}
}

func (r *bodyReader) consumed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read
}
