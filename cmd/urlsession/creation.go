package main

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/urlsession/urlsession"
)

const (
	// batchMost is the most tasks that are made at once.
	batchMost = 10_000
	// batchPause is how long a batch waits for more jobs: those of a pipe come as they come.
	batchPause = 100 * time.Millisecond
)

// create makes the jobs' tasks in the daemon, many at once, and hands each lot to made, whose error ends it, as
// does one with which the other jobs would fare no better. A job that cannot be made is a failure of its own. From before
// tasks are made until they have been handed over, mu is held.
func (b *background) create(ctx context.Context, jobs iter.Seq2[job, error], made func([]job, []*urlsession.Task) error) error {
	for batch := range batches(ctx, feed(ctx, jobs)) {
		b.mu.Lock()
		err := b.createBatch(ctx, batch, made)
		b.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// createBatch makes the tasks of a batch. The daemon takes all of one or none: a batch that is refused is halved until
// what is wrong stands alone.
func (b *background) createBatch(ctx context.Context, batch []job, made func([]job, []*urlsession.Task) error) error {
	var good []job
	for _, j := range batch {
		if j.bad != nil {
			b.fail("", "", j.bad)
		} else {
			good = append(good, j)
		}
	}
	if len(good) == 0 {
		return nil
	}
	tasks, err := createAll(ctx, b.session, good)
	switch {
	case err == nil:
		b.created += len(tasks)
		return made(good, tasks)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case endsAll(err):
		return err
	case len(good) == 1:
		b.fail(good[0].where, good[0].url, err)
		return nil
	}
	half := len(good) / 2
	if err := b.createBatch(ctx, good[:half], made); err != nil {
		return err
	}
	return b.createBatch(ctx, good[half:], made)
}

// createAll makes all tasks or none.
func createAll(ctx context.Context, s *urlsession.Session, jobs []job) ([]*urlsession.Task, error) {
	if len(jobs) == 1 {
		t, err := jobs[0].create(ctx, s)
		return []*urlsession.Task{t}, err
	}
	if jobs[0].upload != nil {
		requests := make([]urlsession.Request, len(jobs))
		for i, j := range jobs {
			requests[i] = *j.upload
		}
		return s.UploadTasks(ctx, requests)
	}
	downloads := make([]urlsession.Download, len(jobs))
	for i, j := range jobs {
		downloads[i] = *j.download
	}
	return s.DownloadTasks(ctx, downloads)
}

// endsAll says whether an error is of the daemon, the session or the disk, and not of one task.
func endsAll(err error) bool {
	for _, code := range []urlsession.Code{
		urlsession.ErrDaemonLost, urlsession.ErrNoSharedContainer, urlsession.ErrSessionInvalidated,
		urlsession.ErrCannotWriteFile, urlsession.ErrTimedOut, urlsession.ErrCancelled,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// batches gathers what comes from feed before ctx ends. A batch of several holds downloads alone, or uploads of files, since
// a command has jobs of one kind.
func batches(ctx context.Context, feed <-chan job) iter.Seq[[]job] {
	return func(yield func([]job) bool) {
		for first := range until(ctx, feed) {
			batch := []job{first}
			for enough := time.After(batchPause); len(batch) < batchMost; {
				select {
				case j, ok := <-feed:
					if ok {
						batch = append(batch, j)
						continue
					}
				case <-enough:
				case <-ctx.Done():
					return
				}
				break
			}
			if !yield(batch) {
				return
			}
		}
	}
}
