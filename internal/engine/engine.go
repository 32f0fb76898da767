// Package engine decides when a task runs: its queue, priorities, limits a host, deadlines, retries, suspension,
// progress and events. How one attempt of it runs is package transfer's.
//
// An Engine serves one session. A task that waits costs a struct and a place in a heap; only an attempt under way has a
// goroutine, and an idle Engine has none.
//
// # Locking
//
// Each run (a task that has not ended) has a mutex that guards its record; Engine.mu guards what runs share: the host
// queues, the agenda, the sets. The order is run.mu, then Engine.mu. The store is written under run.mu only, so that
// writes of different tasks go on side by side. The caller's code (a listener's loop, a body's Read, Rewind and Close) is
// called under neither, so that it may call the Engine.
package engine

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// Options of an Engine.
type Options struct {
	Session      string // its identifier, which live events carry; empty in process
	Store        store.Store
	RoundTripper http.RoundTripper
	MaxPerHost   int   // connections a host; 0: 6
	RateLimit    int64 // bytes a second of all tasks together; 0: none
	Network      Network
	// Flush and Reset do what Service says of them for the session's storages; nil: there are none.
	Flush, Reset func(context.Context) error
	// Run runs one attempt; nil: transfer.Run.
	Run func(context.Context, *transfer.Attempt) (transfer.Result, error)
}

// Network says what the machine's network is like. Nil in Options: always there, never metered.
type Network interface {
	Online() bool
	// Changes receives after the network may have changed, until ctx ends.
	Changes(ctx context.Context) <-chan struct{}
	// Metered says whether the network costs money (expensive) or is to be used sparingly (constrained).
	Metered() (expensive, constrained bool)
}

// history is how many ended tasks stay known that were released and whose events nobody has acknowledged. The oldest
// go first; a listener that comes too late for them gets a Gap.
const history = 1024

// Engine runs the tasks of one session; it is a control.Service. Use New. It ends by Close.
type Engine struct {
	session string
	store   store.Store
	rt      http.RoundTripper
	network Network
	flush   func(context.Context) error
	reset   func(context.Context) error
	runTask func(context.Context, *transfer.Attempt) (transfer.Result, error)
	limit   *rate.Limiter
	perHost int

	attempts sync.WaitGroup // goroutines
	changed  signal         // the session's log has grown, or an attempt has begun

	mu       sync.Mutex
	runs     map[task.ID]*run   // tasks that have not ended
	active   map[*run]struct{}  // those with an attempt under way
	offline  map[*run]struct{}  // those that wait for the network
	unwatch  context.CancelFunc // ends the watch of the network; nil: there is none
	hosts    map[string]*host
	agenda   agenda
	ended    map[task.ID]*ended
	forget   forgetQueue
	acked    uint64 // as the store has it
	watchers int    // listeners that want live events
	creating int    // Create calls between their check of closed and their entry in runs
	owned    bool   // somebody iterates as the owner
	closed   bool   // no new tasks
	cancel   bool   // closed, and every task is cancelled
	gone     bool   // the last task has ended since, and Invalidated is stored
	over     bool   // it was
}

// New makes an engine over a store whose tasks have all ended.
func New(o Options) *Engine {
	e := &Engine{
		session: o.Session, store: o.Store, rt: o.RoundTripper, network: o.Network, flush: o.Flush, reset: o.Reset,
		runTask: o.Run, perHost: o.MaxPerHost,
		runs: make(map[task.ID]*run), active: make(map[*run]struct{}), offline: make(map[*run]struct{}),
		hosts: make(map[string]*host), ended: make(map[task.ID]*ended),
	}
	e.agenda.e = e
	if e.runTask == nil {
		e.runTask = transfer.Run
	}
	if e.perHost <= 0 {
		e.perHost = 6
	}
	if o.RateLimit > 0 {
		// A burst of a quarter second keeps the rate exact and lets one read take a large buffer.
		e.limit = rate.NewLimiter(rate.Limit(o.RateLimit), int(max(o.RateLimit/4, 64<<10)))
	}
	return e
}

// Create is Service.Create.
func (e *Engine) Create(ctx context.Context, spec task.Spec, body io.Reader) (task.ID, error) {
	now := time.Now()
	spec.Priority = cmp.Or(spec.Priority, task.PriorityDefault)
	r := &run{
		e: e, kind: spec.Kind, origin: originOf(spec.Request.URL), priority: spec.Priority, body: requestBody{from: body},
		rec: task.Record{Spec: spec, State: task.Running, Created: now, Since: now},
	}
	r.progress.Store(newProgress(spec.Request.Body))
	r.rec.Counts = r.counts()
	if spec.Stream {
		r.data = make(chan piece)
	}
	if spec.Download != nil {
		r.result.ResumeData = spec.Download.Resume // until an attempt has its own
	}
	if spec.Suspended {
		r.rec.State, r.rec.SuspendCount, r.rec.Since = task.Suspended, 1, time.Time{}
	}

	r.mu.Lock()
	defer r.unlock()
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return 0, &task.Error{Op: "create task", URL: task.Redact(spec.Request.URL), Code: task.SessionInvalidated,
			Err: errors.New("the session takes no more tasks; make a new session")}
	}
	e.creating++
	e.mu.Unlock()

	err := e.store.Create(ctx, &r.rec)
	e.mu.Lock()
	e.creating--
	cancel := e.cancel
	if err == nil {
		r.id = r.rec.ID
		e.runs[r.id] = r
	}
	e.mu.Unlock()
	switch {
	case err != nil:
		e.invalidateIfDone()
		return 0, e.storeError("create task", err)
	case cancel:
		r.cancelLocked()
	case r.rec.State == task.Running:
		r.schedule()
	}
	return r.id, nil
}

// Task is Service.Task.
func (e *Engine) Task(ctx context.Context, id task.ID) (task.Record, error) {
	if r := e.run(id); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.snapshot(), nil
	}
	rec, err := e.store.Load(ctx, id)
	if err != nil {
		return rec, e.storeError("look up task", err)
	}
	return rec, nil
}

// Tasks is Service.Tasks.
func (e *Engine) Tasks(ctx context.Context) iter.Seq2[task.Record, error] {
	return func(yield func(task.Record, error) bool) {
		var after task.ID
		for {
			page, err := e.store.Tasks(ctx, after, 256)
			if err != nil {
				yield(task.Record{}, e.storeError("list tasks", err))
				return
			}
			if len(page) == 0 {
				return
			}
			for _, rec := range page {
				after = rec.ID
				if r := e.run(rec.ID); r != nil {
					r.mu.Lock()
					rec = r.snapshot()
					r.mu.Unlock()
				}
				if !yield(rec, nil) {
					return
				}
			}
		}
	}
}

// Suspend is Service.Suspend.
func (e *Engine) Suspend(_ context.Context, id task.ID) error {
	return e.change("suspend task", id, (*run).suspendLocked)
}

// Resume is Service.Resume.
func (e *Engine) Resume(_ context.Context, id task.ID) error {
	return e.change("resume task", id, (*run).resumeLocked)
}

// Cancel is Service.Cancel.
func (e *Engine) Cancel(_ context.Context, id task.ID) error {
	return e.change("cancel task", id, (*run).cancelLocked)
}

// SetPriority is Service.SetPriority.
func (e *Engine) SetPriority(_ context.Context, id task.ID, p task.Priority) error {
	return e.change("set priority of task", id, func(r *run) error {
		r.rec.Spec.Priority = cmp.Or(p, task.PriorityDefault)
		e.mu.Lock()
		e.requeue(r)
		e.mu.Unlock()
		return r.save()
	})
}

// change applies f to a task under its lock; a task that has ended is left as it is.
func (e *Engine) change(op string, id task.ID, f func(*run) error) error {
	r := e.run(id)
	if r == nil {
		if _, err := e.store.Load(context.Background(), id); err != nil {
			return e.storeError(op, err)
		}
		return nil
	}
	r.mu.Lock()
	defer r.unlock()
	if r.rec.State == task.Completed {
		return nil
	}
	if err := f(r); err != nil {
		return e.storeError(op, err)
	}
	return nil
}

// Finish is Service.Finish.
func (e *Engine) Finish(context.Context) error {
	e.end(false)
	return nil
}

// Invalidate is Service.Invalidate.
func (e *Engine) Invalidate(context.Context) error {
	e.end(true)
	return nil
}

// Close invalidates the session, cancels its tasks and waits until all of them have ended and no goroutine is left.
func (e *Engine) Close() error {
	e.end(true)
	e.attempts.Wait()
	return nil
}

func (e *Engine) end(cancel bool) {
	e.mu.Lock()
	e.closed = true
	e.cancel = e.cancel || cancel
	runs := make([]*run, 0, len(e.runs))
	if cancel {
		for _, r := range e.runs {
			runs = append(runs, r)
		}
	}
	e.mu.Unlock()
	slices.SortFunc(runs, func(a, b *run) int { return cmp.Compare(a.id, b.id) })
	for _, r := range runs {
		r.mu.Lock()
		if r.phase == finished {
			r.finish() // its end could not be stored, and there is no later
		} else {
			r.cancelLocked()
		}
		r.unlock()
	}
	e.invalidateIfDone()
}

// invalidateIfDone stores the session's last event once it is closed and its last task has ended.
func (e *Engine) invalidateIfDone() {
	e.mu.Lock()
	last := e.closed && !e.gone && len(e.runs)+e.creating == 0
	if last {
		e.gone = true
		e.releaseHosts()
	}
	e.mu.Unlock()
	if last {
		e.store.Append(context.Background(), task.Invalidated{})
		e.mu.Lock()
		e.over = true
		e.mu.Unlock()
		e.changed.notify()
	}
}

// Flush is Service.Flush.
func (e *Engine) Flush(ctx context.Context) error {
	if e.flush == nil {
		return nil
	}
	return e.flush(ctx)
}

// Reset is Service.Reset.
func (e *Engine) Reset(ctx context.Context) error {
	if e.reset != nil {
		if err := e.reset(ctx); err != nil {
			return err
		}
	}
	return e.Flush(ctx)
}

// run is a task that has not ended; nil: there is none of that number.
func (e *Engine) run(id task.ID) *run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runs[id]
}

func (e *Engine) storeError(op string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return &task.Error{Op: op, Code: task.ResourceUnavailable, Err: err}
	}
	if _, ok := errors.AsType[*task.Error](err); ok {
		return err
	}
	return &task.Error{Op: op, Code: task.CodeOf(err), Err: err}
}
