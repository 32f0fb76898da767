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
	closes bool

	stopped atomic.Bool
}

// A stopper is a request's body whose sending can be ended, because the request was refused before all of it had left.
type stopper interface{ Stop() }

var errStopped = errors.New("the request was refused before its body had left")

// NewFileBody is the body of n bytes of file from offset on. onSent, unless nil, is called with the size of each piece
// that was handed to the connection, from the goroutine that sends; it may block, to throttle. Closing the body closes
// the file where own says so.
func NewFileBody(file *os.File, offset, n int64, own bool, onSent func(n int)) *FileBody {
	return &FileBody{file: file, offset: offset, left: n, onSent: onSent, closes: own}
}

// Read reads the next bytes of the section; they count as sent.
func (b *FileBody) Read(p []byte) (int, error) {
	if b.stopped.Load() {
		return 0, errStopped
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.file.ReadAt(p[:min(int64(len(p)), b.left)], b.offset)
	b.sent(n)
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

func (b *FileBody) sent(n int) {
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
