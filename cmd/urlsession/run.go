package main

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/urlsession/urlsession"
)

// job is one transfer that is to be made.
type job struct {
	item
	// download is what to download to where, upload what to send; both nil: start makes the task.
	download *urlsession.Download
	upload   *urlsession.Request
	start    func(context.Context, *urlsession.Session) (*urlsession.Task, error)
	resume   *resumeFile // upload's --resume; nil: there is none
	// output takes the body of a task whose request has Stream; nil: the body goes elsewhere.
	output *output
	// ended is told how the task has ended, and says how that is to be told; nil: nobody is.
	ended func(context.Context, *urlsession.Task, error) error
	bad   error // there is nothing to transfer: why, told in its turn
}

// create makes the job's task.
func (j *job) create(ctx context.Context, s *urlsession.Session) (*urlsession.Task, error) {
	switch {
	case j.download != nil:
		return s.DownloadTask(ctx, j.download.Request, j.download.Destination)
	case j.upload != nil:
		return s.UploadTask(ctx, *j.upload)
	}
	return j.start(ctx, s)
}

// run is one execution of a command: the session, the jobs under way, and what is told of them.
type run struct {
	session  *urlsession.Session
	progress progress
	events   *eventWriter // nil without --json
	failFast bool
	hint     string // what an interrupted user can do
	unseen   bool   // nobody looks at what a task does before it has ended

	ctx  context.Context // ends when no further job may begin
	stop context.CancelCauseFunc

	mu     sync.Mutex
	failed bool

	keeping sync.Mutex
	kept    *urlsession.Task // that is cancelled for its resume data; nil: none
}

// open makes the session and begins to show progress; to is where a body is streamed to, or nil. Its end is (*run).all.
func (f *sharedFlags) open(std stdio, maxPerHost int, to *output) (*run, error) {
	c, err := f.configuration(maxPerHost)
	if err != nil {
		return nil, err
	}
	session, err := urlsession.New(c)
	if err != nil {
		return nil, usageError{err}
	}
	quiet := f.quiet || to.onTerminal()
	r := &run{session: session, progress: newProgress(std.err, quiet || f.json), unseen: quiet && !f.json}
	if f.json {
		r.events = newEventWriter(std.out)
	}
	r.ctx, r.stop = context.WithCancelCause(context.Background())
	return r, nil
}

// all runs the jobs, at most parallel at once. A job is asked for only when there is soon room for it, and nothing of it
// is kept when it has ended, so that their number costs no memory. It returns when every task has ended: nil, errFailed, or
// errInterrupted after a signal.
func (r *run) all(jobs iter.Seq2[job, error], parallel int) error {
	unwatch := watchSignals(func() { r.end(errInterrupted) })
	defer unwatch()

	feed := feed(r.ctx, jobs)
	var running sync.WaitGroup
	for j := range until(r.ctx, feed) { // a goroutine a transfer, as far as there are any: parallel may be any number
		running.Go(func() {
			r.one(j)
			for j := range until(r.ctx, feed) {
				r.one(j)
			}
		})
		if parallel--; parallel == 0 {
			break
		}
	}
	running.Wait()
	err := r.session.Close()
	r.progress.close()
	if err != nil {
		r.fail("", "", err)
	}
	switch {
	case errors.Is(context.Cause(r.ctx), errInterrupted):
		r.progress.note("urlsession: interrupted" + r.hint)
		return errInterrupted
	case r.hasFailed():
		return errFailed
	}
	return nil
}

// feed hands out the jobs before ctx ends, one ahead of those who take them. It does so in a goroutine of its own: a list may
// come from a pipe that stays silent, and a signal must not wait for it.
func feed(ctx context.Context, jobs iter.Seq2[job, error]) <-chan job {
	feed := make(chan job)
	go func() {
		defer close(feed)
		for j, err := range jobs {
			j.bad = err
			select {
			case feed <- j:
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				return
			}
		}
	}()
	return feed
}

// until yields what comes from feed before ctx ends.
func until(ctx context.Context, feed <-chan job) iter.Seq[job] {
	return func(yield func(job) bool) {
		for {
			select {
			case j, ok := <-feed:
				if !ok || ctx.Err() != nil || !yield(j) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// one makes one transfer, from its task's creation to its end.
func (r *run) one(j job) {
	if j.bad != nil {
		r.fail("", "", j.bad)
		return
	}
	err := r.transfer(j)
	if j.output != nil {
		err = j.output.close(err)
	}
	if err != nil {
		r.fail(j.where, j.url, err)
	}
}

// transfer runs the job's task to its end. A download that nobody looks at needs no handle, and runs in this goroutine.
func (r *run) transfer(j job) error {
	if r.unseen && j.download != nil {
		_, err := r.session.Download(context.Background(), j.download.Request, j.download.Destination)
		return err
	}
	t, err := r.make(j)
	if err != nil {
		return err
	}
	end := r.progress.begin(label(j.item), t)
	follow := r.follow
	if j.resume != nil {
		follow = r.keep
	}
	err = follow(t, j)
	if j.ended != nil {
		err = j.ended(context.Background(), t, err)
	}
	end(err)
	return err
}

// keep is follow that has the job's resume file hold what the upload goes on from.
func (r *run) keep(t *urlsession.Task, j job) error {
	ended := j.resume.watch(t)
	failed := r.follow(t, j)
	ended()
	left, err := j.resume.settle(t, failed)
	if err != nil {
		r.fail(j.where, j.url, &urlsession.Error{Op: "write resume data", URL: j.resume.path, Code: urlsession.ErrCannotWriteFile, Err: err})
	}
	switch {
	case err != nil:
		r.hint = "; make room for what --resume keeps, without which what the server has of the upload cannot be gone on from"
	case left:
		r.hint = "; the same command again goes on with the upload"
	default:
		r.hint = "; the server has nothing of it that could be gone on from"
	}
	return failed
}

// make makes the job's task. One that has a file for it is cancelled for its resume data, from its beginning on.
func (r *run) make(j job) (*urlsession.Task, error) {
	if j.resume == nil {
		return j.create(context.Background(), r.session)
	}
	r.keeping.Lock()
	defer r.keeping.Unlock()
	t, err := j.create(context.Background(), r.session)
	r.kept = t
	return t, err
}

// follow waits for a task's end. Its events are listened to only where somebody wants them.
func (r *run) follow(t *urlsession.Task, j job) error {
	if r.events == nil && j.output == nil {
		_, err := t.Wait(context.Background())
		return err
	}
	var broken error // why we cancelled the task
	for ev, err := range t.Events(context.Background()) {
		if err != nil {
			return err
		}
		if done, ok := ev.(urlsession.Completed); ok && broken == nil {
			broken = done.Err
		}
		if err := r.hand(ev, j.output); err != nil && broken == nil {
			broken = err
			_ = t.Cancel(context.Background()) // fails for a task alone that has ended, which is as well
		}
	}
	return broken
}

// hand passes an event on to those who want it.
func (r *run) hand(ev urlsession.Event, to *output) error {
	if r.events != nil {
		if err := r.events.write(ev); err != nil {
			err = &urlsession.Error{Op: "write events", Code: urlsession.ErrCannotWriteFile, Err: err}
			r.end(err) // nobody is told of the others either
			return err
		}
	}
	if to != nil {
		return to.event(ev)
	}
	return nil
}

// fail reports one failure, in one line. After the run was stopped, that a task was cancelled is no news.
func (r *run) fail(where, url string, err error) {
	stopped := r.ctx.Err() != nil
	if stopped && (errors.Is(err, urlsession.ErrCancelled) || errors.Is(err, urlsession.ErrSessionInvalidated)) {
		return
	}
	r.mu.Lock()
	r.failed = true
	r.mu.Unlock()
	r.progress.note(failureLine(where, url, err))
	if r.failFast && !stopped {
		r.end(errFailed)
	}
}

// end stops the run for a cause: no further job begins, and those under way are cancelled, each after it has recorded
// what it holds.
func (r *run) end(cause error) {
	r.stop(cause)
	r.keeping.Lock()
	defer r.keeping.Unlock()
	if r.kept != nil {
		_, _ = r.kept.CancelForResumeData(context.Background()) // settle has them
	}
	_ = r.session.InvalidateAndCancel(context.Background()) // in process it cannot fail
}

func (r *run) hasFailed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// label is what progress calls an item: its file's name, or its URL.
func label(it item) string {
	if it.name != "" {
		return oneLine(it.name)
	}
	return oneLine(redact(it.url))
}

// single is a sequence of one job.
func single(j job) iter.Seq2[job, error] { return sequence([]job{j}) }

// sequence are jobs that are all known.
func sequence(jobs []job) iter.Seq2[job, error] {
	return func(yield func(job, error) bool) {
		for _, j := range jobs {
			if !yield(j, nil) {
				return
			}
		}
	}
}
