package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// agenda wakes tasks when their time has come: a heap and one timer, however many wait. Engine.mu guards it.
type agenda struct {
	e      *Engine
	epoch  time.Time // times are counted from here, by the clock that is never set where they were taken from it
	dates  heap[date]
	tidyAt int // how many dates there are to be before the next tidy
	timer  *time.Timer
	at     time.Duration // when the timer fires; 0: it does not
}

// date is when a task wants to be woken.
type date struct {
	at  time.Duration // since epoch
	id  task.ID
	run *run // nil: the task is in the store alone, and may have changed its mind
}

func (d date) before(o date) bool { return d.at < o.at }
func (d date) moved(to int) {
	if d.run != nil {
		d.run.date = to
	}
}

// set plans the next wake-up of a run, in place of the one before; a zero time: none.
func (a *agenda) set(r *run, at time.Time) {
	switch {
	case at.IsZero() && r.date != 0:
		a.dates.remove(r.date)
	case at.IsZero():
		return
	case r.date != 0:
		a.dates[r.date-1].at = at.Sub(a.epoch)
		a.dates.fix(r.date)
	default:
		a.push(date{at.Sub(a.epoch), r.id, r})
	}
	a.arm()
}

// add plans a wake-up of a task that is in the store alone.
func (a *agenda) add(id task.ID, at time.Time) {
	a.push(date{at: at.Sub(a.epoch), id: id})
	a.arm()
}

func (a *agenda) push(d date) {
	if len(a.dates) >= max(a.tidyAt, 2*a.e.alive+1024) {
		a.tidy()
		a.tidyAt = 2 * len(a.dates) // what a tidy cannot remove, as the dates of tasks that have ended, is not sorted at each push
	}
	a.dates.push(d)
}

// tidy leaves each task one date: its run's own, or the earliest. A task that leaves memory leaves its date behind, and has
// another when it comes back: one an attempt of a task that waits in a long queue.
func (a *agenda) tidy() {
	slices.SortFunc(a.dates, func(x, y date) int {
		switch {
		case x.id != y.id:
			return cmp.Compare(x.id, y.id)
		case (x.run != nil) != (y.run != nil):
			if x.run != nil {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.at, y.at)
	})
	a.dates = slices.CompactFunc(a.dates, func(x, y date) bool { return x.id == y.id })
	slices.SortFunc(a.dates, func(x, y date) int { return cmp.Compare(x.at, y.at) }) // which is a heap too
	for i, d := range a.dates {
		d.moved(i + 1)
	}
}

func (a *agenda) arm() {
	if len(a.dates) == 0 || a.e.stopping {
		if a.timer != nil {
			a.timer.Stop()
		}
		a.at = 0
		return
	}
	at := max(1, a.dates[0].at)
	// A timer that fires too early re-arms itself; only an earlier time needs a new setting.
	if a.at != 0 && at >= a.at {
		return
	}
	a.at = at
	wait := at - time.Since(a.epoch)
	if a.timer == nil {
		a.timer = time.AfterFunc(wait, a.fire)
	} else {
		a.timer.Reset(wait)
	}
}

func (a *agenda) fire() {
	e := a.e
	e.mu.Lock()
	a.at = 0
	now := time.Since(a.epoch)
	var due []date
	for len(a.dates) > 0 && a.dates[0].at <= now && !e.stopping {
		due = append(due, a.dates.pop())
	}
	a.arm()
	if len(due) == 0 {
		e.mu.Unlock()
		return
	}
	if e.lasting != nil {
		e.attempts.Add(1) // Stop waits until the store is not used any more
		defer e.attempts.Done()
	}
	e.mu.Unlock()
	for _, d := range due {
		if d.run != nil {
			d.run.wake()
		} else {
			e.recall(d.id)
		}
	}
}
