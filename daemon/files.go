package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// place is a folder in a session's. It is made, durably, when first needed: a thousand sessions without files cost none.
type place struct {
	dir string

	mu   sync.Mutex
	made bool
}

// folders from the state folder, which is there, down to dir: STATE/sessions/NAME/dir.
func (p *place) make() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made {
		if _, err := os.Stat(p.dir); err == nil {
			return nil
		} // somebody has tidied up
	}
	session := filepath.Dir(p.dir)
	for _, dir := range []string{filepath.Dir(session), session, p.dir} {
		if err := durable.MakeDir(dir); err != nil {
			return err
		}
	}
	p.made = true
	return nil
}

// names are the files in the folder, without those that a kill has left half-written, which are removed.
func (p *place) names() ([]string, error) {
	entries, err := os.ReadDir(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			_ = os.Remove(filepath.Join(p.dir, e.Name())) // or the next time
			continue
		}
		names = append(names, e.Name())
	}
	return names, err
}

// bodies are engine.Bodies as files, each named by its task's number.
type bodies struct{ place }

func (b *bodies) path(id task.ID) string {
	return filepath.Join(b.dir, strconv.FormatUint(uint64(id), 10))
}

// Put writes a file beside, fsyncs it, renames it, and fsyncs the folder: then the body is there, whole, also after the loss
// of power, and the end of its task may be stored.
func (b *bodies) Put(id task.ID, body []byte) error {
	err := b.make()
	if err == nil {
		err = durable.WriteFile(b.path(id), body, 0o600)
	}
	if err == nil {
		err = durable.SyncDir(b.dir)
	}
	return err
}

func (b *bodies) Open(id task.ID) (io.ReadCloser, error) { return os.Open(b.path(id)) }

// Remove needs no fsync: one that comes back after the loss of power is an orphan, and collected.
func (b *bodies) Remove(id task.ID) error { return removeFile(b.path(id)) }

func (b *bodies) List() (ids []task.ID, err error) {
	names, err := b.names()
	for _, name := range names {
		if n, err := strconv.ParseUint(name, 10, 64); err == nil {
			ids = append(ids, task.ID(n))
		}
	}
	return ids, err
}

// spool is engine.Spool as files with names of chance.
type spool struct{ place }

// spoolBuffer is read and written at a time.
const spoolBuffer = 256 << 10

// Keep writes a body to its end, fsyncs the file and then its folder: when the task is stored that names the file, it is
// there, whole. On an error nothing is left of it.
func (s *spool) Keep(ctx context.Context, body io.Reader) (_ task.Body, err error) {
	if err := s.make(); err != nil {
		return task.Body{}, spoolError(s.dir, err)
	}
	path := filepath.Join(s.dir, rand.Text())
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return task.Body{}, spoolError(path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(path)
		}
	}()
	from := &boundReader{ctx: ctx, r: body}
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, from, make([]byte, spoolBuffer))
	if err == nil {
		err = durable.SyncData(f)
	}
	if closed := f.Close(); err == nil {
		err = closed // a network file system can report a failed write as late as here
	}
	if err == nil {
		err = durable.SyncDir(s.dir)
	}
	switch {
	case from.err != nil:
		return task.Body{}, from.err
	case err != nil:
		return task.Body{}, spoolError(path, err)
	}
	return task.Body{Path: path, Size: n}, nil
}

func (s *spool) Remove(path string) error { return removeFile(path) }

func (s *spool) List() ([]string, error) {
	names, err := s.names()
	for i, name := range names {
		names[i] = filepath.Join(s.dir, name)
	}
	return names, err
}

// boundReader reads while its context lasts, and keeps its reader's error apart from the disk's.
type boundReader struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (b *boundReader) Read(p []byte) (int, error) {
	if b.err = b.ctx.Err(); b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

func spoolError(path string, err error) error {
	why := fmt.Errorf("the daemon's copy cannot be written: %w", err)
	if noRoom(err) {
		why = fmt.Errorf("%w: make room on its disk, or give the body as a file", why)
	}
	return &task.Error{Op: "keep request body", URL: path, Code: task.CannotWriteFile, Err: why}
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
