//go:build linux || darwin || freebsd

package platform

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Space is how many bytes the file system that holds path can still take from this user. path must exist. Quotas are
// not seen: a write may fail earlier. A file system without a size of its own has math.MaxInt64 free.
func Space(path string) (free int64, err error) {
	var s unix.Statfs_t
	for {
		err = unix.Statfs(path, &s)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	if s.Blocks == 0 {
		return math.MaxInt64, nil
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
