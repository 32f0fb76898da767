package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// audience knows what listeners may have been told. What they have not, newer events may take the place of.
type audience struct {
	mu   sync.RWMutex
	told uint64 // the highest number of an event that may have been read
}

// tell notes that events up to a number are about to be read. Those may be replaced no more when it returns.
func (a *audience) tell(to uint64) {
	a.mu.RLock()
	known := to <= a.told
	a.mu.RUnlock()
	if known {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = max(a.told, to)
}

// tail is a task's newest events where newer ones of the same kinds may take their place.
type tail struct {
	first uint64 // number of the first; 0: there is none
	n     int
}

// findTail is for a run that was loaded while its task waits: what it told before it left memory may be replaced all the same.
// What cannot be read stays. r.mu is held.
func (r *run) findTail(ctx context.Context) {
	const most = 64
	a := &r.e.audience
	a.mu.RLock()
	told := a.told
	a.mu.RUnlock()
	evs, err := r.e.store.Events(ctx, told, r.id, most)
	if err != nil || len(evs) == 0 || len(evs) == most {
		return
	}
	newest := evs[len(evs)-1]
	switch newest.Detail.(type) {
	case task.Waiting, task.WillRetry:
		r.seq.Store(newest.Sequence)
		r.tail = tail{newest.Sequence, 1}
	default:
		return
	}
	if len(evs) > 1 {
		before := evs[len(evs)-2]
		if _, ok := before.Detail.(task.Metrics); ok && before.Sequence+1 == newest.Sequence {
			r.tail = tail{before.Sequence, 2}
		}
	}
}

// collapses says whether events make a tail: an attempt that came to nothing, or a wait.
func collapses(details []task.Detail) bool {
	for i, d := range details {
		switch d.(type) {
		case task.Metrics:
			if i == len(details)-1 {
				return false
			}
		case task.Waiting, task.WillRetry:
		default:
			return false
		}
	}
	return len(details) > 0
}

// saveLasting stores the record and r.unsaved, in place of the events before where nobody has been told of those: waits
// and retries of a task that nobody looks at do not pile up. Once another writer has the task, its attempt ends. r.mu is
// held.
func (r *run) saveLasting() (seq uint64, err error) {
	ctx, e, n := context.Background(), r.e, len(r.unsaved)
	collapse := collapses(r.unsaved)
	amended := false
	if collapse && r.tail.n == n {
		e.audience.mu.RLock()
		if r.tail.first > e.audience.told {
			amended = true
			seq, err = r.seq.Load(), e.lasting.Amend(ctx, &r.rec, r.tail.first, r.unsaved...)
		}
		e.audience.mu.RUnlock()
	}
	if !amended {
		seq, err = e.store.Save(ctx, &r.rec, r.unsaved...)
	}
	switch {
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound):
		r.fenced = true
		if r.phase == attempting {
			r.stop(errFenced)
		}
	case err != nil:
	case collapse:
		r.tail = tail{seq - uint64(n) + 1, n}
	case n > 0:
		r.tail = tail{}
	}
	return seq, err
}

// Alive is how many tasks have not ended.
func (e *Engine) Alive() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.alive
}

// Owned says whether somebody iterates over the session's events as its owner.
func (e *Engine) Owned() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.owned
}

// tellUnattended calls Options.Unattended where all tasks have ended, or some wait for an answer, nobody owns the session, and
// events wait. It is asked when the last task ends; when one begins to wait for an answer; when an owner leaves before it has been given all (which is how one that has died does), and
// not when it leaves having seen them: to wake it again for what it chose not to acknowledge would be for ever; and by
// Open, since an earlier process may have died before it told.
func (e *Engine) tellUnattended() {
	if e.unattended == nil {
		return
	}
	last, err := e.store.Last(context.Background())
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil && last > e.acked && (e.alive+e.creating == 0 || e.asking > 0) && !e.owned && !e.stopping {
		e.attempts.Go(e.unattended)
	}
}
