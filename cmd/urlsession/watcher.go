package main

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/urlsession/urlsession"
)

// watcher looks at the tasks that it has made until they have ended. One stream of the session's events is enough for any
// number of them.
type watcher struct {
	*background
	events *eventWriter // nil without --json

	// mu guards these, too. It is held while tasks are made, so that no event of a task is looked at before its number is
	// known.
	pending map[urlsession.TaskID]*watchedTask
	closed  bool // no more tasks are made
}

// watchedTask is a task that has not ended yet, as far as the watcher has seen.
type watchedTask struct {
	job
	task *urlsession.Task
	end  func(error) // of its progress; nil: none is shown yet
}

// few is the number of tasks up to which those that wait in a row are shown, too.
const few = 8

// all makes the jobs' tasks and waits for their end. A context that ends, and a daemon that is lost, end it early.
func (w *watcher) all(ctx context.Context, jobs iter.Seq2[job, error]) error {
	info, err := w.session.Info(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watched := make(chan error, 1)
	go func() {
		err := w.watch(ctx, info.Last, func() { stop(errEnded) })
		stop(err) // what nobody looks at is not made
		watched <- err
	}()
	err = w.create(ctx, jobs, w.made)
	w.mu.Lock()
	w.closed = true
	if err != nil || len(w.pending) == 0 {
		stop(errEnded)
	}
	w.mu.Unlock()
	if lost := <-watched; err == nil {
		err = lost
	}
	return err
}

// errEnded is why nobody looks any more, when all is well.
var errEnded = errors.New("all tasks have ended")

// made takes new tasks. mu is held.
func (w *watcher) made(jobs []job, tasks []*urlsession.Task) error {
	for i, t := range tasks {
		p := &watchedTask{job: jobs[i], task: t}
		if len(tasks) <= few {
			p.end = w.progress.begin(label(p.item), t)
		}
		p.download, p.upload, p.start = nil, nil, nil // which are no longer needed, and not small
		w.pending[t.Identifier()] = p
	}
	return nil
}

// watch follows the events after a number until ctx ends, and calls ended when there is nothing left to wait for. Its error is
// why it cannot go on.
func (w *watcher) watch(ctx context.Context, after uint64, ended func()) error {
	for ev, err := range w.session.Observe(ctx, &after) {
		if err == nil {
			err = w.event(ctx, ev, ended)
		}
		if err != nil {
			if errors.Is(context.Cause(ctx), errEnded) {
				return nil
			}
			return err
		}
	}
	return w.review(ctx, ended) // it was invalidated
}

func (w *watcher) event(ctx context.Context, ev urlsession.Event, ended func()) error {
	if _, ok := ev.(urlsession.Gap); ok {
		return w.review(ctx, ended)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.pending[ev.Task()]
	if p == nil {
		return nil // of a task that somebody else has made
	}
	if w.events != nil {
		if err := w.events.write(ev); err != nil {
			return writeError(err)
		}
	}
	switch ev := ev.(type) {
	case urlsession.Completed:
		w.ended(ctx, ev.Task(), ev.Err, ended)
	case urlsession.Waiting: // many do, in a row
	default:
		w.show(p)
	}
	return nil
}

// show begins to show the progress of a task that moves. mu is held.
func (w *watcher) show(p *watchedTask) {
	if _, silent := w.progress.(*silence); !silent && p.end == nil {
		p.end = w.progress.begin(label(p.item), p.task)
	}
}

// ended takes the end of a task. mu is held.
func (w *watcher) ended(ctx context.Context, id urlsession.TaskID, failure error, all func()) {
	p := w.pending[id]
	w.show(p)
	delete(w.pending, id)
	if failure != nil {
		failure = whole(ctx, p.task, failure)
	} else if p.output != nil {
		failure = print(ctx, p.task, p.output)
	}
	if p.output != nil {
		failure = p.output.close(failure)
	}
	if p.ended != nil {
		failure = p.ended(ctx, p.task, failure)
	}
	if p.end != nil {
		p.end(failure)
	}
	if failure != nil {
		w.fail(p.where, p.url, failure)
	}
	if w.closed && len(w.pending) == 0 {
		all()
	}
}

// whole is how a task failed, whose event has it in words alone.
func whole(ctx context.Context, t *urlsession.Task, failure error) error {
	if status, err := t.Status(ctx); err == nil && status.Err != nil { // else it is forgotten by now
		return status.Err
	}
	return failure
}

// print writes the body that is kept with a task.
func print(ctx context.Context, t *urlsession.Task, to *output) error {
	body, err := t.Body(ctx)
	if err != nil {
		return err
	}
	return to.write(body)
}

// review looks at each task, where events of their ends may have been missed.
func (w *watcher) review(ctx context.Context, ended func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, p := range w.pending {
		status, err := p.task.Status(ctx)
		switch {
		case errors.Is(err, urlsession.ErrResourceUnavailable):
			w.ended(ctx, id, fmt.Errorf("task %s has ended and is forgotten: how it ended is not known", taskName{w.identifier, id}), ended)
		case err != nil:
			return err
		case status.State == urlsession.StateCompleted:
			w.ended(ctx, id, status.Err, ended)
		}
	}
	return nil
}
