package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// MakeDir makes a folder, and those above it, for their owner alone. That it is there is durable when it returns nil: the
// folder above is fsynced, also where it was there before, since a kill may have come between.
func MakeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := MakeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err = SyncDir(filepath.Dir(dir))
	if errors.Is(err, fs.ErrPermission) { // who cannot read the folder above has not made this one
		return nil
	}
	return err
}
