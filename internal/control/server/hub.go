package server

import (
	"context"
	"sync"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// hub hands the events of one session to all who listen to the whole of it: it is one listener of the Service, encodes
// each event once, and gives it to each of them without waiting. It runs while it has listeners.
type hub struct {
	svc   control.Service
	users int // server.mu guards it

	mu       sync.Mutex
	attached int // subscribers, those too that have to catch up
	pump     *pump
	members  map[*subscriber]struct{}
	newest   map[control.Progress]*item // what a member that comes later is told of tasks that move
	seen     uint64                     // number of the last durable event that the members have been handed
}

// pump is the one listening; a hub that was left by all and is joined again has another.
type pump struct {
	stop context.CancelFunc
	done chan struct{}
}

// item is an event for all. It is not changed, and shared: a listener that does not read holds pointers.
type item struct {
	ev    task.Event
	frame []byte // encoded, shared
	seq   uint64 // of a durable event its number, of a gap its end; 0: live
	live  control.Progress
	end   bool  // in place of an event: nothing follows
	err   error // then: why
}

// subscriber is one listener's end of a hub. The hub's mutex guards it.
type subscriber struct {
	from    uint64 // it has been told what is at or before it
	current bool   // the hub has reached from: it gets what comes
	backlog control.Backlog[*item]
	changed chan struct{} // holds a token after the backlog has changed, or the subscriber was dropped
	durable bool          // it wants no live events
}

// backlogMost is how many events, that are not live, may wait for a listener. One that does not keep up is dropped, and
// reads them from the store when it can.
const backlogMost = 4096

// attach is to be called before join, and detach at the end, so that the pump goes on between.
func (h *hub) attach() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attached++
}

func (h *hub) detach(s *subscriber) {
	h.mu.Lock()
	delete(h.members, s)
	h.attached--
	p := h.pump
	if h.attached > 0 {
		p = nil
	} else {
		h.pump, h.newest = nil, nil
	}
	h.mu.Unlock()
	if p != nil {
		p.stop()
		<-p.done
	}
}

// join makes s a member that has been told all up to s.from, and returns that. A higher number is how far the hub is
// already: s has to be told what the store has up to there, before it joins.
func (h *hub) join(s *subscriber) (reached uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pump == nil {
		h.seen, h.newest, h.members = s.from, make(map[control.Progress]*item), make(map[*subscriber]struct{})
		ctx, stop := context.WithCancel(context.Background())
		h.pump = &pump{stop, make(chan struct{})}
		go h.run(ctx, h.pump, s.from)
	}
	if h.seen > s.from {
		return h.seen
	}
	s.backlog.Clear()
	s.current = false
	h.members[s] = struct{}{}
	h.catchUp(s)
	return s.from
}

// catchUp makes s current, once the hub has reached what it was told: with the progress of the tasks that move. h.mu is
// held.
func (h *hub) catchUp(s *subscriber) {
	if s.current || h.seen < s.from {
		return
	}
	s.current = true
	if s.durable {
		return
	}
	for _, it := range h.newest {
		s.backlog.Add(it.ev.Task, it.live, it)
	}
	wake(s)
}

// take empties a member's backlog into items. False: s is no member any more.
func (h *hub) take(s *subscriber, items []*item) ([]*item, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.members[s]; !ok {
		return items, false
	}
	return s.backlog.Take(items), true
}

func wake(s *subscriber) {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// run listens and hands over until the session's last event, an error, or p.stop.
func (h *hub) run(ctx context.Context, p *pump, after uint64) {
	defer close(p.done)
	var failed error
	for ev, err := range h.svc.Events(ctx, task.EventQuery{After: &after}) {
		if err != nil {
			failed = err
			break
		}
		if _, ok := ev.Detail.(task.EventsCompleted); ok {
			continue // each listener has its own
		}
		it := &item{ev: ev, seq: numberOf(ev), live: control.ProgressOf(&ev)}
		if it.frame, failed = frameOf(ev); failed != nil {
			break
		}
		if !h.hand(p, it) {
			return
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pump != p {
		return
	}
	h.pump = nil // who joins from now on finds out for itself
	for s := range h.members {
		s.backlog.Add(0, 0, &item{end: true, err: failed})
		wake(s)
	}
}

// hand gives an item to all members. False: p is not the hub's any more.
func (h *hub) hand(p *pump, it *item) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pump != p {
		return false
	}
	if it.live != 0 {
		h.newest[it.live] = it
	} else {
		h.seen = max(h.seen, it.seq)
		h.settle(it.ev)
	}
	for s := range h.members {
		if !s.current {
			if h.catchUp(s); !s.current || it.live != 0 || it.seq <= s.from {
				continue // it is among what s was told, or has got just now
			}
		}
		if it.live != 0 && s.durable {
			continue
		}
		if s.backlog.Add(it.ev.Task, it.live, it); s.backlog.Durable() > backlogMost {
			delete(h.members, s)
			s.backlog.Clear()
		}
		wake(s)
	}
	return true
}

// settle forgets the progress that an event has made old: of an attempt that is over. h.mu is held.
func (h *hub) settle(ev task.Event) {
	switch ev.Detail.(type) {
	case task.WillRetry, task.SessionCompleted:
		for _, p := range control.ProgressesOf(ev.Task) {
			delete(h.newest, p)
		}
	case task.Gap:
		clear(h.newest) // the ends of some tasks are in it
	}
}
