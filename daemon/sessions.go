package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/platform"
	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/store/sqlitestore"
	"github.com/urlsession/urlsession/internal/task"
)

// sessions are those of the state folder: server.Sessions. Each has an engine from when it is first needed: at the start for
// those with something to do, else when somebody asks.
type sessions struct {
	state   string
	db      *sqlitestore.DB
	options Options
	log     *slog.Logger
	network *platform.Connectivity
	power   *platform.Power
	limiter *limiter
	started time.Time
	resumed chan struct{} // closed when those with something to do are open

	mu       sync.Mutex
	all      map[string]*slot
	stopping bool
}

// slot is one session's place, open or not.
type slot struct {
	current atomic.Pointer[session] // nil: it is not open

	mu      sync.Mutex // held while it is opened, changed or stopped
	stopped bool
}

func newSessions(state string, db *sqlitestore.DB, o Options) *sessions {
	return &sessions{state: state, db: db, options: o, log: o.Logger, network: new(platform.Connectivity), power: new(platform.Power),
		limiter: newLimiter(o), started: time.Now(), resumed: make(chan struct{}), all: make(map[string]*slot)}
}

// resume opens the sessions that have something to do without being asked, and then gives space back, which may take long and
// nobody waits for: ss.resumed is closed before.
func (ss *sessions) resume(ctx context.Context) {
	ss.openDue(ctx, ss.due)
	close(ss.resumed)
	if err := ss.db.Sweep(ctx); err != nil && ctx.Err() == nil { // it is done at the next start
		ss.log.Warn("space in the database is not given back", "error", err)
	}
}

// dueEvery is how often sessions that are not open are looked at for something to do.
const dueEvery = time.Hour

// revisit opens the sessions that come to have something to do, history that is past its retention too, until ctx ends.
func (ss *sessions) revisit(ctx context.Context) {
	again := time.NewTicker(dueEvery)
	defer again.Stop()
	for {
		ss.openDue(ctx, ss.old)
		select {
		case <-again.C:
			ss.openDue(ctx, ss.due)
		case <-ctx.Done():
			return
		}
	}
}

// openDue opens those that are due and not open.
func (ss *sessions) openDue(ctx context.Context, due func(context.Context, sqlitestore.Info) (bool, error)) {
	infos, err := ss.db.Sessions(ctx)
	if err != nil {
		ss.log.Error("the sessions cannot be listed", "error", err)
	}
	for _, info := range infos {
		if ctx.Err() != nil {
			return
		}
		if ss.opened(info.Identifier) != nil {
			continue
		}
		yes, err := due(ctx, info)
		if err == nil && yes {
			_, err = ss.get(ctx, info.Identifier)
		}
		if err != nil && ctx.Err() == nil { // it is tried again, or when somebody asks
			ss.log.Error("a session does not go on", "session", info.Identifier, "error", err)
		}
	}
}

// due says whether a session has tasks that have not ended, an end under way, or events that wait for a launch command.
func (ss *sessions) due(ctx context.Context, info sqlitestore.Info) (bool, error) {
	if info.State == store.Finishing || info.State == store.Canceling {
		return true, nil
	}
	pending, err := ss.db.Session(info.Identifier).Pending(ctx, 0, 1)
	if err != nil || len(pending) > 0 || info.Acknowledged == info.LastEvent {
		return len(pending) > 0, err
	}
	g, err := ss.configuration(ctx, info.Identifier)
	return len(g.Newest.Launch.Command) > 0, err
}

// old says whether a session has history that is past its retention, which its engine forgets. It looks at all history.
func (ss *sessions) old(ctx context.Context, info sqlitestore.Info) (bool, error) {
	before, keep := time.Time{}, -1
	limits := ss.options.retention()
	if limits.Age > 0 {
		before = time.Now().Add(-limits.Age)
	}
	if limits.Count > 0 {
		keep = limits.Count
	}
	if info.Acknowledged == 0 || before.IsZero() && keep < 0 {
		return false, nil
	}
	past, err := ss.db.Session(info.Identifier).Expired(ctx, before, keep, 1)
	return len(past) > 0, err
}

func (ss *sessions) configuration(ctx context.Context, id string) (g generations, err error) {
	data, err := ss.db.Configuration(ctx, id)
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	return g, err
}

// slot is a session's. The error is of a daemon that is stopping.
func (ss *sessions) slot(op, id string) (*slot, error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.stopping {
		return nil, stoppingError(op)
	}
	sl := ss.all[id]
	if sl == nil {
		sl = new(slot)
		ss.all[id] = sl
	}
	return sl, nil
}

func stoppingError(op string) error {
	return &task.Error{Op: op, Code: task.DaemonLost, Err: errors.New("the daemon is stopping")}
}

// Open is server.Sessions'.
func (ss *sessions) Open(ctx context.Context, id string, configuration []byte) (control.Service, error) {
	const op = "open session"
	c, err := parseConfiguration(configuration)
	if err != nil {
		return nil, &task.Error{Op: op, URL: id, Code: task.Unknown, Err: err}
	}
	sl, err := ss.slot(op, id)
	if err != nil {
		return nil, err
	}
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.stopped {
		return nil, stoppingError(op)
	}
	info, err := ss.db.Info(ctx, id)
	switch {
	case errors.Is(err, sqlitestore.ErrNoSession):
		data, err := json.Marshal(firstGeneration(c))
		if err == nil {
			err = ss.db.CreateSession(ctx, id, data)
		}
		if err != nil {
			return nil, ss.fail(op, id, err)
		}
	case err != nil:
		return nil, ss.fail(op, id, err)
	case info.State != store.Open:
		if err := ss.reopen(ctx, sl, info); err != nil {
			return nil, err
		}
	}
	if err := ss.ready(ctx, op, sl, id); err != nil {
		return nil, err
	}
	s := sl.current.Load()
	if err := s.configure(ctx, c); err != nil {
		return nil, ss.fail(op, id, err)
	}
	return s, nil
}

// reopen opens an invalidated identifier anew, its numbers going on. Before its tasks have ended and its events are
// acknowledged it is an error that says what to do. sl.mu is held.
func (ss *sessions) reopen(ctx context.Context, sl *slot, info sqlitestore.Info) error {
	const op = "open session"
	refuse := func(why string) error {
		return &task.Error{Op: op, URL: info.Identifier, Code: task.SessionInvalidated, Err: errors.New(why)}
	}
	switch {
	case info.State != store.Invalidated:
		return refuse("it was closed to new tasks, and some of its tasks have not ended; wait for its invalidated event, or cancel them")
	case info.Acknowledged < info.LastEvent:
		return refuse(fmt.Sprintf("it was invalidated, and its events from %d to %d wait; listen to them and acknowledge them first (urlsession events, with --ack)",
			info.Acknowledged+1, info.LastEvent))
	}
	if s := sl.current.Swap(nil); s != nil {
		_ = s.stop(ctx) // no task of it is left
	}
	if err := ss.db.ReopenSession(ctx, info.Identifier); err != nil {
		return ss.fail(op, info.Identifier, err)
	}
	return nil
}

// ready has the session of a slot open. sl.mu is held.
func (ss *sessions) ready(ctx context.Context, op string, sl *slot, id string) error {
	switch {
	case sl.stopped:
		return stoppingError(op)
	case sl.current.Load() == nil:
		s, err := ss.open(ctx, id)
		if err != nil {
			return ss.fail(op, id, err)
		}
		sl.current.Store(s)
	}
	return nil
}

// Get is server.Sessions'.
func (ss *sessions) Get(ctx context.Context, id string) (control.Service, error) {
	s, err := ss.get(ctx, id)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (ss *sessions) get(ctx context.Context, id string) (*session, error) {
	const op = "look up session"
	if s := ss.opened(id); s != nil {
		return s, nil
	}
	if _, err := ss.db.Info(ctx, id); err != nil { // before a place is made for it
		return nil, ss.fail(op, id, err)
	}
	sl, err := ss.slot(op, id)
	if err != nil {
		return nil, err
	}
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if err := ss.ready(ctx, op, sl, id); err != nil {
		return nil, err
	}
	return sl.current.Load(), nil
}

// fail is an error of the store, or of the engine, as a Service's.
func (ss *sessions) fail(op, id string, err error) error {
	if _, ok := errors.AsType[*task.Error](err); ok {
		return err
	}
	e := &task.Error{Op: op, URL: id, Code: task.CodeOf(err), Err: err}
	switch {
	case errors.Is(err, sqlitestore.ErrNoSession):
		e.Code, e.Err = task.ResourceUnavailable, errors.New("there is no session of this identifier")
	case errors.Is(err, store.ErrFull) || noRoom(err):
		e.Code = task.CannotWriteFile
	case errors.Is(err, os.ErrClosed):
		return stoppingError(op)
	}
	return e
}

// stop ends all engines: their attempts record what they have, and those that must not be sent twice have until ctx ends.
func (ss *sessions) stop(ctx context.Context) {
	ss.mu.Lock()
	ss.stopping = true
	slots := make(map[string]*slot, len(ss.all))
	for id, sl := range ss.all {
		slots[id] = sl
	}
	ss.mu.Unlock()
	var all sync.WaitGroup
	for id, sl := range slots {
		all.Go(func() {
			sl.mu.Lock()
			defer sl.mu.Unlock()
			sl.stopped = true
			s := sl.current.Load()
			if s == nil {
				return
			}
			if err := s.stop(ctx); err != nil {
				ss.log.Warn("a request that must not be sent twice was broken off", "session", id)
			}
		})
	}
	all.Wait()
}
