//go:build !unix

package urlsession

import (
	"io/fs"

	"github.com/urlsession/urlsession/internal/task"
)

// sourceOf notes what a file is, so that a later look tells whether it is still the same.
func sourceOf(info fs.FileInfo) *task.Source {
	return &task.Source{Size: info.Size(), ModTime: info.ModTime()}
}
