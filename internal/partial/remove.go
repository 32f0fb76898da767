package partial

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/urlsession/urlsession/internal/durable"
)

// Remove removes the part file at path with all that lies beside it, none of which needs to be there.
func Remove(path string) (err error) {
	for _, suffix := range []string{recordSuffix, tempSuffix, mismatchSuffix, ""} { // the part file last, as in Discard
		if removed := os.Remove(path + suffix); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}

// Touch keeps the part file at path from Expire by those who have left it, for a task that is to go on from it and may not
// open it for long. What cannot be touched stays as it is.
func Touch(path string) {
	if Owns(filepath.Base(path)) {
		now := unix.NsecToTimespec(time.Now().UnixNano())
		_ = unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{now, now}, unix.AT_SYMLINK_NOFOLLOW)
	}
}

// Expire removes the part file at path, with all that lies beside it, as Remove does, if it was not written after last and no
// task has it open: else somebody has come later who may go on from it. That, and that there is none, is no error.
func Expire(path string, last time.Time) error {
	if !Owns(filepath.Base(path)) {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := durable.Lock(f); err != nil {
		if errors.Is(err, ErrLocked) {
			return nil
		}
		return err
	}
	// As in Open: a task that had the lock until now may have written, or given the file its final name, and another one
	// of this name may be there.
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.ModTime().After(last) {
		return err
	}
	if now, err := os.Lstat(path); err != nil || !os.SameFile(info, now) {
		return nil
	}
	return Remove(path)
}
