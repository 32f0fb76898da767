package transport

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/urlsession/urlsession/internal/task"
)

// FileBody is a request's body that is a section of a file. Over plain HTTP/1.1 the kernel sends it (sendfile), where
// Request.ContentLength is its length; else it is read. It reads by offset: several may share a file, and the file's
// own position stays as it is.
//
// A file that ends before the section does is a SourceChanged.
type FileBody struct {
	file   *os.File
	offset int64 // of the next byte
	left   int64
	onSent func(n int)
	pacer  Pacer // nil: none
	closes bool

	stopped atomic.Bool
}

// A Pacer slows down the sending of a body. Its methods are called by one goroutine at a time.
type Pacer interface {
	// Take waits until some of n bytes may be sent, n > 0, and returns how many, at least one. An error ends the sending.
	Take(n int) (int, error)
	// Settle follows each Take that had no error, and says how many of what it returned were handed to the connection.
	Settle(taken, used int)
}

// A stopper is a request's body whose sending can be ended, because the request was refused before all of it had left.
type stopper interface{ Stop() }

var errStopped = errors.New("the request was refused before its body had left")

// NewFileBody is the body of n bytes of file from offset on. onSent, unless nil, is called with the size of each piece
// that was handed to the connection, from the goroutine that sends. Closing the body closes the file where own says so.
func NewFileBody(file *os.File, offset, n int64, own bool, onSent func(n int)) *FileBody {
	return &FileBody{file: file, offset: offset, left: n, onSent: onSent, closes: own}
}

// Pace has the body sent at p's pace. It is called before the body is sent.
func (b *FileBody) Pace(p Pacer) { b.pacer = p }

// take is Pacer.Take.
func (b *FileBody) take(n int64) (int, error) {
	if b.pacer == nil {
		return int(n), nil
	}
	return b.pacer.Take(int(n))
}

// Read reads the next bytes of the section; they count as sent.
func (b *FileBody) Read(p []byte) (int, error) {
	if b.stopped.Load() {
		return 0, errStopped
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	taken, err := b.take(min(int64(len(p)), b.left))
	if err != nil {
		return 0, err
	}
	n, err := b.file.ReadAt(p[:taken], b.offset)
	b.sent(taken, n)
	if n > 0 {
		return n, nil // an error comes again
	}
	if err == io.EOF {
		return 0, b.short()
	}
	return 0, b.failed(err)
}

// Stop has what is left not be sent. It may be called while the body is sent.
func (b *FileBody) Stop() { b.stopped.Store(true) }

// Close closes the file if the body owns it.
func (b *FileBody) Close() error {
	if !b.closes {
		return nil
	}
	if err := b.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// sent notes that n of taken bytes were sent.
func (b *FileBody) sent(taken, n int) {
	if b.pacer != nil {
		b.pacer.Settle(taken, n)
	}
	b.offset += int64(n)
	b.left -= int64(n)
	if n > 0 && b.onSent != nil {
		b.onSent(n)
	}
}

func (b *FileBody) short() error {
	return &task.Error{Op: "send file", URL: b.file.Name(), Code: task.SourceChanged,
		Err: fmt.Errorf("it ends at byte %d, %d bytes too early: it was cut while it was sent", b.offset, b.left)}
}

func (b *FileBody) failed(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		err = p.Err // the name stands in the Error
	}
	return &task.Error{Op: "send file", URL: b.file.Name(), Code: task.CannotOpenFile, Err: err}
}
