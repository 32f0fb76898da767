package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// disk is a store that outlives the processes that open it, one after the other.
type disk struct{ *memstore.Store }

func newDisk() *disk { return &disk{memstore.New("s")} }

// process is an engine and its way to the disk, which ends when it crashes: it goes on, as a process does not, but
// nothing of what it does is stored any more.
type process struct {
	*engine.Engine
	disk *disk
	dead atomic.Bool

	// beforeSave is called with each record before it is stored, and afterSave after. An error is Save's. May be nil.
	beforeSave, afterSave func(*task.Record) error
	beforeAppend          func() error // the same of Append
	beforeCreate          func(nth int) error
	creations             atomic.Int32

	unreadable atomic.Bool
	reading    time.Duration // how long the disk takes to find events, before it reads them
}

type engineOptions = engine.Options

var errDead = errors.New("the process has crashed")

func (d *disk) boot(t *testing.T, run runFunc, opts ...func(*engine.Options)) *process {
	t.Helper()
	return d.start(t, &process{disk: d}, run, opts...)
}

func (d *disk) start(t *testing.T, p *process, run runFunc, opts ...func(*engine.Options)) *process {
	t.Helper()
	p.disk = d
	o := engine.Options{Session: "s", Store: &processStore{d.Store, p}}
	if run != nil {
		o.Run = run
	}
	for _, f := range opts {
		f(&o)
	}
	e, err := engine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	p.Engine = e
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		e.Stop(ctx)
	})
	return p
}

func (p *process) crash() { p.dead.Store(true) }

func (p *process) err() error {
	if p.dead.Load() {
		return errDead
	}
	return nil
}

// processStore hands out records as they are after a trip to the disk, and stores nothing once its process is dead.
type processStore struct {
	*memstore.Store
	p *process
}

func (s *processStore) Create(ctx context.Context, recs ...*task.Record) error {
	err := s.p.err()
	if err == nil && s.p.beforeCreate != nil {
		err = s.p.beforeCreate(int(s.p.creations.Add(1)))
	}
	if err != nil {
		return err
	}
	return s.Store.Create(ctx, recs...)
}

func (s *processStore) Load(ctx context.Context, id task.ID) (rec task.Record, err error) {
	if s.p.unreadable.Load() {
		return rec, errors.New("the disk cannot be read")
	}
	stored, err := s.Store.Load(ctx, id)
	if err != nil {
		return stored, err
	}
	b, err := json.Marshal(stored)
	if err == nil {
		err = json.Unmarshal(b, &rec)
	}
	return rec, err
}

func (s *processStore) save(rec *task.Record, save func() error) error {
	err := s.p.err()
	if err == nil && s.p.beforeSave != nil {
		err = s.p.beforeSave(rec)
	}
	if err == nil {
		err = save()
	}
	if err == nil && s.p.afterSave != nil {
		err = s.p.afterSave(rec)
	}
	return err
}

func (s *processStore) Save(ctx context.Context, rec *task.Record, details ...task.Detail) (n uint64, err error) {
	err = s.save(rec, func() error { n, err = s.Store.Save(ctx, rec, details...); return err })
	return n, err
}

func (s *processStore) Amend(ctx context.Context, rec *task.Record, from uint64, details ...task.Detail) error {
	return s.save(rec, func() error { return s.Store.Amend(ctx, rec, from, details...) })
}

func (s *processStore) Events(ctx context.Context, after uint64, id task.ID, limit int) ([]task.Event, error) {
	if d := s.p.reading; d > 0 {
		time.Sleep(d)
	}
	return s.Store.Events(ctx, after, id, limit)
}

func (s *processStore) Append(ctx context.Context, details ...task.Detail) error {
	err := s.p.err()
	if err == nil && s.p.beforeAppend != nil {
		err = s.p.beforeAppend()
	}
	if err != nil {
		return err
	}
	return s.Store.Append(ctx, details...)
}

func (s *processStore) Acknowledge(ctx context.Context, to uint64) error {
	if err := s.p.err(); err != nil {
		return err
	}
	return s.Store.Acknowledge(ctx, to)
}

func (s *processStore) Forget(ctx context.Context, ids ...task.ID) error {
	if err := s.p.err(); err != nil {
		return err
	}
	return s.Store.Forget(ctx, ids...)
}

func (s *processStore) SetState(ctx context.Context, st store.State) error {
	if err := s.p.err(); err != nil {
		return err
	}
	return s.Store.SetState(ctx, st)
}

// log is the events that the disk has, of one task or of all (0).
func (d *disk) log(t *testing.T, id task.ID) []task.Event {
	t.Helper()
	evs, err := d.Events(t.Context(), 0, id, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return evs
}

func (d *disk) record(t *testing.T, id task.ID) task.Record {
	t.Helper()
	rec, err := d.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// attempts notes which attempts were run.
type attempts struct {
	mu  sync.Mutex
	all []transfer.Attempt
}

func (l *attempts) run(f runFunc) runFunc {
	return func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
		l.mu.Lock()
		l.all = append(l.all, *a)
		l.mu.Unlock()
		return f(ctx, a)
	}
}

func (l *attempts) list() []transfer.Attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]transfer.Attempt(nil), l.all...)
}

func suspended(s *task.Spec)           { s.Suspended = true }
func method(m string) func(*task.Spec) { return func(s *task.Spec) { s.Request.Method = m } }
func timeout(d time.Duration) func(*task.Spec) {
	return func(s *task.Spec) { s.Policy.ResourceTimeout = d }
}
func resident(n int) func(*engine.Options) { return func(o *engine.Options) { o.Resident = n } }
