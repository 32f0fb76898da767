package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// run is a task that has not ended. Its state machine is schedule, attempt, settle and complete; docs/states.md draws
// it.
type run struct {
	e      *Engine
	id     task.ID
	kind   task.Kind
	origin string // of the request as created: whose connections it counts among
	data   chan piece

	mu     sync.Mutex
	rec    task.Record // as stored
	phase  phase
	stop   context.CancelCauseFunc // of the attempt under way
	body   requestBody
	result transfer.Result // of the newest attempt
	next   time.Time       // the next attempt may not begin before
	// failure is why an attempt failed and another follows; nil before the first such.
	failure *task.Failure
	unsaved []task.Detail // events that the store has not taken yet
	// retries counts those of Policy.Retries that were used; tries, the attempts to connect since offlineSince.
	retries, tries int
	offlineSince   time.Time
	tickets        map[string]chan task.Decision
	asked          int // tickets made

	// Guarded by Engine.mu.
	priority task.Priority
	queue    int // place in its host's heap, from 1; 0: in none
	queuedAt time.Time
	agendum  int // place in the agenda, from 1; 0: not in it
	due      time.Time
	released bool

	progress atomic.Pointer[progress] // of the newest attempt
	seq      atomic.Uint64            // number of its newest event, set before anybody is told
	changed  signal
}

// phase is what a run does, as against what its task's state says.
type phase int

const (
	idle       phase = iota // suspended
	queued                  // waits for its host
	waiting                 // in the agenda, until next
	attempting              // an attempt is under way, or was stopped and has not returned
	finished
)

// Causes that end an attempt before its time.
var (
	errSuspended = errors.New("the task was suspended")
	errCancelled = errors.New("the task was cancelled")
	errResource  = errors.New("the time for the whole resource is over")
)

// schedule decides what a running task without an attempt does next. r.mu is held.
func (r *run) schedule() {
	now := time.Now()
	e := r.e
	switch {
	case r.rec.Spec.EarliestBegin.After(now) && r.rec.Attempt == 0:
		r.next = r.rec.Spec.EarliestBegin
		r.wait(&task.Wait{Reason: task.WaitSchedule, Since: now, Until: r.next})
	case r.next.After(now):
		r.phase = waiting
		if r.rec.Waiting == nil { // it was suspended meanwhile
			r.rec.Waiting = &task.Wait{Reason: task.WaitRetry, Since: now, Until: r.next, Error: r.failure}
		}
	default:
		r.phase = queued
		r.rec.Waiting = nil
		e.mu.Lock()
		r.queuedAt = now
		e.enqueue(r)
		e.mu.Unlock()
	}
	r.plan()
}

// wait parks a running task for a reason, which is stored and told. r.mu is held.
func (r *run) wait(w *task.Wait) {
	r.phase = waiting
	r.rec.Waiting = w
	r.save(task.Waiting{Reason: w.Reason, Detail: w.Detail, Until: w.Until})
}

// plan puts the run in the agenda for the next thing that time brings it: its next attempt, or its deadline. r.mu is
// held.
func (r *run) plan() {
	at := r.deadline()
	if r.phase == waiting && (at.IsZero() || r.next.Before(at)) {
		at = r.next
	}
	r.e.mu.Lock()
	r.e.agenda.set(r, at)
	r.e.mu.Unlock()
}

// deadline is when Policy.ResourceTimeout ends; zero: never, or the task is suspended. r.mu is held.
func (r *run) deadline() time.Time {
	limit := r.rec.Spec.Policy.ResourceTimeout
	if limit <= 0 || r.rec.Since.IsZero() {
		return time.Time{}
	}
	return r.rec.Since.Add(limit - r.rec.Active)
}

// wake is called when the time that plan set has come.
func (r *run) wake() {
	r.mu.Lock()
	defer r.unlock()
	if r.phase == finished {
		r.finish()
		return
	}
	if r.rec.State == task.Suspended {
		return
	}
	if d := r.deadline(); !d.IsZero() && !time.Now().Before(d) {
		if r.phase == attempting {
			r.stop(errResource)
		} else {
			r.complete(r.result, r.resourceError())
		}
		return
	}
	if r.phase == waiting {
		r.schedule()
		return
	}
	r.plan()
}

func (r *run) resourceError() error {
	err := &task.Error{Op: string(r.rec.Spec.Kind), URL: task.Redact(r.rec.CurrentURL()), Code: task.TimedOut,
		Err: fmt.Errorf("it did not end within the %v that the whole may take (timeout for resource)", r.rec.Spec.Policy.ResourceTimeout)}
	if w := r.rec.Waiting; w != nil && w.Error != nil {
		err.Err = fmt.Errorf("%w; last: %s", err.Err, w.Error.Text())
	}
	return err
}

// attempt runs one attempt, in a goroutine of its own, with a slot of its host.
func (r *run) attempt(h *host) {
	defer r.e.attempts.Done()
	r.mu.Lock()
	if r.phase != queued || !r.permitted() { // suspended or ended since the slot was given, or parked or ended just now
		r.unlock()
		r.e.release(h)
		return
	}
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	r.phase, r.stop = attempting, stop
	r.rec.Attempt++
	r.rec.Waiting = nil
	r.rec.URL = ""
	p := r.progress.Load().next(r.kind, r.seq.Load())
	r.progress.Store(p)
	spec := r.rec.Spec // SetPriority changes the record's
	a := transfer.Attempt{
		ID: r.id, Number: r.rec.Attempt, Spec: &spec, RoundTripper: r.e.rt, Limit: r.e.limit,
		Observer: &observer{r: r, host: h, progress: p},
	}
	if r.body.from != nil {
		a.Body = r.body.opener(ctx)
	}
	r.save()
	r.mu.Unlock()

	r.e.mu.Lock()
	r.e.dequeue(r) // suspended and resumed since the slot was given, it is there again
	r.e.active[r] = struct{}{}
	watched := r.e.watchers > 0
	r.e.mu.Unlock()
	if watched { // they look at its progress from now on
		r.changed.notify()
		r.e.changed.notify()
	}

	res, err := r.e.runTask(ctx, &a)

	r.e.mu.Lock()
	delete(r.e.active, r)
	r.e.mu.Unlock()
	r.e.release(h)
	r.settle(context.Cause(ctx), res, err)
}

// settle decides what follows an attempt.
func (r *run) settle(cause error, res transfer.Result, err error) {
	r.mu.Lock()
	defer r.unlock()
	r.stop = nil
	r.result = res
	r.tickets = nil
	r.rec.Counts = r.counts()
	if len(res.Transactions) > 0 {
		r.save(task.Metrics{Attempt: r.rec.Attempt, Transactions: res.Transactions})
	}
	switch {
	case r.rec.State == task.Canceling && res.Path == "": // also where the answer came at the same moment
		r.complete(res, r.cancelError())
	case err == nil:
		r.complete(res, nil)
	case r.rec.State == task.Suspended:
		r.phase = idle
		r.save()
	case errors.Is(cause, errSuspended): // and resumed since
		r.schedule()
	case errors.Is(cause, errResource):
		r.complete(res, r.resourceError())
	default:
		r.retry(res, err)
	}
}

// complete ends the task. r.mu is held.
func (r *run) complete(res transfer.Result, err error) {
	e := r.e
	e.mu.Lock()
	e.dequeue(r)
	e.agenda.set(r, time.Time{})
	e.leaveNetwork(r)
	e.mu.Unlock()

	now := time.Now()
	r.phase = finished
	r.rec.State, r.rec.Ended, r.rec.Waiting = task.Completed, now, nil
	if !r.rec.Since.IsZero() {
		r.rec.Active += now.Sub(r.rec.Since)
		r.rec.Since = time.Time{}
	}
	if res.Response != nil {
		r.rec.Response = res.Response
	}
	done := task.SessionCompleted{Success: err == nil}
	if r.rec.Response != nil {
		done.Status = r.rec.Response.Status
	}
	var details []task.Detail
	if err == nil {
		r.rec.Path, r.rec.Digest = res.Path, res.Digest
		if r.rec.Spec.Kind == task.Download {
			details = append(details, task.DownloadCompleted{Path: res.Path, Digest: res.Digest})
		}
		done.Text = responseText(res.Body)
	} else {
		f := task.FailureOf(err)
		r.rec.Failure, r.rec.ResumeData = f, res.ResumeData
		done.Code, done.Message, done.Failure = f.Code, f.Text(), f
		if f.Status != 0 {
			done.Status = f.Status
		}
	}
	r.result = res
	r.unsaved = append(r.unsaved, append(details, done)...)
	r.finish()
}

// saveAgain is how long a task whose end the store could not take waits until it tries again.
const saveAgain = time.Second

// finish stores a task's end, and its run is no more. A store that fails is asked again later, until the session is
// cancelled: then the listeners learn of the failure. r.mu is held.
func (r *run) finish() {
	e := r.e
	if e.run(r.id) == nil {
		return // it is done
	}
	err := r.save()
	lost := errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) // to another writer
	e.mu.Lock()
	if err != nil && !lost && !e.cancel {
		e.agenda.set(r, time.Now().Add(saveAgain))
		e.mu.Unlock()
		return
	}
	e.agenda.set(r, time.Time{})
	e.keep(r, r.seq.Load(), r.result.Body)
	ids := e.forgettable()
	e.mu.Unlock()
	e.forgetTasks(ids)
	r.changed.notify()
	e.changed.notify()
	e.invalidateIfDone()
}

// responseText is a body as an event may carry it: text of at most 64 KiB.
func responseText(body []byte) string {
	if len(body) > 64<<10 || !utf8.Valid(body) {
		return ""
	}
	return string(body)
}

func (r *run) cancelError() error {
	return &task.Error{Op: string(r.rec.Spec.Kind), URL: task.Redact(r.rec.CurrentURL()), Code: task.Cancelled}
}

// suspendLocked, resumeLocked and cancelLocked are the task's methods; r.mu is held and the task has not ended.
func (r *run) suspendLocked() error {
	r.rec.SuspendCount++
	if r.rec.State != task.Running {
		return r.save()
	}
	r.rec.State = task.Suspended
	r.rec.Active += time.Since(r.rec.Since)
	r.rec.Since = time.Time{}
	if w := r.rec.Waiting; w != nil && w.Reason == task.WaitConnectivity { // that wait is over; resumed, it tries at once
		r.next, r.tries = time.Time{}, 0
	}
	r.rec.Waiting = nil
	if r.phase == attempting {
		r.stop(errSuspended)
	} else {
		r.phase = idle
	}
	r.e.mu.Lock()
	r.e.dequeue(r)
	r.e.agenda.set(r, time.Time{})
	r.e.leaveNetwork(r)
	r.e.mu.Unlock()
	return r.save()
}

func (r *run) resumeLocked() error {
	if r.rec.SuspendCount == 0 {
		return nil
	}
	r.rec.SuspendCount--
	if r.rec.SuspendCount > 0 || r.rec.State != task.Suspended {
		return r.save()
	}
	r.rec.State = task.Running
	r.rec.Since = time.Now()
	err := r.save()
	if r.phase == idle {
		r.schedule()
	} else {
		r.plan() // the stopped attempt has not returned; settle goes on from there
	}
	return err
}

func (r *run) cancelLocked() error {
	if r.rec.State == task.Canceling {
		return nil
	}
	r.rec.State = task.Canceling
	if r.phase == attempting {
		r.stop(errCancelled)
		return r.save()
	}
	r.complete(r.result, r.cancelError())
	return nil
}

// unlock releases r.mu. Once the task has ended it closes the body, which is the caller's code, and may ask for the task.
func (r *run) unlock() {
	var body requestBody
	if r.phase == finished {
		body, r.body = r.body, body
	}
	r.mu.Unlock()
	body.close()
}

func (r *run) counts() task.Counts { return r.progress.Load().counts() }

// snapshot is the record with what changes by the moment. r.mu is held.
func (r *run) snapshot() task.Record {
	rec := r.rec
	if r.phase == attempting {
		rec.Counts = r.counts()
		rec.Counts.Rate = r.progress.Load().rate()
	}
	if r.phase == queued {
		rec.Waiting = r.e.hostWait(r)
	}
	return rec
}

// save stores the record with events and tells the listeners. Events that the store does not take go with the next
// save. r.mu is held.
func (r *run) save(details ...task.Detail) error {
	r.unsaved = append(r.unsaved, details...)
	seq, err := r.e.store.Save(context.Background(), &r.rec, r.unsaved...)
	if err != nil || len(r.unsaved) == 0 {
		return err
	}
	r.unsaved = nil
	r.seq.Store(seq)
	r.changed.notify()
	r.e.changed.notify()
	return nil
}
