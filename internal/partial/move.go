package partial

import (
	"errors"
	"io/fs"
	"os"

	"github.com/urlsession/urlsession/internal/durable"
)

// Move gives the part file another name in its folder, which nothing has, together with its record: another download takes
// it on. A kill or the loss of power leaves all that is held under the one name or the other, beside litter of the other at
// worst. After an error the File is as it was. Not while a WriteAt runs.
func (f *File) Move(path string) error {
	f.take()
	defer f.release()
	if err := f.quiet("move"); err != nil {
		return err
	}
	f.removeTemp()
	from := f.path
	// The record has both names, durably, before the part file has the new one.
	os.Remove(path + recordSuffix) // of a Move that was killed
	if err := os.Link(from+recordSuffix, path+recordSuffix); err == nil {
		if err := durable.SyncDir(f.folder()); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := durable.Rename(from, path); err != nil {
		return err
	}
	f.path, f.litter = path, true
	os.Remove(from + recordSuffix)
	return nil // the folder's fsync comes with the next record, or the end
}
