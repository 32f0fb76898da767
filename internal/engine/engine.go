// Package engine decides when a task runs: its queue, priorities, limits a host, deadlines, retries, suspension,
// progress and events. How one attempt of it runs is package transfer's.
//
// An Engine serves one session: New one that ends with its process, Open one that a later process goes on with. A task
// that waits costs a struct and a place in a heap, or the place alone where the store has it safely (resident.go); only an
// attempt under way has a goroutine, where nobody lends it one (Run), and an idle Engine has none.
//
// # Locking
//
// Each run (a task that has not ended) has a mutex that guards its record; Engine.mu guards what runs share: the host
// queues, the agenda, the sets. The order is run.mu, then Engine.mu, then Hosts.mu. The store is written under run.mu only, so that
// writes of different tasks go on side by side. The caller's code (a listener's loop, a body's Read, Rewind and Close) is
// called under neither, so that it may call the Engine.
//
// # Writes
//
// Each write of a store that outlives the process is an fsync that somebody waits for. After its creation a task that
// succeeds at once costs these, each with all events since the one before:
//
//   - the begin of its attempt, only where begin says why: a request that must not be sent twice, or an inherited task;
//   - a download's final name before the rename (Committing), or a kill between rename and end would fetch it again;
//   - its end.
//
// An attempt that lasts longer adds one for its response (note), and each wait or retry one, which replaces the one before
// while nobody has been told of that (saveLasting).
package engine

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/platform"
	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// Options of an Engine.
type Options struct {
	Session      string // its identifier, which live events carry; empty in process
	Store        store.Store
	RoundTripper http.RoundTripper
	// Chain is the chain of one task, in place of RoundTripper; nil: all have that. It is asked at each attempt, from any
	// goroutine; its error ends the task.
	Chain      func(*task.Spec) (http.RoundTripper, error)
	MaxPerHost int // connections a host; 0: 6
	// Hosts is an account of connections that this Engine has in common with others, beside MaxPerHost; nil: there is none.
	Hosts     *Hosts
	RateLimit int64 // bytes a second of all tasks together, received, and as many sent; 0: none
	// Limits are further ones of all tasks, which other engines may share.
	Limits  transfer.Limits
	Network Network
	// Flush and Reset do what Service says of them for the session's storages; nil: there are none.
	Flush, Reset func(context.Context) error
	// Run runs one attempt; nil: transfer.Run.
	Run func(context.Context, *transfer.Attempt) (transfer.Result, error)
	// Space is how many bytes the disk of a folder has free; nil: platform.Space.
	Space func(folder string) (free int64, err error)

	// The rest is for sessions that outlive their process (Open).

	Bodies    Bodies // of responses; nil: they are held in memory, and handed over once
	Spool     Spool  // of requests; nil: they are read as they are sent, and end with the process
	Retention Retention
	// Power says whether discretionary tasks may use it; nil: always.
	Power Power
	// Temporary is the folder of downloads without a destination, which are removed with their tasks' history. It must be
	// there before such a task is created. Empty: the system's, and they are their user's to remove.
	Temporary string
	Resident  int // tasks that only wait and are held in memory all the same; 0: 4096
	// Known says whether a credential is there that a task which asks was not refused: Open has such a task try it. Nil: none is.
	// It is called from a goroutine of its own.
	Known func(*task.Record) bool
	// Unattended is called when the last task has ended, or one waits for an answer, events wait, and nobody iterates as the
	// owner: see tellUnattended.
	// It is called from a goroutine of its own, for which Stop waits.
	Unattended func()
}

// Network says what the machine's network is like. Nil in Options: always there, never metered.
type Network interface {
	Online() bool
	// Changes receives after the network may have changed, until ctx ends.
	Changes(ctx context.Context) <-chan struct{}
	// Metered says whether the network costs money (expensive) or is to be used sparingly (constrained).
	Metered() (expensive, constrained bool)
}

// Power says how the machine is supplied.
type Power interface {
	// Plugged is whether it draws on no battery.
	Plugged() bool
	// Changes receives after that may have changed, until ctx ends.
	Changes(ctx context.Context) <-chan struct{}
}

// history is how many ended tasks stay known that were released and whose events nobody has acknowledged. The oldest
// go first; a listener that comes too late for them gets a Gap.
const history = 1024

// Engine runs the tasks of one session; it is a control.Service. Use New. It ends by Close.
type Engine struct {
	session string
	store   store.Store
	rt      http.RoundTripper
	chain   func(*task.Spec) (http.RoundTripper, error)
	network Network
	power   Power
	flush   func(context.Context) error
	reset   func(context.Context) error
	runTask func(context.Context, *transfer.Attempt) (transfer.Result, error)
	space   func(string) (int64, error)
	limit   transfer.Limit
	limits  transfer.Limits // of each task beside its own: limit, then those of Options

	// Of a session that outlives its process.
	lasting    store.Durable // the store, once more; nil: the session ends with its process
	bodies     Bodies
	spool      Spool
	retention  Retention
	temporary  string // empty: the system's
	room       int
	unattended func()
	audience   audience

	attempts  sync.WaitGroup // goroutines
	changed   signal         // the session's log has grown, or an attempt has begun
	abandoned abandoned

	mu         sync.Mutex
	alive      int                  // tasks that have not ended
	runs       map[task.ID]*run     // those in memory: all of them, but for a session that outlives its process
	loading    map[task.ID]*run     // those on their way there
	foreign    map[task.ID]struct{} // those that another process has taken
	lately     lately               // those that ended last
	asking     int                  // those that wait for an answer and have no attempt, in memory or not
	kept       kept
	inherited  task.ID            // tasks up to this one are an earlier process's
	active     []*run             // those with an attempt under way, in no order
	offline    map[*run]struct{}  // those that wait for the network
	unwatch    context.CancelFunc // ends the watch of the network; nil: there is none
	discretion discretion
	hosts      map[string]*host
	account    *Hosts // nil: there is none
	perHost    int    // see SetLimits
	agenda     agenda
	ended      map[task.ID]*ended
	forget     []departure // at most history
	expiry     *time.Timer // see Retention
	expireAt   time.Time   // when it fires; zero: it does not
	acked      uint64      // as the store has it
	watchers   int         // listeners that want live events
	creating   int         // Create calls between their check of closed and their entry in runs
	owned      bool        // somebody iterates as the owner
	closed     bool        // no new tasks
	cancel     bool        // closed, and every task is cancelled
	gone       bool        // the last task has ended since, and Invalidated is stored
	over       bool        // it was
	stopping   bool        // see Stop
}

// New makes an engine of a session that ends with its process, over a store that is empty.
func New(o Options) *Engine {
	e := &Engine{
		session: o.Session, store: o.Store, rt: o.RoundTripper, chain: o.Chain, network: o.Network, power: o.Power, flush: o.Flush, reset: o.Reset,
		runTask: o.Run, space: o.Space,
		bodies: o.Bodies, spool: o.Spool, retention: o.Retention, temporary: o.Temporary, room: o.Resident, unattended: o.Unattended,
		runs: make(map[task.ID]*run), offline: make(map[*run]struct{}),
		hosts: make(map[string]*host), account: o.Hosts, ended: make(map[task.ID]*ended),
		loading: make(map[task.ID]*run), foreign: make(map[task.ID]struct{}),
	}
	e.discretion.runs = make(map[*run]struct{})
	e.agenda.e, e.agenda.epoch = e, time.Now()
	if e.temporary != "" {
		e.temporary = filepath.Clean(e.temporary)
	}
	if e.space == nil {
		e.space = platform.Space
	}
	if e.room <= 0 {
		e.room = residentAtMost
	}
	if e.runTask == nil {
		e.runTask = transfer.Run
	}
	e.limits = append(transfer.Limits{&e.limit}, o.Limits...)
	e.SetLimits(o.MaxPerHost, o.RateLimit)
	return e
}

// perHostDefault is Options.MaxPerHost where that says nothing.
const perHostDefault = 6

// SetLimits changes Options.MaxPerHost (0: 6) and Options.RateLimit (0: none) for all tasks, at once: an attempt under way
// goes on at the new rate. Where a host has more connections than it may have now, the further ones of downloads are asked
// back, and its next attempts wait until enough have ended.
func (e *Engine) SetLimits(maxPerHost int, rateLimit int64) {
	if maxPerHost <= 0 {
		maxPerHost = perHostDefault
	}
	e.limit.Set(rateLimit)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.perHost = maxPerHost
	e.dispatchAll()
}

// Task is Service.Task.
func (e *Engine) Task(ctx context.Context, id task.ID) (task.Record, error) {
	if rec, ok := e.inMemory(id); ok {
		return rec, nil
	}
	rec, err := e.store.Load(ctx, id)
	if err != nil {
		return rec, e.storeError("look up task", err)
	}
	e.explain(&rec)
	return rec, nil
}

// Tasks is Service.Tasks.
func (e *Engine) Tasks(ctx context.Context) iter.Seq2[task.Record, error] {
	return e.TasksAfter(ctx, 0)
}

// TasksAfter yields what Tasks does, from the first number after the given one on, without looking at those before.
func (e *Engine) TasksAfter(ctx context.Context, after task.ID) iter.Seq2[task.Record, error] {
	return func(yield func(task.Record, error) bool) {
		after := after
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
				if now, ok := e.inMemory(rec.ID); ok {
					rec = now
				} else {
					e.explain(&rec)
				}
				rec.ResumeData = nil
				if !yield(rec, nil) {
					return
				}
			}
		}
	}
}

// inMemory is the newest record of a task that is in memory.
func (e *Engine) inMemory(id task.ID) (task.Record, bool) {
	r := e.run(id)
	if r == nil {
		return task.Record{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snapshot(), !r.gone
}

// explain says of a record from the store what its task waits for, where that is not stored; see snapshot.
func (e *Engine) explain(rec *task.Record) {
	conceal(rec, false)
	if w := rec.Waiting; rec.State == task.Running && !rec.AwaitsAnswer() && (w == nil || w.Until.Before(time.Now())) {
		rec.Waiting = e.queueWait(rec, originOf(rec.Spec.Request.URL), rec.Since)
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

// CancelForResumeData is Service.CancelForResumeData.
func (e *Engine) CancelForResumeData(_ context.Context, id task.ID) error {
	return e.change("cancel task for resume data", id, (*run).keepUploadLocked)
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
	leave, err := e.enter(op)
	if err != nil {
		return err
	}
	defer leave()
	r, err := e.load(context.Background(), id)
	if r == nil {
		if err != nil {
			return e.storeError(op, err)
		}
		return nil
	}
	defer r.unlock()
	if r.rec.State == task.Completed {
		return nil
	}
	if err := f(r); err != nil {
		return e.storeError(op, err)
	}
	return nil
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
	if noSpace(err) {
		return &task.Error{Op: op, Code: task.CannotWriteFile, Err: err}
	}
	return &task.Error{Op: op, Code: task.CodeOf(err), Err: err}
}
