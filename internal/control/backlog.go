package control

import "github.com/urlsession/urlsession/internal/task"

// Backlog is what a listener has still to be told. Durable events stand in their order; of the live ones only the newest
// of each kind and task stands between two durable ones of that task, so that a slow listener skips to the newest, and
// progress never passes the event that it came before. Its zero value is ready. It is not for concurrent use.
type Backlog[T any] struct {
	items   []backlogItem[T]
	head    int // items before it are gone
	durable int
	newest  map[backlogKey]int // places in items of live ones that may still be replaced
}

type backlogItem[T any] struct {
	key backlogKey
	v   T
}

type backlogKey struct {
	id   task.ID
	live string
}

// Add appends v, an event of a task. live is ProgressName's.
func (b *Backlog[T]) Add(id task.ID, live string, v T) {
	k := backlogKey{id, live}
	if live == "" {
		b.durable++
		delete(b.newest, backlogKey{id, downloadProgress})
		delete(b.newest, backlogKey{id, uploadProgress})
	} else if i, ok := b.newest[k]; ok {
		b.items[i].v = v
		return
	}
	b.compact()
	if live != "" {
		if b.newest == nil {
			b.newest = make(map[backlogKey]int)
		}
		b.newest[k] = len(b.items)
	}
	b.items = append(b.items, backlogItem[T]{k, v})
}

// Pop takes the oldest item; false: there is none.
func (b *Backlog[T]) Pop() (v T, ok bool) {
	if b.head == len(b.items) {
		return v, false
	}
	it := b.items[b.head]
	b.items[b.head] = backlogItem[T]{}
	if it.key.live == "" {
		b.durable--
	} else if b.newest[it.key] == b.head {
		delete(b.newest, it.key)
	}
	if b.head++; b.head == len(b.items) {
		b.head, b.items = 0, b.items[:0]
	}
	return it.v, true
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

var (
	downloadProgress = task.DownloadProgress{}.EventName()
	uploadProgress   = task.UploadProgress{}.EventName()
)

// ProgressName is the name of a live event of which only the newest counts; empty for any other event.
func ProgressName(d task.Detail) string {
	switch d.(type) {
	case task.DownloadProgress:
		return downloadProgress
	case task.UploadProgress:
		return uploadProgress
	}
	return ""
}
