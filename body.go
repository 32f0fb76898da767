package urlsession

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/urlsession/urlsession/internal/task"
)

// Body is the body of a request; the zero value is none. It is made by Bytes, Text, JSON, File, Stream and Form. What is
// wrong with it is an error of the creation of a task. A Body serves any number of requests, but for one of Stream.
type Body struct {
	// open makes the body ready for one task; nil: no body.
	open func() (openedBody, error)
	// contentType is sent where the request has no Content-Type of its own.
	contentType string
	// apart says that its parts can be read side by side, in process.
	apart bool
}

// openedBody is a body as a service takes it: spec's Path names a file, else reader has the bytes.
type openedBody struct {
	spec   task.Body
	reader io.Reader
}

// Bytes is a body of these bytes, which must not be changed until its tasks have ended. It has no Content-Type of its
// own.
func Bytes(b []byte) Body {
	return Body{apart: true, open: func() (openedBody, error) {
		return openedBody{task.Body{Size: int64(len(b))}, bytes.NewReader(b)}, nil
	}}
}

// Text is a body of text, as "text/plain; charset=utf-8".
func Text(s string) Body {
	b := Bytes([]byte(s))
	b.contentType = "text/plain; charset=utf-8"
	return b
}

// JSON is a body of v as encoding/json writes it, now, as "application/json".
func JSON(v any) Body {
	data, err := json.Marshal(v)
	if err != nil {
		return Body{apart: true, open: func() (openedBody, error) {
			return openedBody{}, &Error{Op: "encode JSON body", Code: ErrUnknown, Err: err}
		}}
	}
	b := Bytes(data)
	b.contentType = "application/json"
	return b
}

// File is a body of a regular file, sent as it is without being held in memory. The path may be relative to the
// working directory of the moment when the task is created; then the file must exist (else ErrFileDoesNotExist,
// ErrFileIsDirectory or ErrNoPermission), and its size, time and identity are noted: a task whose file is no longer that
// one fails with ErrSourceChanged. It has no Content-Type of its own.
func File(path string) Body {
	return Body{apart: true, open: func() (openedBody, error) {
		abs, info, err := statSource("open body file", path)
		if err != nil {
			return openedBody{}, err
		}
		return openedBody{spec: task.Body{Path: abs, Size: info.Size(), Source: sourceOf(info)}}, nil
	}}
}

// Stream is a body that is read from r, from one goroutine, while it is sent. size is its length in bytes, which it then
// must have; -1: unknown, and it is sent chunked.
//
// rewind gives the body from its start, for a retry, or a redirect that keeps the body. Without it (nil) an r that is a
// seekable io.Seeker is sought back to where it stood; any other then fails the task with ErrBodyStreamExhausted, as does
// a second task of the same Stream. When the task has ended, readers that are an io.Closer are closed.
func Stream(r io.Reader, size int64, rewind func() (io.Reader, error)) Body {
	used := new(atomic.Bool)
	return Body{open: func() (openedBody, error) {
		refuse := func(code Code, why string) (openedBody, error) {
			return openedBody{}, &Error{Op: "open body stream", Code: code, Err: errors.New(why)}
		}
		if r == nil {
			return refuse(ErrUnknown, "its reader is nil; a request without a body has the zero Body")
		}
		if size < -1 {
			return refuse(ErrUnknown, fmt.Sprintf("its size is %d; say how many bytes it has, or -1 where that is not known", size))
		}
		body := openedBody{spec: task.Body{Size: size}}
		if rewind == nil {
			if used.Swap(true) {
				return refuse(ErrBodyStreamExhausted, "it was given to a task before; give Stream a rewind function, or make one a task")
			}
			body.reader = &stream{r, seekBack(r)}
			return body, nil
		}
		first := r
		if used.Swap(true) {
			var err error
			if first, err = rewind(); err != nil {
				return openedBody{}, &Error{Op: "rewind body stream", Code: ErrBodyStreamExhausted, Err: err}
			}
		}
		body.reader = &stream{first, rewind}
		return body, nil
	}}
}

// stream is a body of Stream as a service wants it: with Rewind only where that works.
type stream struct {
	io.Reader
	rewind func() (io.Reader, error) // nil: it cannot be done
}

func (s *stream) Rewind() (io.Reader, error) {
	if s.rewind == nil {
		return nil, task.BodyStreamExhausted
	}
	return s.rewind()
}

func (s *stream) Close() error {
	if c, ok := s.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// seekBack is a rewind function of a reader that can seek to where it stands; nil where it cannot, as a pipe.
func seekBack(r io.Reader) func() (io.Reader, error) {
	s, ok := r.(io.Seeker)
	if !ok {
		return nil
	}
	start, err := s.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil
	}
	return func() (io.Reader, error) {
		_, err := s.Seek(start, io.SeekStart)
		return struct{ io.Reader }{r}, err // r itself is closed once, with the stream
	}
}

// statSource looks at a file that is to be read: it must be a regular one, and there must be leave to read it.
func statSource(op, path string) (abs string, info fs.FileInfo, err error) {
	fail := func(code Code, cause error) (string, fs.FileInfo, error) {
		return "", nil, &Error{Op: op, URL: path, Code: code, Err: cause}
	}
	if path == "" {
		return fail(ErrFileDoesNotExist, errors.New("the path is empty"))
	}
	if abs, err = filepath.Abs(path); err != nil {
		return fail(ErrCannotOpenFile, err)
	}
	// Looked at before it is opened: to open a FIFO would wait for its writer.
	if info, err = os.Stat(abs); err == nil && info.Mode().IsRegular() {
		var f *os.File
		if f, err = os.Open(abs); err == nil {
			defer f.Close()
			info, err = f.Stat()
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(ErrFileDoesNotExist, withoutPath(err))
	case errors.Is(err, fs.ErrPermission):
		return fail(ErrNoPermission, withoutPath(err))
	case err != nil:
		return fail(ErrCannotOpenFile, withoutPath(err))
	case info.IsDir():
		return fail(ErrFileIsDirectory, errors.New("a file is wanted here"))
	case !info.Mode().IsRegular():
		return fail(ErrCannotOpenFile, errors.New("it is no regular file; a body from a pipe or a device is made by Stream"))
	}
	return abs, info, nil
}

// withoutPath is the cause in an error that names a path which ours names already.
func withoutPath(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
