package engine

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"io"

	"github.com/urlsession/urlsession/internal/task"
)

// ended is what is kept of a task that has ended, beside its record and events in the store.
type ended struct {
	id       task.ID
	seq      uint64 // number of its last event
	after    uint64 // number of its newest event when its last attempt began
	body     []byte // until it is handed over
	released bool
}

// forgetQueue holds the ended tasks that were released, the one that ended first on top.
type forgetQueue []*ended

func (q forgetQueue) Len() int           { return len(q) }
func (q forgetQueue) Less(i, j int) bool { return q[i].seq < q[j].seq }
func (q forgetQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *forgetQueue) Push(x any)        { *q = append(*q, x.(*ended)) }
func (q *forgetQueue) Pop() any {
	old := *q
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return d
}

// keep notes that a task has ended. Engine.mu is held; forgettable is to follow.
func (e *Engine) keep(r *run, seq uint64, body []byte) {
	delete(e.runs, r.id)
	d := &ended{id: r.id, seq: seq, after: r.progress.Load().after, body: body, released: r.released}
	e.ended[r.id] = d
	if d.released {
		d.body = nil
		heap.Push(&e.forget, d)
	}
}

// Body is Service.Body.
func (e *Engine) Body(_ context.Context, id task.ID) (io.ReadCloser, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d, ok := e.ended[id]; ok && d.body != nil {
		body := d.body
		d.body = nil
		return io.NopCloser(bytes.NewReader(body)), nil
	}
	return nil, &task.Error{Op: "read body of task", Code: task.ResourceUnavailable,
		Err: errors.New("the task has not ended, has no body, or its body was already handed over")}
}

// Release is Service.Release.
func (e *Engine) Release(id task.ID) {
	e.mu.Lock()
	if r := e.runs[id]; r != nil {
		r.released = true
	}
	if d := e.ended[id]; d != nil && !d.released {
		d.released, d.body = true, nil
		heap.Push(&e.forget, d)
	}
	ids := e.forgettable()
	e.mu.Unlock()
	e.forgetTasks(ids)
}

// Acknowledge is Service.Acknowledge.
func (e *Engine) Acknowledge(ctx context.Context, sequence uint64) error {
	if err := e.store.Acknowledge(ctx, sequence); err != nil {
		return e.storeError("acknowledge events", err)
	}
	acked, err := e.store.Acknowledged(ctx) // no more than there are
	if err != nil {
		return e.storeError("acknowledge events", err)
	}
	e.mu.Lock()
	e.acked = max(e.acked, acked)
	ids := e.forgettable()
	e.mu.Unlock()
	e.forgetTasks(ids)
	return nil
}

// forgettable takes the tasks that nobody will ask for any more: released, and acknowledged or too many. Engine.mu is
// held.
func (e *Engine) forgettable() []task.ID {
	var ids []task.ID
	for len(e.forget) > 0 && (e.forget[0].seq <= e.acked || len(e.forget) > history) {
		d := heap.Pop(&e.forget).(*ended)
		delete(e.ended, d.id)
		ids = append(ids, d.id)
	}
	return ids
}

// forgetTasks removes tasks from the store. A store that fails to keeps them a while longer, which harms nothing.
func (e *Engine) forgetTasks(ids []task.ID) {
	if len(ids) > 0 {
		_ = e.store.Forget(context.Background(), ids...)
	}
}
