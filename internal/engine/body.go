package engine

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/urlsession/urlsession/internal/task"
)

// requestBody is the reader that came with a task. Each attempt, and each redirect that keeps the body, reads it from
// its start.
type requestBody struct {
	from io.Reader // nil: the task has none
	last *bodyReader
	err  error // why it has no second start
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

func (b *requestBody) opened() bool { return b.last != nil }

// opener is an attempt's way to the body. net/http may close a body only after its request has failed (see
// http.RoundTripper), so a new start waits for the close of the one before, or for the attempt's end.
func (b *requestBody) opener(ctx context.Context) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		from := b.from
		if b.last != nil {
			select {
			case <-b.last.closed:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			var err error
			if from, err = b.rewind(); err != nil {
				return nil, &task.Error{Op: "rewind request body", Code: task.BodyStreamExhausted, Err: err}
			}
		}
		b.last = &bodyReader{from: from, closed: make(chan struct{})}
		return b.last, nil
	}
}

func (b *requestBody) rewind() (io.Reader, error) {
	switch from := b.from.(type) {
	case rewinder:
		return from.Rewind()
	case io.Seeker:
		_, err := from.Seek(0, io.SeekStart)
		return b.from, err
	}
	return nil, errors.New("it has to be sent again, and the stream was given without a way to rewind it")
}

// close ends the body with its task.
func (b *requestBody) close() {
	c, ok := b.from.(io.Closer)
	if !ok {
		return
	}
	if b.last != nil {
		select {
		case <-b.last.closed:
		default: // a write is under way in net/http; the body is closed with it
			b.last.end(c)
			return
		}
	}
	c.Close()
}

// bodyReader is one reading of a body.
type bodyReader struct {
	from   io.Reader
	mu     sync.Mutex
	closed chan struct{}
	then   io.Closer // closed after the reading
}

func (r *bodyReader) Read(p []byte) (int, error) { return r.from.Read(p) }

func (r *bodyReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.closed:
		return nil
	default:
	}
	close(r.closed)
	if r.then != nil {
		r.then.Close()
	}
	return nil
}

// end closes c once the reading is over.
func (r *bodyReader) end(c io.Closer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.closed:
		c.Close()
	default:
		r.then = c
	}
}
