//go:build unix

package urlsession

import (
	"io/fs"
	"syscall"

	"github.com/urlsession/urlsession/internal/task"
)

// sourceOf notes what a file is, so that a later look tells whether it is still the same.
func sourceOf(info fs.FileInfo) *task.Source {
	s := &task.Source{Size: info.Size(), ModTime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Device, s.Inode = uint64(st.Dev), uint64(st.Ino)
	}
	return s
}
