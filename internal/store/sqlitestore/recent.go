package sqlitestore

import (
	"sync"

	"github.com/urlsession/urlsession/internal/task"
)

const (
	// recentEvents and recentBytes bound what is kept of a session's newest events in memory, by number and by the bytes of
	// their JSON: enough for a listener that keeps up, and one that does not reads the database.
	recentEvents = 4096
	recentBytes  = 1 << 20
)

// recent is the newest committed events of a session. A listener that follows the session is told of each commit, and has
// each event from here: to read them back cost as much as a fifth of a small task's whole life. The writer alone adds and
// changes; it does so once a commit is durable.
type recent struct {
	mu     sync.RWMutex
	events []recentEvent // without gaps in their numbers
	bytes  int
}

// recentEvent has a nil Detail where it is forgotten.
type recentEvent struct {
	task.Event
	bytes int // of its JSON
}

// stored is a detail as the database gives it back: without what is for its own process.
func stored(d task.Detail) task.Detail {
	switch d := d.(type) {
	case task.ResponseReceived:
		d.Response = nil
		return d
	case task.Redirected:
		d.Request = nil
		return d
	case task.SessionCompleted:
		d.Failure = nil
		return d
	}
	return d
}

func (r *recent) add(list ...recentEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range list {
		r.events = append(r.events, ev)
		r.bytes += ev.bytes
	}
	first := 0
	for ; len(r.events)-first > recentEvents || r.bytes > recentBytes; first++ {
		r.bytes -= r.events[first].bytes
	}
	clear(r.events[:first]) // what they hold goes at once, their places when append next moves the rest
	r.events = r.events[first:]
}

// replace changes an event, if it is here.
func (r *recent) replace(ev recentEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 || ev.Sequence < r.events[0].Sequence {
		return
	}
	old := &r.events[ev.Sequence-r.events[0].Sequence]
	r.bytes += ev.bytes - old.bytes
	*old = ev
}

// forget removes the events of tasks.
func (r *recent) forget(ids map[task.ID]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.events {
		if ev := &r.events[i]; ev.Detail != nil && ids[ev.Task] {
			r.bytes -= ev.bytes
			ev.bytes, ev.Detail = 0, nil
		}
	}
}

// after is up to limit events with numbers after the given one, as Store.Events has them. known is false where it does not
// have all of them, and the database is to be asked.
func (r *recent) after(s *Store, seq uint64, limit int) (out []task.Event, known bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.events) == 0 || seq+1 < r.events[0].Sequence {
		return nil, false
	}
	for i := seq + 1 - r.events[0].Sequence; i < uint64(len(r.events)) && len(out) < limit; i++ {
		first := i
		for i < uint64(len(r.events)) && r.events[i].Detail == nil {
			i++
		}
		if i > first {
			out = append(out, s.gap(r.events[first].Sequence, r.events[i-1].Sequence))
			i--
			continue
		}
		out = append(out, r.events[i].Event)
	}
	return out, true
}
