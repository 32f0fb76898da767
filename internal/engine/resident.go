package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// Of a session that outlives its process, only as many tasks are in memory as have an attempt under way, a listener, or
// room (residentAtMost). Of the others the store has the record, and the queue of their host or the agenda their number.
// Such a place may be out of date: when it comes up, the record decides. So a place is never searched for, and a task can
// have several.
//
// In a session in process all tasks are in memory, and nothing here is called but fetch.

// residentAtMost is how many tasks that only wait are in memory, unless Options.Resident says otherwise: some 2 KiB each.
const residentAtMost = 4096

// fetch is a task that has not ended, with its run.mu held; nil: it has, or there is none (with an error). It is fresh
// where it has just been loaded: the caller is to let it go on, or takes it on.
func (e *Engine) fetch(ctx context.Context, id task.ID) (r *run, fresh bool, err error) {
	for {
		e.mu.Lock()
		if r = e.runs[id]; r == nil {
			r = e.loading[id]
		}
		_, foreign := e.foreign[id]
		if r == nil && e.lasting != nil && !foreign {
			return e.loadRun(ctx, id)
		}
		e.mu.Unlock()
		if foreign {
			return nil, false, errFenced
		}
		if r == nil {
			_, err := e.store.Load(ctx, id)
			return nil, false, err
		}
		r.mu.Lock()
		if !r.gone {
			return r, false, nil
		}
		r.mu.Unlock()
	}
}

// loadRun loads a task from the store. Engine.mu is held, and released.
func (e *Engine) loadRun(ctx context.Context, id task.ID) (_ *run, fresh bool, err error) {
	r := &run{e: e, within: context.Background(), id: id, inherited: id <= e.inherited}
	r.mu.Lock()
	e.loading[id] = r
	e.mu.Unlock()

	rec, err := e.store.Load(ctx, id)
	if err == nil {
		r.earlier, err = e.store.Last(ctx)
	}
	if err == nil && rec.State != task.Completed {
		if rec.Waiting != nil {
			r.findTail(ctx)
		}
		r.restore(rec)
	} else {
		r.gone = true
	}
	e.mu.Lock()
	delete(e.loading, id)
	if !r.gone {
		r.origin, r.priority, r.asking = originOf(rec.Spec.Request.URL), r.rec.Spec.Priority, r.rec.AwaitsAnswer()
		e.runs[id] = r
	}
	e.mu.Unlock()
	if r.gone {
		r.mu.Unlock()
		return nil, false, err
	}
	return r, true, nil
}

// restore makes the run that of a record. r.mu is held.
func (r *run) restore(rec task.Record) {
	if w := rec.Waiting; w != nil {
		r.failure = w.Error
		switch w.Reason {
		case task.WaitConnectivity, task.WaitSpace, task.WaitDiscretionary: // which may be there by now
			rec.Waiting, rec.Next = nil, time.Time{}
		}
	}
	rec.Spec.Priority = cmp.Or(rec.Spec.Priority, task.PriorityDefault)
	r.rec, r.kind = rec, rec.Spec.Kind
	r.limit.Set(rec.Spec.RateLimit)
	r.result.ResumeData = rec.ResumeData
	if d := rec.Spec.Download; d != nil && r.result.ResumeData == nil {
		r.result.ResumeData = d.Resume
	}
	p := &r.first
	p.begin(rec.Spec.Request.Body)
	p.sent.restore(rec.Counts.Sent, rec.Counts.ExpectedToSend)
	p.received.restore(rec.Counts.Received, rec.Counts.ExpectedToReceive)
	r.progress.Store(p)
	if rec.Spec.Stream {
		r.data = make(chan piece)
	}
}

// load is fetch of a task that is to go on by itself.
func (e *Engine) load(ctx context.Context, id task.ID) (*run, error) {
	r, fresh, err := e.fetch(ctx, id)
	if fresh {
		r.goOn()
	}
	return r, err
}

// recall lets a task go on that is in the store alone.
func (e *Engine) recall(id task.ID) {
	r, err := e.load(context.Background(), id)
	switch {
	case r != nil:
		r.unlock()
	case err != nil:
		e.postpone(id, err)
	}
}

// promote runs an attempt of a task that is in the store alone, with a slot of its host.
func (e *Engine) promote(h *host, p place) {
	defer e.attempts.Done()
	r, fresh, err := e.fetch(context.Background(), p.id)
	switch {
	case r == nil:
		if err != nil {
			e.postpone(p.id, err)
		}
	case !fresh: // somebody else has just loaded it, and lets it go on
		r.unlock()
	case r.rec.State != task.Running || r.rec.Spec.Priority != p.priority || r.origin != h.key || r.rec.AwaitsAnswer() || r.early() || e.cancelled() || r.hopeless():
		if r.phase != finished {
			r.goOn()
		}
		r.unlock()
	default:
		r.phase, r.rec.Waiting = queued, nil
		r.plan()
		growStack(len(h.key))
		r.attemptLocked(h)
		return
	}
	e.release(h)
}

func (e *Engine) cancelled() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cancel
}

// early says whether the next attempt has to wait for its time. r.mu is held.
func (r *run) early() bool {
	now := time.Now()
	return r.rec.Next.After(now) || r.rec.Attempt == 0 && r.rec.Spec.EarliestBegin.After(now)
}

// postpone has another look at a task later that could not be read.
func (e *Engine) postpone(id task.ID, err error) {
	if isUnknown(err) || errors.Is(err, errFenced) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.agenda.add(id, time.Now().Add(time.Minute))
}

func isUnknown(err error) bool { return errors.Is(err, store.ErrNotFound) }

// leave is the end of what somebody did with a run: it leaves memory where it is not needed there, or is another
// process's. r.mu is held.
func (r *run) leave() {
	e := r.e
	if r.gone || r.phase == attempting || r.phase == finished {
		return
	}
	if !r.fenced && r.needed() {
		return
	}
	e.mu.Lock()
	if r.fenced {
		e.dequeue(r)
		e.agenda.set(r, time.Time{})
		e.leaveNetwork(r)
		e.leaveParking(r)
		e.leaveAsking(r)
		r.leaveDiscretion()
		delete(e.runs, r.id)
		e.foreign[r.id] = struct{}{}
		e.alive--
		r.ended, r.gone, r.phase = true, true, finished
		e.mu.Unlock()
		r.changed.notify()
		r.over.notify()
		e.changed.notify()
		e.invalidateIfDone()
		return
	}
	defer e.mu.Unlock()
	if _, discreet := e.discretion.runs[r]; len(e.runs) <= e.room || r.released || r.parked || discreet || e.stopping {
		return
	}
	switch r.phase {
	case idle:
		if r.rec.State != task.Suspended {
			return
		}
	case queued: // its deadline has fired, or its slot is on its way
		if r.queue == 0 || r.date == 0 && !r.rec.Deadline().IsZero() {
			return
		}
	case waiting:
		if r.date == 0 && !r.rec.AwaitsAnswer() {
			return
		}
	}
	e.evict(r)
}

// needed says whether the run has what is not in the store, or somebody who listens. r.mu is held.
func (r *run) needed() bool {
	return r.listeners > 0 || r.body.from != nil || r.data != nil || r.dirty || len(r.unsaved) > 0
}

// evict leaves a run to the store and to its places in queue and agenda. r.mu and Engine.mu are held.
func (e *Engine) evict(r *run) {
	if r.queue != 0 {
		e.hosts[r.origin].queue[r.queue-1].run = nil
		r.queue = 0
	}
	if r.date != 0 {
		e.agenda.dates[r.date-1].run = nil
		r.date = 0
	}
	delete(e.runs, r.id)
	r.gone = true
}

// resident is the tasks in memory, in the order of their numbers.
func (e *Engine) resident() []*run {
	e.mu.Lock()
	runs := make([]*run, 0, len(e.runs))
	for _, r := range e.runs {
		runs = append(runs, r)
	}
	e.mu.Unlock()
	slices.SortFunc(runs, func(a, b *run) int { return cmp.Compare(a.id, b.id) })
	return runs
}
