package durable

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another open file, of this process or another, holds the lock.
var ErrLocked = errors.New("in use by another task or program")

// Lock locks f for whoever opened it, without waiting: flock(2), exclusive. It is advisory, belongs to the file and
// not to its name, so that a rename keeps it, and ends with Unlock, or when f is closed or the process ends, by kill -9 too. An open
// of the same file elsewhere in the process is another holder. The error is ErrLocked when there is one.
//
// The lock lies on the descriptor that is written by: gofrs/flock would open a second one, which could come to stand
// for another file of the same name, and costs two system calls a file.
func Lock(f *os.File) error {
	return control(f, "lock", func(fd uintptr) error {
		err := unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return ErrLocked
		}
		return err
	})
}

// Unlock ends the lock of f before its close. Close alone leaves it to a child process that is being started at the moment:
// between its fork and its exec it has f open, too.
func Unlock(f *os.File) error {
	return control(f, "unlock", func(fd uintptr) error { return unix.Flock(int(fd), unix.LOCK_UN) })
}

// control calls fn on f's descriptor, which stays open meanwhile, and names the file in its error.
func control(f *os.File, op string, fn func(fd uintptr) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: err}
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = retry(func() error { return fn(fd) }) }); err != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: os.ErrClosed} // the one reason of Control's own
	}
	if failed != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: failed}
	}
	return nil
}
