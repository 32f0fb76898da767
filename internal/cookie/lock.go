package cookie

import (
	"context"
	"os"

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
		return lockError(ctx, f.path, ctx.Err())
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

// lock waits for the file's lock, and makes the folder where there is none.
func (f *file) lock(ctx context.Context) (*os.File, error) {
	lock, err := durable.AwaitLock(ctx, f.path+".lock")
	if err != nil {
		return nil, lockError(ctx, f.path, err)
	}
	return lock, nil
}

func lockError(ctx context.Context, path string, err error) error {
	code := task.CannotOpenFile
	if ctx.Err() != nil {
		code = task.CodeOf(ctx.Err())
	}
	return fileError("lock", path, code, err)
}
