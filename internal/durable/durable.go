// Package durable holds the system calls that make a promise about the disk true, each with the promise beside it.
//
// What the kernel gives, and what this package builds on:
//
//   - write and pwrite put bytes in the page cache. They survive kill -9 of the process, not the loss of power.
//   - fsync(file) makes a file's content, size and mode survive the loss of power; fdatasync(file) its content and its
//     size. Neither makes its name survive: a new file that was fsynced can be gone, because no folder names it.
//   - rename replaces a name atomically: whoever looks sees the old file or the new one, also after a kill. After the
//     loss of power it is either one too, and the new one is whole only if it was fsynced before the rename.
//   - fsync(folder) makes the names in it survive: files created, renamed and removed before the call.
//   - An fsync that failed must not be tried again in the hope that it succeeds: the kernel may have dropped the pages
//     that it could not write and report success the next time. What was written since the last good fsync is lost.
//
// So a file that has to be there is written, fsynced, renamed, and its folder fsynced, in this order.
//
// All functions may be called from several goroutines. Errors are *fs.PathError or *os.LinkError around the kernel's
// error, so that errors.Is(err, syscall.ENOSPC) and errors.Is(err, fs.ErrExist) work.
package durable

import (
	"errors"

	"golang.org/x/sys/unix"
)

// retry calls fn until a signal does not interrupt it: slow and network file systems return EINTR.
func retry(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
