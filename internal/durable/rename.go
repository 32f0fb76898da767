package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Rename renames a file. A file or symbolic link at newPath is replaced atomically; a folder is an error (EISDIR).
// Neither the content nor the name is durable by it: fsync the file before, SyncDir the folder after.
func Rename(oldPath, newPath string) error {
	// Not os.Rename: that asks first, in a system call of its own, what the kernel knows anyhow.
	if err := retry(func() error { return unix.Rename(oldPath, newPath) }); err != nil {
		return &os.LinkError{Op: "rename", Old: oldPath, New: newPath, Err: err}
	}
	return nil
}

// RenameNoReplace renames a file and never replaces another: what stands at newPath, be it a dangling symbolic link,
// makes it an error that is fs.ErrExist, and leaves both as they are. The check and the rename are one step, so that
// nothing can come between.
//
// Where the file system has no such rename, it links and unlinks: as safe, but a kill between the two leaves the file
// with both names. Where it has no links either, the error says so.
func RenameNoReplace(oldPath, newPath string) error {
	err := retry(func() error { return renameNoReplace(oldPath, newPath) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return linkAndUnlink(oldPath, newPath)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: oldPath, New: newPath, Err: err}
	}
	return nil
}

func linkAndUnlink(oldPath, newPath string) error {
	err := os.Link(oldPath, newPath)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS):
		return &os.LinkError{Op: "rename", Old: oldPath, New: newPath, Err: noSafeRename{err}}
	case err != nil:
		return err
	}
	return os.Remove(oldPath)
}

// noSafeRename says what to do on a file system with neither a rename that does not replace nor links.
type noSafeRename struct{ err error }

func (e noSafeRename) Error() string {
	return "the file system cannot rename without replacing; allow the file to be replaced, or choose another folder"
}

func (e noSafeRename) Unwrap() error { return e.err }
