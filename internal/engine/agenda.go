package engine

import (
	"container/heap"
	"time"
)

// agenda wakes runs when their time has come: a heap and one timer, however many runs wait. Engine.mu guards it.
type agenda struct {
	e     *Engine
	runs  agendaHeap
	timer *time.Timer
	at    time.Time // when the timer fires; zero: it does not
}

// set plans the next wake-up of a run, in place of the one before; a zero time: none.
func (a *agenda) set(r *run, at time.Time) {
	r.due = at
	switch {
	case at.IsZero() && r.agendum != 0:
		heap.Remove(&a.runs, r.agendum-1)
	case at.IsZero():
		return
	case r.agendum != 0:
		heap.Fix(&a.runs, r.agendum-1)
	default:
		heap.Push(&a.runs, r)
	}
	a.arm()
}

func (a *agenda) arm() {
	if len(a.runs) == 0 {
		if a.timer != nil {
			a.timer.Stop()
		}
		a.at = time.Time{}
		return
	}
	at := a.runs[0].due
	// A timer that fires too early re-arms itself; only an earlier time needs a new setting.
	if !a.at.IsZero() && !at.Before(a.at) {
		return
	}
	a.at = at
	if a.timer == nil {
		a.timer = time.AfterFunc(time.Until(at), a.fire)
	} else {
		a.timer.Reset(time.Until(at))
	}
}

func (a *agenda) fire() {
	a.e.mu.Lock()
	a.at = time.Time{}
	now := time.Now()
	var due []*run
	for len(a.runs) > 0 && !a.runs[0].due.After(now) {
		due = append(due, heap.Pop(&a.runs).(*run))
	}
	a.arm()
	a.e.mu.Unlock()
	for _, r := range due {
		r.wake()
	}
}

// agendaHeap is a heap of runs, the earliest due first.
type agendaHeap []*run

func (h agendaHeap) Len() int           { return len(h) }
func (h agendaHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h agendaHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].agendum, h[j].agendum = i+1, j+1
}
func (h *agendaHeap) Push(x any) {
	r := x.(*run)
	*h = append(*h, r)
	r.agendum = len(*h)
}
func (h *agendaHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	r.agendum = 0
	return r
}
