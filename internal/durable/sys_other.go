//go:build unix && !linux

package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

func renameNoReplace(oldPath, newPath string) error { return unix.ENOSYS }

// SyncData makes the content and the size of f durable. After an error, what was written since the last success must
// be taken for lost, whatever a later call says.
func SyncData(f *os.File) error { return f.Sync() }
