package durable

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile replaces the file at path by data, atomically: it writes a temporary file of an unpredictable name in the
// same folder, fsyncs it, and renames it to path. A new file has perm, less the umask.
//
// Whoever reads path sees the old content or the new, never a part of one: at any time, after kill -9, and after the
// loss of power, because the fsync goes before the rename. The folder is not fsynced: after the loss of power either
// content may stand. SyncDir makes it the new one.
//
// On an error the temporary file is removed and the old content stands. A kill can leave a temporary file, named
// ".RANDOM.tmp". A symbolic link at path is replaced, not followed; a folder is an error.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	temp := filepath.Join(filepath.Dir(path), "."+rand.Text()+".tmp")
	if err := stage(temp, data, perm); err != nil {
		return err
	}
	return publish(temp, path)
}

// WriteFileVia is WriteFile with a temporary file of the caller's choice, in the same folder as path. It replaces what
// a kill has left there, so that kills never leave more than one. Only for who holds a lock that makes it the one
// writer of path.
func WriteFileVia(temp, path string, data []byte, perm fs.FileMode) error {
	err := stage(temp, data, perm)
	if errors.Is(err, fs.ErrExist) {
		if err := os.Remove(temp); err != nil {
			return err
		}
		err = stage(temp, data, perm)
	}
	if err != nil {
		return err
	}
	return publish(temp, path)
}

// stage makes temp a new file that holds data durably, but for its name.
func stage(temp string, data []byte, perm fs.FileMode) (err error) {
	// O_EXCL: never through a link, nor into a file that somebody else has open.
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temp)
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync() // before the rename, or the name could come to stand for an empty file
	}
	if closed := f.Close(); err == nil {
		err = closed // a network file system can report a failed write as late as here
	}
	return err
}

// publish gives temp its name; on an error it removes temp.
func publish(temp, path string) error {
	err := Rename(temp, path)
	if err != nil {
		os.Remove(temp)
	}
	return err
}
