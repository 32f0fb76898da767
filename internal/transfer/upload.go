package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// expectAbove is the size of a request's body, in bytes, from which the server is asked first (RFC 9110 §10.1.1): a
// refusal then costs no upload.
const expectAbove = 1 << 20

// A requestBody is the body of a task's request. It can be opened more than once: for redirects that keep it, and
// where a kept connection turns out to be dead.
type requestBody struct {
	run  *run
	ctx  context.Context // of the attempt: sending runs in a goroutine of the transport's
	size int64           // -1: unknown
	file *os.File        // nil: run.Body

	base     int64 // where in the file it begins
	from, to int64 // what of it is sent at once; all, but for an upload that is gone on from

	newest  atomic.Pointer[sending]
	failed  atomic.Pointer[error]  // of reading, as against of sending
	whole   atomic.Bool            // its last byte may have left
	reached atomic.Int64           // how many of its bytes may have left, at least
	quiet   atomic.Bool            // the server tells how much it has: what leaves is not told
	kept    atomic.Pointer[opened] // the stream, where the piece before has ended; nil: none
}

// openBody opens the request's body; nil where there is none. It is closed by close.
func (r *run) openBody(ctx context.Context) (*requestBody, error) {
	spec := r.Spec.Request.Body
	fromFile := spec != nil && spec.Path != ""
	if !fromFile && r.Body == nil {
		return nil, nil
	}
	b := &requestBody{run: r, ctx: ctx, size: -1}
	if spec != nil {
		b.size = spec.Size
	}
	if fromFile {
		var err error
		if b.file, b.size, err = openSource(spec.Path, spec.Source); err != nil {
			return nil, err
		}
	}
	b.to = b.size
	return b, nil
}

// cut has what is sent next be the bytes from from to to, which are known. No request is under way.
func (b *requestBody) cut(from, to int64) {
	b.newest.Store(nil)
	b.from, b.to = from, to
	b.quiet.Store(false)
}

// section is n bytes of the file from from on.
func (b *requestBody) section(from, n int64) *io.SectionReader {
	return io.NewSectionReader(b.file, b.base+from, n)
}

// left says whether all that was to be sent at once may have left. An answer to the last bytes can be here before their sender
// knows that they have left.
func (b *requestBody) left() bool {
	if b.from == b.to {
		return true
	}
	s := b.newest.Load()
	return s != nil && s.last.Load()
}

// reach notes that what comes before upto may have left.
func (b *requestBody) reach(upto int64) {
	if upto == b.size {
		b.whole.Store(true)
	}
	for at := b.reached.Load(); upto > at && !b.reached.CompareAndSwap(at, upto); at = b.reached.Load() {
	}
}

// length of what is sent at once; -1: unknown.
func (b *requestBody) length() int64 { return b.to - b.from }

// close closes the file, if any. A transport that still sends, after an early response, gets an error.
func (b *requestBody) close() {
	if b == nil {
		return
	}
	b.newest.Store(nil)
	b.closeStream()
	if b.file != nil {
		b.file.Close()
	}
}

// attach makes b the body of req.
func (b *requestBody) attach(req *http.Request) error {
	req.ContentLength = b.length()
	if req.ContentLength == 0 {
		b.reach(b.to)
		req.Body, req.GetBody = http.NoBody, func() (io.ReadCloser, error) { return http.NoBody, nil }
		return nil
	}
	body, err := b.open()
	if err != nil {
		return b.readError(err)
	}
	req.Body, req.GetBody = body, b.open
	return nil
}

// open is Request.GetBody.
func (b *requestBody) open() (io.ReadCloser, error) {
	s := &sending{requestBody: b, to: b.to}
	s.total.Store(b.from)
	b.newest.Store(s)
	b.run.idle.wait(toConnect)
	if b.file != nil {
		body := transport.NewFileBody(b.file, b.base+b.from, b.length(), false, s.moved)
		body.Pace(s)
		return body, nil
	}
	from, err := b.stream()
	if err != nil {
		return nil, err
	}
	s.ReadCloser = newStream(b.ctx, from, b.length())
	return s, nil
}

// sending is a body on its way out, once.
type sending struct {
	*requestBody
	io.ReadCloser
	to    int64 // as requestBody has it, whose own may change while a transport has not noticed that its request was given up
	total atomic.Int64
	last  atomic.Bool // its last bytes are on their way
}

func (s *sending) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	taken, err := s.Take(len(p))
	if err != nil {
		return 0, err
	}
	n, err := s.ReadCloser.Read(p[:taken])
	s.Settle(taken, n)
	if err != nil && err != io.EOF && s.ctx.Err() == nil {
		s.failed.Store(&err)
	}
	if n > 0 {
		s.moved(n)
	}
	return n, err
}

// Take and Settle are transport.Pacer. A limit holds from the next piece on.
func (s *sending) Take(n int) (int, error) {
	if s.newest.Load() != s {
		return 0, os.ErrClosed // a transport that has not noticed that its request was given up
	}
	if s.total.Load()+int64(n) >= s.to {
		if err := s.check(); err != nil {
			return 0, err // a server that has not got all finishes nothing
		}
	}
	taken, err := s.run.take(s.ctx, sent, n)
	if err != nil {
		return taken, err
	}
	upto := s.total.Load() + int64(taken)
	if upto >= s.to && s.to >= 0 {
		s.last.Store(true)
	}
	s.reach(upto)
	if s.newest.Load() != s { // after reach: whoever has ended this knows of all that may leave
		s.Settle(taken, 0)
		return 0, os.ErrClosed
	}
	return taken, nil
}

func (s *sending) Settle(taken, used int) { s.run.Limits.settle(sent, taken, used) }

// Stop has what is left not be sent, once the request was refused.
func (s *sending) Stop() { s.newest.CompareAndSwap(s, nil) }

// moved counts bytes that were handed to the connection.
func (s *sending) moved(n int) {
	if s.newest.Load() != s {
		return
	}
	r := s.run
	total := s.total.Add(int64(n))
	r.idle.touch()
	if total == s.to {
		r.idle.waitToSend(toRespond)
	} else {
		r.idle.waitToSend(toSend)
	}
	if !s.quiet.Load() {
		r.Observer.Sent(total, s.size)
	}
}

// exchange sends a request with its body, if any, and returns the final response's head. An early response, before all
// of the body has left, is a response.
func (r *run) exchange(rt http.RoundTripper, req *http.Request, body *requestBody) (*http.Response, error) {
	if body == nil {
		return r.send(rt, req)
	}
	if err := body.attach(req); err != nil {
		return nil, err
	}
	asked := false
	if (body.length() < 0 || body.length() > expectAbove) && req.Header.Get("Expect") == "" {
		req.Header.Set("Expect", "100-continue")
		asked = true
	}
	resp, err := body.send(rt, req)
	if err != nil || !asked || resp.StatusCode != http.StatusExpectationFailed {
		return resp, err
	}
	// RFC 9110 §10.1.1: a client that gets 417 should send again without the expectation.
	resp.Body.Close()
	again := req.Clone(req.Context())
	again.Header.Del("Expect")
	if err := body.attach(again); err != nil {
		return nil, err
	}
	return body.send(rt, again)
}

func (b *requestBody) send(rt http.RoundTripper, req *http.Request) (*http.Response, error) {
	resp, err := b.run.send(rt, req)
	if b.run.stopped() != nil {
		return resp, err
	}
	if err != nil {
		if failed := b.failed.Load(); failed != nil {
			return nil, b.readError(*failed)
		}
	}
	if err != nil || b.left() && (b.from < b.to || b.to == b.size) { // not of an empty creation: its answer may name an upload to drop
		if changed := b.check(); changed != nil {
			if resp != nil {
				b.run.result.Response = responseOf(resp)
				resp.Body.Close()
			}
			return nil, changed
		}
	}
	return resp, err
}

// readError makes the attempt's error of one that reading the body had.
func (b *requestBody) readError(err error) error {
	if e, ok := errors.AsType[*task.Error](err); ok {
		return e
	}
	e := b.run.fail(task.Unknown, 0, err)
	e.Op = "read request body of " + e.Op
	return e
}

// check finds out whether the file still is what it was when the attempt began.
func (b *requestBody) check() error {
	spec := b.run.Spec.Request.Body
	if b.file == nil || spec.Source == nil {
		return nil
	}
	info, err := b.file.Stat()
	if err != nil {
		return sourceError(spec.Path, err)
	}
	return compare(spec.Path, info, spec.Source)
}

// openSource opens an upload's file, which must be the one that it was when the task was created.
func openSource(path string, source *task.Source) (*os.File, int64, error) {
	info, err := os.Stat(path) // before the open, which would wait for ever on a FIFO
	if err != nil {
		return nil, 0, sourceError(path, err)
	}
	if err := uploadable(path, info); err != nil {
		return nil, 0, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, sourceError(path, err)
	}
	if info, err = file.Stat(); err != nil {
		err = sourceError(path, err)
	} else if err = uploadable(path, info); err == nil && source != nil {
		err = compare(path, info, source)
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

func uploadable(path string, info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return &task.Error{Op: "upload", URL: path, Code: task.FileIsDirectory, Err: errors.New("give a file")}
	case !info.Mode().IsRegular():
		return &task.Error{Op: "upload", URL: path, Code: task.CannotOpenFile,
			Err: errors.New("it is no regular file; give it as a stream")}
	}
	return nil
}

// compare finds what of a file is not as its source was.
func compare(path string, info fs.FileInfo, source *task.Source) error {
	now := task.Source{Size: info.Size(), ModTime: info.ModTime(), Inode: source.Inode}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		now.Inode = stat.Ino
	}
	what := source.Changed(&now)
	if what == "" {
		return nil
	}
	return &task.Error{Op: "upload", URL: path, Code: task.SourceChanged,
		Err: fmt.Errorf("%s since the task was created; create a new task", what)}
}

func sourceError(path string, err error) error {
	return fileError("upload", path, err, task.CannotOpenFile)
}
