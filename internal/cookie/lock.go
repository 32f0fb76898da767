package cookie

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// exclusive calls fn while no other goroutine and no other process reads to write, or writes, the file; but neither locks nor
// calls where needless, called while no other goroutine does, says so. What fn has noticed is told once nothing is locked.
func (s *Storage) exclusive(ctx context.Context, needless func() bool, fn func(lock *os.File) error) error {
	f := s.file
	select {
	case f.busy <- struct{}{}:
	case <-ctx.Done():
		return fileError("lock", f.path, task.CodeOf(ctx.Err()), ctx.Err())
	}
	if needless() {
		<-f.busy
		return nil
	}
	lock, err := f.lock(ctx)
	if err == nil {
		err = fn(lock)
		lock.Close()
	}
	noticed := f.noticed
	f.noticed = nil
	<-f.busy
	f.tell(noticed)
	return err
}

// lock waits for the file's lock. It polls: flock has no way to wait until a context ends.
func (f *file) lock(ctx context.Context) (*os.File, error) {
	path := f.path + ".lock"
	made := false
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if errors.Is(err, fs.ErrNotExist) && !made { // there is no folder yet
			if err = durable.MakeDir(filepath.Dir(path)); err == nil {
				made = true
				continue
			}
		}
		if err != nil {
			return nil, fileError("lock", f.path, task.CannotOpenFile, err)
		}
		if err = durable.Lock(lock); err == nil {
			mine, err1 := lock.Stat()
			named, err2 := os.Stat(path)
			if err1 == nil && err2 == nil && os.SameFile(mine, named) {
				return lock, nil
			}
			lock.Close() // another's Reset has removed it
			continue
		}
		lock.Close()
		if !errors.Is(err, durable.ErrLocked) {
			return nil, fileError("lock", f.path, task.CannotOpenFile, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, fileError("lock", f.path, task.CodeOf(ctx.Err()), errors.Join(ctx.Err(), durable.ErrLocked))
		}
	}
}
