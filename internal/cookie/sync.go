package cookie

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// sync makes file and memory one. Once it returns nil, all changes made before it are durable.
func (s *Storage) sync(ctx context.Context) error {
	f := s.file
	return s.exclusive(ctx, s.synced, func(lock *os.File) error {
		if err := s.load(lock); err != nil {
			return err
		}
		all, seq := s.unwritten()
		if seq == 0 {
			return nil
		}
		data, err := encode(all, f.sealer)
		if err == nil {
			err = durable.WriteFileVia(f.path+".tmp", f.path, data, 0o600) // fsync, rename
		}
		if err == nil {
			f.seen, err = identify(f.path)
		}
		if err == nil {
			err = durable.SyncDir(filepath.Dir(f.path))
		}
		if err != nil {
			return fileError("write", f.path, task.CannotWriteFile, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		f.written = seq
		return nil
	})
}

// synced tells whether file and memory are one already. busy is held.
func (s *Storage) synced() bool {
	s.mu.RLock()
	clean := s.file.changed <= s.file.written
	s.mu.RUnlock()
	if !clean {
		return false
	}
	id, err := identify(s.file.path)
	return err == nil && id.same(s.file.seen)
}

// unwritten is what the file is to hold, and the change that it has by it; 0: it has all already.
func (s *Storage) unwritten() (content, uint64) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.file
	if f.changed <= f.written {
		return content{}, 0
	}
	f.forget(now)
	all := content{
		cookies: s.list(func(e *entry) bool { return !e.session() && !e.expired(now) }),
		removed: make(map[key]time.Time, len(f.removed)),
	}
	for k, gone := range f.removed {
		all.removed[k] = gone.at
	}
	return all, s.seq
}

// identity tells one state of a file from another. Its header is of it, since a file system gives the number of a file that
// was replaced to the next, and its clock may stand for some milliseconds. The zero identity is that of no file.
type identity struct {
	info   fs.FileInfo
	header string
}

func (a identity) same(b identity) bool {
	if a.info == nil || b.info == nil {
		return a.info == nil && b.info == nil
	}
	return os.SameFile(a.info, b.info) && a.info.Size() == b.info.Size() && a.info.ModTime().Equal(b.info.ModTime()) && a.header == b.header
}

// identify looks at what stands at path.
func identify(path string) (identity, error) {
	in, id, err := openFile(path)
	if in != nil {
		in.Close()
	}
	return id, err
}

// openFile opens what stands at path; a nil file: nothing. Its offset is behind the header.
func openFile(path string) (*os.File, identity, error) {
	in, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it does not wait for a FIFO's other end
	if errors.Is(err, fs.ErrNotExist) {
		return nil, identity{}, nil
	}
	if err != nil {
		return nil, identity{}, err
	}
	info, err := in.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	header := make([]byte, headerSize)
	if err == nil {
		var n int
		n, err = io.ReadFull(in, header)
		header = header[:n]
		if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
			err = nil // decode says what is to be said
		}
	}
	if err != nil {
		in.Close()
		return nil, identity{}, err
	}
	return in, identity{info, string(header)}, nil
}

// load merges the file if it is another one than was merged last. With the lock held, one that is damaged is set aside;
// without (nil), the error is ErrDamaged. busy is held.
func (s *Storage) load(lock *os.File) error {
	f := s.file
	in, id, err := openFile(f.path)
	if in != nil {
		defer in.Close()
	}
	if err == nil && id.same(f.seen) {
		return nil
	}
	var all content
	if err == nil && in != nil {
		all, err = f.read(in, id.header)
	}
	switch {
	case err == nil:
		s.merge(all, time.Now())
		f.seen = id
	case errors.Is(err, ErrDamaged) && lock != nil:
		return s.setAside(err)
	default:
		return fileError("read", f.path, task.CannotOpenFile, err)
	}
	return nil
}

// read reads the rest of a file that has begun with header.
func (f *file) read(in io.Reader, header string) (content, error) {
	var data bytes.Buffer
	data.WriteString(header)
	if n, err := io.Copy(&data, io.LimitReader(in, maxFileSize+1)); err != nil {
		return content{}, err
	} else if n > maxFileSize {
		return content{}, fmt.Errorf("%w: it is too large", ErrDamaged)
	}
	return decode(data.Bytes(), f.sealer)
}
