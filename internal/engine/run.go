package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	e    *Engine
	id   task.ID
	kind task.Kind
	data chan piece
	// within is the context of attempts: that of Run, which runs them, or one that never ends.
	within context.Context
	here   bool // it is Run's

	mu     sync.Mutex
	rec    task.Record    // as stored, but for what dirty and unsaved say
	limit  transfer.Limit // rec.Spec.RateLimit
	phase  phase
	stop   context.CancelCauseFunc // of the attempt under way
	body   requestBody
	result transfer.Result // of the newest attempt
	// failure is why an attempt failed and another follows; nil before the first such.
	failure                 *task.Failure
	arrived                 bool           // the newest attempt has succeeded, although the task may be cancelled
	dirty                   bool           // the store did not take the record
	unsaved                 []task.Detail  // events that the store has not taken yet
	few                     [2]task.Detail // where they are mostly
	noted                   *time.Timer    // see note
	parts                   parts
	tries                   int // to connect, since offlineSince
	full                    int // attempts that found no room on the disk, since fullSince
	tickets                 map[string]chan task.Decision
	asked                   int             // tickets made
	challenge               *task.Challenge // that has ended the attempt under way; of a session that outlives its process
	offlineSince, fullSince time.Time

	// Of a session that outlives its process; see open.go.
	listeners int    // listeners of this task
	inherited bool   // from an earlier process, and without an attempt in this one
	gone      bool   // not in memory any more: whoever has waited for mu looks for the task again
	fenced    bool   // another writer has the task: nothing more is to be stored
	earlier   uint64 // no event that it had when it was loaded has a higher number
	tail      tail

	// Guarded by Engine.mu.
	origin   string // of the request's URL: whose connections it counts among
	priority task.Priority
	queue    int // place in its host's queue, from 1; 0: in none
	queuedAt time.Time
	date     int // place in the agenda, from 1; 0: not in it
	active   int // place in Engine.active, from 1; 0: not in it
	parked   bool
	asking   bool   // counted in Engine.asking
	keeps    uint64 // Engine.kept.n when the newest attempt began
	released bool
	ended    bool         // it is in Engine.runs no more, and never will be. Set under mu too
	granted  *host        // whose slot it has, until Run takes it
	further  *connections // of the attempt under way; nil: it may have none

	first    progress                 // until the second attempt begins
	progress atomic.Pointer[progress] // of the newest attempt
	seq      atomic.Uint64            // number of its newest event, set before anybody is told
	behind   atomic.Bool              // there are newer ones, noted, which come before any progress
	changed  signal
	over     signal // it has ended, or has been granted a slot
}

// phase is what a run does, as against what its task's state says.
type phase int

const (
	idle       phase = iota // suspended
	queued                  // waits for its host
	waiting                 // in the agenda, until next; or for an answer
	attempting              // an attempt is under way, or was stopped and has not returned
	finished
)

// Causes that end an attempt before its time.
var (
	errSuspended = errors.New("the task was suspended")
	errCancelled = errors.New("the task was cancelled")
	errResource  = errors.New("the time for the whole resource is over")
	errReplaced  = errors.New("the task's URL was replaced")
	errStopped   = errors.New("the session stops, to go on later")
	errFenced    = errors.New("another process runs the task")

	errChallenged = errors.New("the server wants to know who asks")
)

// schedule decides what a running task without an attempt does next. r.mu is held.
func (r *run) schedule() {
	now := time.Now()
	e := r.e
	switch {
	case r.rec.AwaitsAnswer(): // as an earlier process has told, or this one before the task left memory
		r.phase = waiting
	case r.rec.Spec.EarliestBegin.After(now) && r.rec.Attempt == 0:
		r.rec.Next = r.rec.Spec.EarliestBegin
		if w := r.rec.Waiting; w != nil && w.Reason == task.WaitSchedule { // an earlier process has told it
			r.phase = waiting
		} else {
			r.wait(&task.Wait{Reason: task.WaitSchedule, Since: now, Until: r.rec.Next})
		}
	case r.rec.Next.After(now):
		r.phase = waiting
		if r.rec.Waiting == nil { // it was suspended meanwhile
			r.rec.Waiting = &task.Wait{Reason: task.WaitRetry, Since: now, Until: r.rec.Next, Error: r.failure}
		}
	default:
		r.phase = queued
		r.rec.Waiting = nil
		e.mu.Lock()
		r.queuedAt = now
		e.unpark(r)
		e.leaveAsking(r)
		r.leaveDiscretion()
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
	at := r.rec.Deadline()
	if next := r.rec.Next; r.phase == waiting && !next.IsZero() && (at.IsZero() || next.Before(at)) {
		at = next
	}
	r.e.mu.Lock()
	r.e.agenda.set(r, at)
	r.e.mu.Unlock()
}

// overdue says whether Policy.ResourceTimeout is over. r.mu is held.
func (r *run) overdue() bool {
	d := r.rec.Deadline()
	return !d.IsZero() && !time.Now().Before(d)
}

// wake is called when the time that plan set has come.
func (r *run) wake() {
	r.mu.Lock()
	defer r.unlock()
	switch {
	case r.gone:
		return
	case r.phase == finished:
		r.finish()
		return
	case r.rec.State == task.Suspended:
		return
	case r.overdue():
		if r.phase == attempting {
			r.stop(errResource)
		} else {
			r.complete(r.result, r.resourceError())
		}
		return
	}
	if r.phase == waiting && !r.stillFull() && !r.stillAsks() {
		r.schedule()
		return
	}
	r.plan()
}

func (r *run) resourceError() error {
	err := &task.Error{Op: string(r.rec.Spec.Kind), URL: task.Redact(r.rec.CurrentURL()), Code: task.TimedOut,
		Err: fmt.Errorf("it did not end within the %v that the whole may take (timeout for resource)", r.rec.Spec.Policy.ResourceTimeout)}
	switch w := r.rec.Waiting; {
	case w == nil:
	case w.Error != nil:
		err.Err = fmt.Errorf("%w; last: %s", err.Err, w.Error.Text())
	case w.Reason == task.WaitAuthentication:
		err.Err = fmt.Errorf("%w; it waited for a credential, which nobody gave", err.Err)
	}
	return err
}

// settle decides what follows an attempt.
func (r *run) settle(cause error, res transfer.Result, err error) {
	r.mu.Lock()
	defer r.unlock()
	r.stop = nil
	if r.noted != nil {
		r.noted.Stop()
	}
	r.parts.end()
	r.result, r.arrived = res, err == nil && (res.Response == nil || res.Response.Status < http.StatusBadRequest)
	r.tickets = nil
	r.rec.Counts = r.counts()
	if len(res.Transactions) > 0 {
		r.unsaved = append(r.unsaved, task.Metrics{Attempt: r.rec.Attempt, Transactions: res.Transactions})
	}
	stopped := errors.Is(cause, errStopped) && err != nil
	if r.e.lasting != nil {
		// Of what was stopped in the midst nobody knows how much has left, unless nothing had.
		r.rec.UnderWay = stopped && !r.interruptible() && !res.Unsent
		r.rec.ResumeData = res.ResumeData
	}
	switch {
	case r.fenced:
		r.phase = idle
	case r.rec.State == task.Canceling && res.Path == "": // also where the answer came at the same moment
		r.complete(res, r.cancelError())
	case err == nil:
		r.complete(res, nil)
	case r.rec.State == task.Suspended, stopped:
		r.phase = idle
		r.save()
	case errors.Is(cause, errSuspended), errors.Is(cause, errReplaced), // and resumed since
		errors.Is(cause, errChallenged) && r.challenge == nil: // and moved to another URL since
		if len(r.unsaved) > 0 || r.e.lasting != nil {
			r.save()
		}
		r.schedule()
	case errors.Is(cause, errChallenged):
		r.ask()
	case errors.Is(cause, errDiscretion):
		if what := r.e.lacking(); what != "" {
			r.awaitDiscretion(what)
		} else { // again
			r.save()
			r.schedule()
		}
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
	e.leaveParking(r)
	e.leaveAsking(r)
	r.leaveDiscretion()
	e.mu.Unlock()

	now := time.Now()
	r.phase = finished
	left := r.leaves(res, err)
	r.rec.Upload = handedBack(r.rec.Upload)
	r.rec.State, r.rec.Ended, r.rec.Waiting = task.Completed, now, nil
	r.rec.UnderWay, r.rec.Next, r.rec.Commit, r.rec.ResumeData, r.rec.Answered = false, time.Time{}, nil, left, nil
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
	if err == nil {
		r.rec.Path, r.rec.Digest = res.Path, res.Digest
		if r.rec.Spec.Kind == task.Download {
			r.unsaved = append(r.unsaved, task.DownloadCompleted{Path: res.Path, Digest: res.Digest})
		}
		done.Text = responseText(res.Body)
	} else {
		f := task.FailureOf(err)
		r.rec.Failure = f
		done.Code, done.Message, done.Failure = f.Code, f.Text(), f
		if f.Status != 0 {
			done.Status = f.Status
		}
	}
	r.result = res
	r.unsaved = append(r.unsaved, done)
	r.finish()
}

// saveAgain is how long a task whose end the store could not take waits until it tries again.
const saveAgain = time.Second

// finish stores a task's end, and its run is no more. A store that fails is asked again later, until the session is
// cancelled: then the listeners learn of the failure. One that outlives its process asks until that ends, and in the next
// one again. r.mu is held.
func (r *run) finish() {
	e := r.e
	if r.ended {
		return // it is done
	}
	err := r.keepBody()
	if err == nil {
		err = r.save()
	}
	lost := errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) // to another writer
	e.mu.Lock()
	if err != nil && !lost && (!e.cancel || e.lasting != nil) {
		e.agenda.set(r, time.Now().Add(saveAgain))
		e.park(r) // with what it has brought: not all tasks of its host come to that
		e.mu.Unlock()
		return
	}
	e.agenda.set(r, time.Time{})
	e.leaveParking(r)
	switch {
	case lost && e.lasting != nil:
		e.foreign[r.id] = struct{}{}
	case e.lasting != nil && e.watchers > 0:
		e.lately.add(r.id, moved{r.kind, r.rec.Counts})
	}
	body := r.result.Body
	if r.here {
		body = nil // Run hands it over
	}
	e.keep(r, r.seq.Load(), body)
	ids := e.forgettable()
	unattended := e.alive == 0 && !e.owned
	closed := e.closed
	e.mu.Unlock()
	r.gone = true
	if !lost {
		e.dropSpool(&r.rec.Spec)
	}
	e.forgetTasks(ids)
	r.changed.notify()
	r.over.notify()
	e.changed.notify()
	if unattended {
		e.tellUnattended()
	}
	if closed {
		e.invalidateIfDone()
	}
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
	before := r.rec
	r.rec.SuspendCount++
	if r.rec.State != task.Running {
		return r.saveOr(before)
	}
	r.rec.State = task.Suspended
	r.rec.Active += time.Since(r.rec.Since)
	r.rec.Since = time.Time{}
	w := r.rec.Waiting
	over := w != nil && (w.Reason == task.WaitConnectivity || w.Reason == task.WaitSpace) // resumed, it tries at once
	if over {
		r.rec.Next = time.Time{}
	}
	r.rec.Waiting = nil
	if err := r.saveOr(before); err != nil {
		return err
	}
	if over {
		r.tries, r.full = 0, 0
	}
	if r.phase == attempting {
		r.stop(errSuspended)
	} else {
		r.phase = idle
	}
	r.e.mu.Lock()
	r.e.dequeue(r)
	r.e.agenda.set(r, time.Time{})
	r.e.leaveNetwork(r)
	r.e.leaveParking(r)
	r.e.leaveAsking(r) // resumed, it asks anew
	r.leaveDiscretion()
	r.e.mu.Unlock()
	return nil
}

func (r *run) resumeLocked() error {
	if r.rec.SuspendCount == 0 {
		return nil
	}
	before := r.rec
	r.rec.SuspendCount--
	if r.rec.SuspendCount > 0 || r.rec.State != task.Suspended {
		return r.saveOr(before)
	}
	r.rec.State = task.Running
	r.rec.Since = time.Now()
	if err := r.saveOr(before); err != nil {
		return err
	}
	if r.phase == idle {
		r.schedule()
	} else {
		r.plan() // the stopped attempt has not returned; settle goes on from there
	}
	return nil
}

// saveOr is save that takes a change of the record back where the store does not take it. r.mu is held.
func (r *run) saveOr(before task.Record) error {
	dirty := r.dirty
	err := r.save()
	if err != nil && !r.fenced {
		r.rec, r.dirty = before, dirty
	}
	return err
}

func (r *run) cancelLocked() error {
	if r.rec.State == task.Canceling {
		return nil
	}
	r.rec.State = task.Canceling
	r.e.mu.Lock()
	r.e.leaveAsking(r)
	r.e.mu.Unlock()
	if r.phase == attempting {
		r.stop(errCancelled)
		return r.save()
	}
	r.endCancelled()
	if r.phase == attempting { // which ends it; a kill may come before
		return r.save()
	}
	return nil
}

// keepUploadLocked is cancelLocked that has the server keep what it holds of an upload. Of two cancellations the first decides.
func (r *run) keepUploadLocked() error {
	r.rec.KeepUpload = r.rec.KeepUpload || r.rec.State != task.Canceling
	return r.cancelLocked()
}

// unlock releases r.mu. Once the task has ended it closes the body, which is the caller's code, and may ask for the task.
func (r *run) unlock() {
	if r.e.lasting != nil {
		r.leave()
	}
	if r.phase != finished || r.body.from == nil {
		r.mu.Unlock()
		return
	}
	body := r.body
	r.body = requestBody{}
	r.mu.Unlock()
	body.close()
}

func (r *run) counts() task.Counts { return r.progress.Load().counts() }

// snapshot is the record with what changes by the moment, and without what nobody but an attempt is told. r.mu is held.
func (r *run) snapshot() task.Record {
	rec := r.rec
	conceal(&rec, r.phase == attempting)
	if r.phase == attempting {
		rec.Counts = r.counts()
		rec.Counts.Rate = r.progress.Load().rate()
	}
	if r.phase == queued {
		rec.Waiting = r.e.queueWait(&rec, r.origin, r.queuedAt)
	}
	return rec
}

// save stores the record with events and tells the listeners. Events that the store does not take go with the next
// save. r.mu is held.
func (r *run) save(details ...task.Detail) error {
	if r.fenced {
		return errFenced
	}
	r.unsaved = append(r.unsaved, details...)
	var seq uint64
	var err error
	if r.e.lasting != nil {
		seq, err = r.saveLasting()
	} else {
		seq, err = r.e.store.Save(context.Background(), &r.rec, r.unsaved...)
	}
	if r.dirty = err != nil; err != nil || len(r.unsaved) == 0 {
		r.behind.Store(false)
		return err
	}
	clear(r.unsaved)
	r.unsaved = r.unsaved[:0]
	r.seq.Store(seq)
	r.behind.Store(false)
	r.changed.notify()
	r.e.changed.notify()
	return nil
}
