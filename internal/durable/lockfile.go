package durable

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	firstPause = time.Millisecond // between two tries for a lock, doubled
	mostPause  = 50 * time.Millisecond
)

// AwaitLock makes the file at path, mode 0600, where there is none, with its folder as MakeDir does, and waits for its lock
// until ctx ends: then the error is ctx's and ErrLocked. What it returns is the file that the path names, so that whoever holds
// a lock may remove its file: those who wait for it then make another. Close ends the lock. It polls, since flock has no way to
// wait until a context ends.
func AwaitLock(ctx context.Context, path string) (*os.File, error) {
	made := false
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if errors.Is(err, fs.ErrNotExist) && !made {
			if err = MakeDir(filepath.Dir(path)); err == nil {
				made = true
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		if err = Lock(lock); err == nil {
			mine, err1 := lock.Stat()
			named, err2 := os.Stat(path)
			if err1 == nil && err2 == nil && os.SameFile(mine, named) {
				return lock, nil
			}
			lock.Close() // its holder has removed it
			continue
		}
		lock.Close()
		if !errors.Is(err, ErrLocked) {
			return nil, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}
