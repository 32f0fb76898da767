package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// Finish is Service.Finish.
func (e *Engine) Finish(ctx context.Context) error { return e.end(ctx, false) }

// Invalidate is Service.Invalidate.
func (e *Engine) Invalidate(ctx context.Context) error { return e.end(ctx, true) }

// Close invalidates the session, cancels its tasks and waits until all of them have ended and no goroutine is left. An
// engine whose session is to go on is ended by Stop, after which Close does nothing.
func (e *Engine) Close() error {
	if e.hasStopped() {
		return nil
	}
	err := e.end(context.Background(), true)
	if err == nil {
		e.abandoned.hurry()
		e.attempts.Wait()
	}
	if e.lasting != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = e.Stop(ctx) // at once: all were cancelled, or err says why not
	}
	return err
}

// end closes the session, which a store that outlives the process knows first: else the next process would open it again.
func (e *Engine) end(ctx context.Context, cancel bool) error {
	leave, err := e.enter("invalidate session")
	if err != nil {
		return err
	}
	defer leave()
	if e.lasting != nil {
		if err := e.storeEnd(ctx, cancel); err != nil {
			return e.storeError("invalidate session", err)
		}
	}
	e.mu.Lock()
	e.closed = true
	e.cancel = e.cancel || cancel
	e.mu.Unlock()
	if cancel {
		runs := e.resident()
		e.together(len(runs), func(i int) {
			r := runs[i]
			r.mu.Lock()
			defer r.unlock()
			switch {
			case r.gone:
			case r.phase == finished:
				r.finish() // its end could not be stored, and there is no later
			default:
				r.cancelLocked()
			}
		})
		if e.lasting != nil {
			e.attempts.Go(e.cancelStored)
		}
	}
	e.invalidateIfDone()
	return nil
}

// cancelAtOnce is how many tasks are cancelled side by side in a session that outlives its process: their ends share commits.
const cancelAtOnce = 64

// together calls f for each number below n: in order, or, where writes take long, side by side and until the engine stops.
func (e *Engine) together(n int, f func(i int)) {
	if e.lasting == nil {
		for i := range n {
			f(i)
		}
		return
	}
	var all sync.WaitGroup
	var next atomic.Int64
	for range min(n, cancelAtOnce) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !e.hasStopped(); i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}

func (e *Engine) storeEnd(ctx context.Context, cancel bool) error {
	state, err := e.lasting.State(ctx)
	if err != nil {
		return err
	}
	next := store.Finishing
	if cancel {
		next = store.Canceling
	}
	if state == store.Invalidated || state == store.Canceling || state == next {
		return nil
	}
	return e.lasting.SetState(ctx, next)
}

// later calls f after saveAgain, unless the engine has stopped: the store has not taken what it writes.
func (e *Engine) later(op string, f func()) {
	time.AfterFunc(saveAgain, func() {
		if leave, err := e.enter(op); err == nil {
			defer leave()
			f()
		}
	})
}

// invalidateIfDone stores the session's last event once it is closed and its last task has ended.
func (e *Engine) invalidateIfDone() {
	e.mu.Lock()
	last := e.closed && !e.gone && e.alive+e.creating == 0
	if last {
		e.gone = true
		e.releaseHosts()
	}
	e.mu.Unlock()
	if !last {
		return
	}
	err := e.store.Append(context.Background(), task.Invalidated{})
	e.mu.Lock()
	if err != nil && e.lasting != nil { // it is asked again, as finish does
		e.gone = false
		e.mu.Unlock()
		e.later("invalidate session", e.invalidateIfDone)
		return
	}
	e.over = true
	e.mu.Unlock()
	e.changed.notify()
}
