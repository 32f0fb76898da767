package partial

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

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
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.ModTime().After(last) {
		return err
	}
	if err := durable.Lock(f); err != nil {
		if errors.Is(err, ErrLocked) {
			return nil
		}
		return err
	}
	return Remove(path)
}
