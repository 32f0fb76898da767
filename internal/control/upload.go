package control

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/urlsession/urlsession/internal/task"
)

// upload is a request's body on its way to the daemon, behind its spec's line. It may go more than once.
type upload struct {
	line []byte
	from io.Reader
	now  *uploadReader // nil: it has not gone yet
}

func newUpload(line []byte, from io.Reader) *upload {
	if from == nil {
		from = strings.NewReader("")
	}
	return &upload{line: append(line, '\n'), from: from}
}

// begin is the body from its start; it is rewound if anything of it was read.
func (u *upload) begin() (io.ReadCloser, error) {
	from := u.from
	if last := u.now; last != nil {
		from = last.from
		if last.wasRead() {
			var err error
			if from, err = u.rewind(); err != nil {
				return nil, &task.Error{Op: "rewind request body", Code: task.BodyStreamExhausted, Err: err}
			}
		}
	}
	u.now = &uploadReader{line: strings.NewReader(string(u.line)), from: from, ended: make(chan struct{}), free: make(chan struct{})}
	return u.now, nil
}

func (u *upload) rewind() (io.Reader, error) {
	switch r := u.from.(type) {
	case interface{ Rewind() (io.Reader, error) }:
		return r.Rewind()
	case io.Seeker:
		_, err := r.Seek(0, io.SeekStart)
		return u.from, err
	}
	return nil, errors.New("the connection to the daemon broke and no task was made; to be sent again, the stream must have a way to rewind it")
}

// settle waits until the transport has closed the body and nobody reads it, or ctx ends: it is not read further then.
func (u *upload) settle(ctx context.Context) {
	select {
	case <-u.now.free:
	case <-ctx.Done():
		u.now.Close()
	}
}

// failure is the error of the body itself, which ended the exchange; nil: there was none.
func (u *upload) failure() error {
	u.now.mu.Lock()
	defer u.now.mu.Unlock()
	if u.now.err == nil {
		return nil
	}
	return &task.Error{Op: "read request body", Code: task.CodeOf(u.now.err), Err: u.now.err}
}

// uploadReader is one sending. It reads nothing after Close, which may be called beside a Read, and again: that Read then ends
// at once, though from's, which fills buffer, may not.
type uploadReader struct {
	line   *strings.Reader
	from   io.Reader
	buffer []byte
	ended  chan struct{} // closed by Close
	free   chan struct{} // closed after Close and from's Read that was under way

	mu      sync.Mutex
	read    bool // from's Read has been called
	reading bool
	closed  bool
	err     error // from's
}

func (r *uploadReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return 0, os.ErrClosed
	}
	if r.line.Len() > 0 {
		defer r.mu.Unlock()
		return r.line.Read(p)
	}
	r.read, r.reading = true, true
	r.mu.Unlock()

	if len(r.buffer) < len(p) {
		r.buffer = make([]byte, len(p))
	}
	buffer := r.buffer[:len(p)]
	type result struct {
		n   int
		err error
	}
	got := make(chan result, 1)
	go func() {
		n, err := r.from.Read(buffer)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.reading = false
		if err != nil && err != io.EOF {
			r.err = err
		}
		if r.closed {
			close(r.free)
		}
		got <- result{n, err}
	}()
	select {
	case g := <-got:
		return copy(p, buffer[:g.n]), g.err
	case <-r.ended:
		return 0, os.ErrClosed
	}
}

func (r *uploadReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		close(r.ended)
		if !r.reading {
			close(r.free)
		}
	}
	return nil
}

func (r *uploadReader) wasRead() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read
}
