package engine

import "github.com/urlsession/urlsession/internal/task"

// latelyAtMost is how many tasks lately knows: more than end in a commit. Who listens later reads the store.
const latelyAtMost = 1024

// lately is what the tasks have moved that ended last, of a session that outlives its process: a listener tells it before
// their ends, and would read each record for it otherwise. Its zero value is ready. Engine.mu guards it.
type lately struct {
	moved map[task.ID]moved
	ring  []task.ID // those in moved
	next  int       // place in ring of the oldest, once it is full
}

type moved struct {
	kind   task.Kind
	counts task.Counts
}

func (l *lately) add(id task.ID, m moved) {
	if l.moved == nil {
		l.moved = make(map[task.ID]moved)
	}
	l.moved[id] = m
	if len(l.ring) < latelyAtMost {
		l.ring = append(l.ring, id)
		return
	}
	delete(l.moved, l.ring[l.next])
	l.ring[l.next] = id
	l.next = (l.next + 1) % latelyAtMost
}
