package engine

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// attemptAlone is attempt in a goroutine of its own.
func (r *run) attemptAlone(h *host) {
	growStack(len(h.key))
	r.attempt(h)
}

// attempt runs one attempt, in a goroutine of its own or in Run's, with a slot of its host.
func (r *run) attempt(h *host) {
	defer r.e.attempts.Done()
	r.mu.Lock()
	if r.phase != queued { // suspended or ended since the slot was given
		r.unlock()
		r.e.release(h)
		return
	}
	r.attemptLocked(h)
}

// attemptLocked is attempt of a run that is still queued. r.mu is held, and released.
func (r *run) attemptLocked(h *host) {
	ctx, stop := context.WithCancelCause(r.within)
	defer stop(nil)
	var chain http.RoundTripper
	if !r.discreet(h) || !r.permitted() || !r.chained(&chain) || !r.begin(stop) { // parked, or ended just now
		r.unlock()
		r.e.release(h)
		return
	}
	a := r.transfer(ctx, h)
	a.RoundTripper, a.Stop = chain, stop
	r.mu.Unlock()

	r.e.mu.Lock()
	r.e.dequeue(r) // suspended and resumed since the slot was given, it is there again
	r.e.setActive(r)
	r.mayTake(a)
	watched := r.e.watchers > 0
	r.e.mu.Unlock()
	if watched { // they look at its progress from now on
		r.changed.notify()
		r.e.changed.notify()
	}

	res, err := r.e.runTask(ctx, a)

	r.returned(h)
	if err != nil && r.within.Err() != nil {
		_ = r.e.Cancel(ctx, r.id) // whose waiting for the task has ended
	}
	r.settle(context.Cause(ctx), res, err)
}

// returned is the end of an attempt's use of its slot.
func (r *run) returned(h *host) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.e.setInactive(r)
	r.leaveDiscretion()
	if r.further != nil {
		r.further.end()
		r.further = nil
	}
	r.e.releaseLocked(h)
}

// chained finds the chain of the next attempt, or ends the task where there is none. r.mu is held.
func (r *run) chained(chain *http.RoundTripper) bool {
	if *chain = r.e.rt; r.e.chain == nil {
		return true
	}
	spec := r.rec.Spec
	var err error
	if *chain, err = r.e.chain(&spec); err == nil {
		return true
	}
	if _, ok := errors.AsType[*task.Error](err); !ok {
		err = &task.Error{Op: string(r.kind), URL: task.Redact(r.rec.Spec.Request.URL), Code: task.CodeOf(err), Err: err}
	}
	r.complete(r.result, err)
	return false
}

// begin makes the run's next attempt one that is under way, and false says that it must not be. r.mu is held.
//
// An idempotent request costs no write here: should the process end in the midst, the next one sends it again, whatever
// became of it, and its number is stored with what it brings. Three do. A request that must not be sent twice is under way
// before its first byte leaves, or the next process could not know. So is an upload that goes on: how much of it may have left
// bounds what its server can have. And the first attempt of an inherited task fences: if
// an earlier process lives on after all, what it stores from then on has an attempt that is too early, and is refused.
func (r *run) begin(stop context.CancelCauseFunc) bool {
	e := r.e
	e.mu.Lock()
	stopped := e.stopping // since the slot was given; Stop interrupts those that have begun
	r.keeps = e.kept.n
	e.mu.Unlock()
	if stopped {
		r.phase = idle
		return false
	}
	r.phase, r.stop, r.challenge = attempting, stop, nil
	if s := r.rec.Upload; s != nil && r.rec.UnderWay && s.Protocol != task.ResumableParts { // of a process that has ended in the midst
		c := *s
		c.Whole = true
		r.rec.Upload = &c
	}
	r.rec.Attempt++
	r.rec.Waiting = nil
	r.rec.URL = ""
	if after := max(r.seq.Load(), r.earlier); r.rec.Attempt > 1 || after > 0 {
		r.progress.Store(r.progress.Load().next(r.kind, after))
		if s := r.rec.Upload; s != nil {
			r.progress.Load().sent.total.Store(s.Offset)
		}
	} // else nothing has moved or been told yet
	if e.lasting == nil { // nobody reads what the store has of a task that has not ended
		if r.dirty || len(r.unsaved) > 0 {
			r.save()
		}
		return true
	}
	r.rec.UnderWay = true
	inherited := r.inherited
	if r.inherited = false; !inherited && r.resendable() && r.rec.Upload == nil {
		return true
	}
	err := r.save()
	if err == nil {
		return true
	}
	r.phase, r.stop = queued, nil
	r.rec.Attempt--
	r.rec.UnderWay, r.inherited = false, inherited
	if !r.fenced {
		r.retry(r.result, &task.Error{Op: "record attempt", Code: task.CannotWriteFile, Unsent: true, Err: err})
	}
	return false
}

// transfer is the attempt that has begun. r.mu is held.
func (r *run) transfer(ctx context.Context, h *host) *transfer.Attempt {
	one := &struct {
		transfer.Attempt
		spec   task.Spec // SetPriority changes the record's
		limits limits
		committer
	}{spec: r.rec.Spec, committer: committer{observer{r: r, host: h, progress: r.progress.Load()}}}
	a := &one.Attempt
	*a = transfer.Attempt{
		ID: r.id, Number: r.rec.Attempt, Spec: &one.spec, Commit: r.rec.Commit, Upload: r.rec.Upload, Answered: r.rec.Answered,
		Limits: one.limits.of(r), Temporary: r.e.temporary, Observer: &one.observer,
	}
	if r.e.lasting != nil {
		a.Observer = &one.committer
	}
	if most := a.Spec.Policy.Connections; r.kind != task.Data && most != 1 {
		a.Connections = &connections{run: r, home: h, most: cmp.Or(most, math.MaxInt) - 1}
	}
	if r.body.from != nil {
		a.Body = r.body.opener(ctx)
	}
	return a
}

// setActive and setInactive keep Engine.active, whose mutex is held.
func (e *Engine) setActive(r *run) {
	e.active = append(e.active, r)
	r.active = len(e.active)
}

func (e *Engine) setInactive(r *run) {
	last := len(e.active) - 1
	e.active[last].active = r.active
	e.active[r.active-1] = e.active[last]
	e.active[last] = nil
	e.active = e.active[:last]
	r.active = 0
}
