package engine

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// Open makes an engine over a store that outlives the process: Options.Store is a store.Durable. Every task of an earlier
// engine that has not ended goes on: one that ran is queued again at once, unless it waits for its time; one that was
// suspended stays so; one that was being cancelled ends with Cancelled; and so the session goes on ending. What cannot go
// on ends with an error that says why: a body that was a stream of the earlier process, and a request that must not be
// sent twice and may have left.
//
// Only one engine at a time may have a session open. An earlier one that lives on is fenced: the store refuses what it
// writes, and its attempts stop.
//
// Open returns when all tasks are known, by some 50 bytes each; their records stay in the store until their turn comes
// (see residentAtMost).
func Open(ctx context.Context, o Options) (*Engine, error) {
	const op = "open session"
	lasting, ok := o.Store.(store.Durable)
	if !ok {
		return nil, &task.Error{Op: op, Code: task.NoSharedContainer, Err: errors.New("its store does not outlive the process")}
	}
	e := New(o)
	e.lasting = lasting
	state, err := lasting.State(ctx)
	if err == nil {
		e.acked, err = lasting.Acknowledged(ctx)
	}
	if err == nil {
		e.audience.told, err = lasting.Last(ctx) // by the earlier process, for all that is known
	}
	if err != nil {
		return nil, e.storeError(op, err)
	}
	left, err := e.listOrphans()
	if err != nil {
		return nil, err
	}
	e.closed, e.cancel = state != store.Open, state == store.Canceling
	e.gone, e.over = state == store.Invalidated, state == store.Invalidated
	e.creating++ // the session does not end before all its tasks are known
	canceling, err := e.inherit(ctx)
	if err != nil {
		_ = e.Stop(ctx) // its error is ctx's end at most
		return nil, e.storeError(op, err)
	}
	e.mu.Lock()
	e.creating--
	e.mu.Unlock()
	e.attempts.Go(func() {
		for _, id := range canceling {
			if e.hasStopped() {
				return
			}
			e.recall(id)
		}
		if state == store.Canceling {
			e.cancelStored()
		} else if o.Known != nil {
			e.useKnown(o.Known)
		}
		e.collect(left)
	})
	e.invalidateIfDone()
	e.tellUnattended()
	e.expireSoon()
	return e, nil
}

// inherit queues the tasks of an earlier engine, and returns those that it was cancelling.
func (e *Engine) inherit(ctx context.Context) (canceling []task.ID, err error) {
	var after task.ID
	for {
		page, err := e.lasting.Pending(ctx, after, 1024)
		if err != nil || len(page) == 0 {
			return canceling, err
		}
		after = page[len(page)-1].ID
		now := time.Now()
		e.mu.Lock()
		e.alive += len(page)
		e.inherited = after
		for i := range page {
			if page[i].Asks {
				e.asking++
			}
			switch p := &page[i]; {
			case p.State == task.Canceling:
				canceling = append(canceling, p.ID)
			case p.State == task.Running && !e.cancel:
				e.await(p, now)
			}
		}
		e.mu.Unlock()
	}
}

// await queues a task that is in the store alone, or puts it in the agenda. Engine.mu is held.
func (e *Engine) await(p *store.Pending, now time.Time) {
	if p.Asks {
		if !p.Deadline.IsZero() {
			e.agenda.add(p.ID, p.Deadline)
		}
		return
	}
	if p.Due.After(now) && (p.Deadline.IsZero() || p.Due.Before(p.Deadline)) {
		e.agenda.add(p.ID, p.Due)
		return
	}
	if !p.Deadline.IsZero() {
		e.agenda.add(p.ID, p.Deadline)
	}
	h := e.host(originOf(p.URL))
	h.queue.push(place{id: p.ID, priority: p.Priority})
	e.dispatch(h)
}

// goOn makes a run that was just loaded do what its state says. r.mu is held.
func (r *run) goOn() {
	e := r.e
	e.mu.Lock()
	cancel := e.cancel
	e.mu.Unlock()
	switch {
	case r.rec.State == task.Canceling:
		r.endCancelled()
	case cancel:
		r.cancelLocked()
	case r.rec.State == task.Running && !r.hopeless():
		r.schedule()
	}
}

// hopeless ends a task of an earlier process that cannot go on. r.mu is held.
func (r *run) hopeless() bool {
	fail := func(code task.Code, err error) *task.Error {
		return &task.Error{Op: string(r.kind), URL: task.Redact(r.rec.Spec.Request.URL), Code: code, Err: err}
	}
	var err error
	switch {
	case r.overdue():
		err = r.resourceError()
	case r.inherited && r.rec.UnderWay && !r.interruptible():
		cause := fail(task.ConnectionLost, errors.New("the process that sent it has ended in the midst"))
		err = r.appliedError(cause, cause)
	case r.bodyLost(), r.rec.Spec.Stream && r.inherited:
		err = fail(task.BodyStreamExhausted, errors.New(
			"its body was a stream of a process that has ended; give it as a file, or create the task anew"))
	default:
		return false
	}
	r.complete(r.result, err)
	return true
}

// endCancelled ends a task that is being cancelled and has no attempt under way. What the part file of an earlier process
// holds, an attempt tells that is cancelled before it begins. r.mu is held.
func (r *run) endCancelled() {
	if !r.inherited || r.kind != task.Download || r.rec.Attempt == 0 {
		r.complete(r.result, r.cancelError())
		return
	}
	r.phase, r.inherited = attempting, false
	ctx, stop := context.WithCancelCause(context.Background())
	stop(errCancelled)
	r.stop = stop
	a := r.transfer(ctx, &host{})
	a.RoundTripper, a.Connections = nothing{}, nil
	r.e.attempts.Go(func() {
		res, err := r.e.runTask(ctx, a)
		if res.ResumeData == nil {
			r.mu.Lock()
			res.ResumeData = r.result.ResumeData
			r.mu.Unlock()
		}
		r.settle(errCancelled, res, err)
	})
}

// nothing is the chain of an attempt that is to send nothing.
type nothing struct{}

func (nothing) RoundTrip(req *http.Request) (*http.Response, error) {
	return nil, context.Cause(req.Context())
}

// Stop ends the engine and leaves its tasks to the next one that opens the store. No attempt begins any more; those under
// way stop and record what they have. A request that must not be sent twice has until ctx ends; where nothing of it has
// left by then, the next engine sends it. Stop returns when no goroutine is left and the store is not used any more; its
// error is ctx's, where such a request was stopped. What is asked of the engine from then on, and would change something,
// is DaemonLost.
func (e *Engine) Stop(ctx context.Context) error {
	defer e.leaveHosts()
	e.mu.Lock()
	e.stopping = true
	e.agenda.arm()
	e.releaseHosts()
	e.dispatchAll() // they want nothing more
	e.stopWatches()
	if e.expiry != nil {
		e.expiry.Stop()
	}
	e.mu.Unlock()
	e.abandoned.hurry()
	e.interrupt((*run).interruptible)
	done := make(chan struct{})
	go func() {
		e.attempts.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	stopped := 0
	e.interrupt(func(r *run) bool { // all: one that was not to be stopped may be by now
		if !r.interruptible() {
			stopped++
		}
		return true
	})
	<-done
	if stopped == 0 {
		return nil
	}
	return ctx.Err()
}

// enter begins something that may write to the store, until leave is called: Stop waits for it. Once that has begun it is an
// error. In process a session ends by Close alone, and nothing is to be waited for.
func (e *Engine) enter(op string) (leave func(), err error) {
	if e.lasting == nil {
		return func() {}, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping {
		return nil, &task.Error{Op: op, Code: task.DaemonLost, Err: errors.New("the process that runs the tasks is ending; try again")}
	}
	e.attempts.Add(1)
	return e.attempts.Done, nil
}

// interrupt stops those attempts that which chooses.
func (e *Engine) interrupt(which func(*run) bool) {
	for _, r := range e.resident() {
		r.mu.Lock()
		if r.phase == attempting && which(r) {
			r.stop(errStopped)
		}
		r.mu.Unlock()
	}
}

func (e *Engine) hasStopped() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopping
}

// cancelStored cancels the tasks that are in the store alone.
func (e *Engine) cancelStored() {
	var after task.ID
	for {
		page, err := e.lasting.Pending(context.Background(), after, 1024)
		if err != nil || len(page) == 0 {
			return // what is left is cancelled when its turn comes, or by the next engine
		}
		after = page[len(page)-1].ID
		e.together(len(page), func(i int) {
			_ = e.change("cancel task", page[i].ID, (*run).cancelLocked) // as above
		})
		if e.hasStopped() {
			return
		}
	}
}
