package transfer

import (
	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
)

// announce has a Committer told of the rename to come.
func (d *download) announce(digest string) {
	c, ok := d.Observer.(Committer)
	if !ok {
		return
	}
	d.part.Announce(func(final string, file task.Source) error {
		return c.Committing(&task.Commit{Path: final, Part: d.to.part, File: file, Digest: digest})
	})
}

// committed ends a download whose rename an earlier attempt has done.
func (d *download) committed() (bool, error) {
	c := d.Commit
	if c == nil {
		return false, nil
	}
	done, err := partial.Finish(c.Part, c.Path, c.File)
	if err != nil {
		return done, fileError("make durable", c.Path, err, task.CannotWriteFile)
	}
	if done {
		d.Observer.Received(c.File.Size, c.File.Size)
		d.result.Path, d.result.Digest = c.Path, c.Digest
	}
	return done, nil
}
