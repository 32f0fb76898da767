package control

import "github.com/urlsession/urlsession/internal/task"

// Backlog is what a listener has still to be told. Durable events stand in their order; of the live ones only the newest
// of each kind and task stands between two durable ones of that task, so that a slow listener skips to the newest, and
// progress never passes the event that it came before. Its zero value is ready. It is not for concurrent use.
type Backlog[T any] struct {
	items   []backlogItem[T]
	head    int // items before it are gone
	durable int
	newest  map[Progress]int // places in items of live ones that may still be replaced
}

type backlogItem[T any] struct {
	live Progress
	v    T
}

// Add appends v, an event of a task. live is ProgressOf's.
func (b *Backlog[T]) Add(id task.ID, live Progress, v T) {
	if live == 0 {
		b.durable++
		for _, p := range ProgressesOf(id) {
			delete(b.newest, p)
		}
	} else if i, ok := b.newest[live]; ok {
		b.items[i].v = v
		return
	}
	b.compact()
	if live != 0 {
		if b.newest == nil {
			b.newest = make(map[Progress]int)
		}
		b.newest[live] = len(b.items)
	}
	b.items = append(b.items, backlogItem[T]{live, v})
}

// Pop takes the oldest item; false: there is none.
func (b *Backlog[T]) Pop() (v T, ok bool) {
	if b.head == len(b.items) {
		return v, false
	}
	it := b.items[b.head]
	b.items[b.head] = backlogItem[T]{}
	if it.live == 0 {
		b.durable--
	} else if b.newest[it.live] == b.head {
		delete(b.newest, it.live)
	}
	if b.head++; b.head == len(b.items) {
		b.head, b.items = 0, b.items[:0]
	}
	return it.v, true
}

// Take appends all items to a list, and empties the backlog.
func (b *Backlog[T]) Take(to []T) []T {
	for _, it := range b.items[b.head:] {
		to = append(to, it.v)
	}
	clear(b.items)
	clear(b.newest)
	b.head, b.items, b.durable = 0, b.items[:0], 0
	return to
}

// Durable is how many of the items are not live: these are what a listener that does not listen piles up, since the live
// ones are at most two a moving task and durable event.
func (b *Backlog[T]) Durable() int { return b.durable }

// Clear drops all items.
func (b *Backlog[T]) Clear() { *b = Backlog[T]{} }

// compact moves the items to the front, once most of the slice is gone ones: an item is moved once on average.
func (b *Backlog[T]) compact() {
	if b.head < 64 || b.head < len(b.items)/2 {
		return
	}
	n := copy(b.items, b.items[b.head:])
	clear(b.items[n:])
	b.items = b.items[:n]
	for k, i := range b.newest {
		b.newest[k] = i - b.head
	}
	b.head = 0
}

// Progress names the progress of one task in one direction, of which only the newest event counts. 0: no progress.
type Progress uint64

// ProgressesOf are those that a task can have: download, and upload.
func ProgressesOf(id task.ID) [2]Progress {
	p := Progress(id) << 1 // numbers begin at 1, and leave a bit: they are stored with a sign
	return [2]Progress{p, p | 1}
}

// ProgressOf is what a live event tells the progress of; 0 for any other event.
func ProgressOf(ev *task.Event) Progress {
	switch ev.Detail.(type) {
	case task.DownloadProgress:
		return ProgressesOf(ev.Task)[0]
	case task.UploadProgress:
		return ProgressesOf(ev.Task)[1]
	}
	return 0
}
