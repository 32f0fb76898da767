package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"time"

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

// departure is a task's place among those that may be forgotten: the one that ended first goes first.
type departure struct {
	seq uint64 // number of its last event
	id  task.ID
}

// departs puts a task in its place. Engine.mu is held. Tasks are released mostly in the order in which they ended.
func (e *Engine) departs(d *ended) {
	i := len(e.forget)
	for i > 0 && e.forget[i-1].seq > d.seq {
		i--
	}
	e.forget = slices.Insert(e.forget, i, departure{d.seq, d.id})
}

// keep notes that a task has ended. Engine.mu is held; forgettable is to follow.
func (e *Engine) keep(r *run, seq uint64, body []byte) {
	delete(e.runs, r.id)
	r.ended = true
	e.alive--
	if e.bodies != nil {
		return // the store has all that is to be known
	}
	d := &ended{id: r.id, seq: seq, after: r.progress.Load().after, body: body, released: r.released}
	e.ended[r.id] = d
	if d.released {
		d.body = nil
		e.departs(d)
	}
}

// Body is Service.Body.
func (e *Engine) Body(ctx context.Context, id task.ID) (io.ReadCloser, error) {
	if e.bodies != nil {
		return e.keptBody(ctx, id)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if d, ok := e.ended[id]; ok && d.body != nil {
		body := d.body
		d.body = nil
		return &heldBody{*bytes.NewReader(body), body}, nil
	}
	return nil, noBody(nil)
}

// heldBody is a body from memory; it is a control.HeldBody.
type heldBody struct {
	bytes.Reader
	all []byte
}

func (b *heldBody) Bytes() []byte { return b.all }
func (b *heldBody) Close() error  { return nil }

func noBody(err error) error {
	if err == nil {
		err = errors.New("the task has not ended, has no body, or its body was already handed over")
	}
	return &task.Error{Op: "read body of task", Code: task.ResourceUnavailable, Err: err}
}

// Release is Service.Release. Where Options.Bodies keeps what it would free, history ends by Options.Retention alone.
func (e *Engine) Release(id task.ID) {
	if e.bodies != nil {
		return
	}
	e.mu.Lock()
	if r := e.runs[id]; r != nil {
		r.released = true
	}
	if d := e.ended[id]; d != nil && !d.released {
		d.released, d.body = true, nil
		e.departs(d)
	}
	ids := e.forgettable()
	e.mu.Unlock()
	e.forgetTasks(ids)
}

// Acknowledge is Service.Acknowledge.
func (e *Engine) Acknowledge(ctx context.Context, sequence uint64) error {
	leave, err := e.enter("acknowledge events")
	if err != nil {
		return err
	}
	defer leave()
	if err := e.store.Acknowledge(ctx, sequence); err != nil {
		return e.storeError("acknowledge events", err)
	}
	acked, err := e.store.Acknowledged(ctx) // no more than there are
	if err != nil {
		return e.storeError("acknowledge events", err)
	}
	e.mu.Lock()
	moved := acked > e.acked
	e.acked = max(e.acked, acked)
	ids := e.forgettable()
	e.mu.Unlock()
	if moved {
		e.audience.tell(acked)
		e.expireSoon()
	}
	e.forgetTasks(ids)
	return nil
}

// forgettable takes the tasks that nobody will ask for any more: released, and acknowledged or too many. Engine.mu is
// held.
func (e *Engine) forgettable() []task.ID {
	var ids []task.ID
	for len(e.forget) > 0 && (e.forget[0].seq <= e.acked || len(e.forget) > history) {
		delete(e.ended, e.forget[0].id)
		ids = append(ids, e.forget[0].id)
		e.forget = e.forget[1:]
	}
	return ids
}

// Retention says how long a session that outlives its process keeps the history of its tasks: those that have ended, and
// whose events are acknowledged. What is not acknowledged is kept.
type Retention struct {
	Age   time.Duration // since the end; 0: no limit
	Count int           // the newest; 0: no limit
}

const (
	expireEvery = time.Hour
	expireDelay = time.Minute // after events were acknowledged
	// expireAtOnce is how many tasks the store is asked for at a time.
	expireAtOnce = 1 << 16
)

// expireSoon looks for history that may be forgotten before long.
func (e *Engine) expireSoon() { e.expireAfter(expireDelay) }

// expireAfter sets the next look, if that is earlier than what is set.
func (e *Engine) expireAfter(d time.Duration) {
	if e.lasting == nil || e.retention == (Retention{}) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	at := time.Now().Add(d)
	switch {
	case e.stopping:
	case e.expiry == nil:
		e.expiry, e.expireAt = time.AfterFunc(d, e.expire), at
	case e.expireAt.IsZero() || at.Before(e.expireAt):
		e.expiry.Reset(d)
		e.expireAt = at
	}
}

// expire forgets history that is past its retention.
func (e *Engine) expire() {
	e.mu.Lock()
	e.expireAt = time.Time{}
	if e.stopping {
		e.mu.Unlock()
		return
	}
	e.attempts.Add(1)
	e.mu.Unlock()
	defer e.attempts.Done()
	ctx := context.Background()
	before, keep := time.Time{}, -1
	if age := e.retention.Age; age > 0 {
		before = time.Now().Add(-age)
	}
	if n := e.retention.Count; n > 0 {
		keep = n
	}
	for more := true; more; {
		ids, err := e.lasting.Expired(ctx, before, keep, expireAtOnce) // which counts all, and so is asked seldom
		more = err == nil && len(ids) > 0
		for some := range slices.Chunk(ids, 256) {
			if e.hasStopped() || e.forgetTasks(some) != nil {
				more = false
				break
			}
		}
	}
	e.expireAfter(expireEvery)
}

// forgetTasks removes tasks from the store. A store that fails to keeps them a while longer, which harms nothing.
func (e *Engine) forgetTasks(ids []task.ID) error {
	if len(ids) == 0 {
		return nil
	}
	for _, id := range ids { // before their records; what a removal fails to is collected as an orphan
		if e.bodies != nil {
			_ = e.bodies.Remove(id)
		}
		if e.temporary != "" {
			e.dropFiles(id)
		}
	}
	return e.store.Forget(context.Background(), ids...)
}
