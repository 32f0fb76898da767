package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// State is where a session is in its life. The store only remembers it, but for SessionInvalidated, which a session also
// becomes by the commit that appends its task.Invalidated event: a kill leaves both or neither.
type State = store.State

const (
	SessionOpen        = store.Open        // takes new tasks
	SessionFinishing   = store.Finishing   // closed to new tasks; some have not ended
	SessionCanceling   = store.Canceling   // the same, and they are being cancelled
	SessionInvalidated = store.Invalidated // all have ended; its last event is stored
)

// Info is what is known of a session.
type Info struct {
	Identifier   string
	State        State
	Created      time.Time
	LastTask     task.ID // the highest number that a task has; 0 before the first
	LastEvent    uint64  // the number of the newest event; 0 before the first
	Acknowledged uint64  // the cursor
}

// session is a session's row in memory.
type session struct {
	id         int64
	identifier string
	created    time.Time

	// reserved is the highest number given to a task that is, or is about to be, created. Numbers that were reserved
	// for a write that then failed are not used again.
	reserved atomic.Uint64

	recent recent

	next counters // the writer's alone: as the transaction under way would leave it

	mu        sync.Mutex
	committed counters // written by the writer alone, with mu
}

type counters struct {
	state        State
	lastTask     task.ID
	lastEvent    uint64
	acknowledged uint64
}

func newSession(id int64, identifier string, created time.Time, c counters) *session {
	s := &session{id: id, identifier: identifier, created: created, next: c, committed: c}
	s.reserved.Store(uint64(c.lastTask))
	return s
}

// reserve returns the first of n numbers for new tasks.
func (s *session) reserve(n int) task.ID { return task.ID(s.reserved.Add(uint64(n)) - uint64(n) + 1) }

func (s *session) publish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.committed = s.next
}

func (s *session) counters() counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.committed
}

// session gives access to a session's counters in a transaction.
func (t *tx) session(s *session) *counters {
	if !slices.Contains(t.sessions, s) {
		t.sessions = append(t.sessions, s)
	}
	return &s.next
}

func noSession(identifier string) error {
	return fmt.Errorf("session %q: %w", identifier, ErrNoSession)
}

// lookup finds a session by its identifier.
func (db *DB) lookup(identifier string) (*session, error) {
	if db.closed.Load() {
		return nil, fmt.Errorf("session %q: %w", identifier, os.ErrClosed)
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	if s := db.sessions[identifier]; s != nil {
		return s, nil
	}
	return nil, noSession(identifier)
}

// loadSessions reads all sessions into memory: some 200 bytes each.
func (db *DB) loadSessions(ctx context.Context) error {
	rows, err := db.read.db.QueryContext(ctx,
		"SELECT id, identifier, created, state, last_task, last_event, acknowledged FROM sessions")
	if err != nil {
		return err
	}
	defer rows.Close()
	db.sessions = make(map[string]*session)
	for rows.Next() {
		var (
			id, created int64
			identifier  string
			c           counters
		)
		if err := rows.Scan(&id, &identifier, &created, &c.state, &c.lastTask, &c.lastEvent, &c.acknowledged); err != nil {
			return err
		}
		db.sessions[identifier] = newSession(id, identifier, time.Unix(0, created), c)
	}
	return rows.Err()
}

// Session is the store of one session. It costs nothing to make; while no session has this identifier, what it is asked
// is ErrNoSession.
func (db *DB) Session(identifier string) *Store { return &Store{db: db, identifier: identifier} }

func (s *session) info() Info {
	c := s.counters()
	return Info{s.identifier, c.state, s.created, c.lastTask, c.lastEvent, c.acknowledged}
}

// Info is what is known of one session; ErrNoSession.
func (db *DB) Info(_ context.Context, identifier string) (Info, error) {
	s, err := db.lookup(identifier)
	if err != nil {
		return Info{}, err
	}
	return s.info(), nil
}

// Sessions are all sessions, ordered by their identifiers.
func (db *DB) Sessions(context.Context) ([]Info, error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	infos := make([]Info, 0, len(db.sessions))
	for _, s := range db.sessions {
		infos = append(infos, s.info())
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Identifier, b.Identifier) })
	return infos, nil
}

// CreateSession makes a session that is open and has no tasks. Its configuration is the caller's bytes, stored sealed.
// ErrSessionExists.
func (db *DB) CreateSession(ctx context.Context, identifier string, configuration []byte) error {
	if identifier == "" {
		return errors.New("create session: the identifier is empty")
	}
	created := time.Now()
	return db.write.do(ctx, 1, func(t *tx) error {
		if t.exists(t.w.sessionID, identifier) {
			return fmt.Errorf("create session %q: %w", identifier, ErrSessionExists)
		}
		res := t.script("INSERT INTO sessions (identifier, created, state) VALUES (?, ?, ?)", identifier, created.UnixNano(), string(SessionOpen))
		if t.err != nil {
			return nil
		}
		var id int64
		if id, t.err = res.LastInsertId(); t.err != nil {
			return nil
		}
		t.script("UPDATE sessions SET configuration = ? WHERE id = ?", db.key.seal(sealedConfiguration, id, 0, configuration), id)
		s := newSession(id, identifier, created, counters{state: SessionOpen})
		t.committed(func() {
			db.mu.Lock()
			defer db.mu.Unlock()
			db.sessions[identifier] = s
		})
		return nil
	})
}

// Configuration is what CreateSession or PutConfiguration stored last.
func (db *DB) Configuration(ctx context.Context, identifier string) ([]byte, error) {
	s, err := db.lookup(identifier)
	if err != nil {
		return nil, err
	}
	var sealed []byte
	err = db.read.db.QueryRowContext(ctx, "SELECT configuration FROM sessions WHERE id = ? AND identifier IS NOT NULL", s.id).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noSession(identifier)
	}
	if err != nil {
		return nil, db.fail("read", err)
	}
	configuration, err := db.key.open(sealedConfiguration, s.id, 0, sealed)
	if err != nil {
		return nil, db.fail("read", err)
	}
	return configuration, nil
}

// PutConfiguration replaces a session's configuration.
func (db *DB) PutConfiguration(ctx context.Context, identifier string, configuration []byte) error {
	return db.change(ctx, identifier, func(t *tx, s *session, _ *counters) {
		t.script("UPDATE sessions SET configuration = ? WHERE id = ?", db.key.seal(sealedConfiguration, s.id, 0, configuration), s.id)
	})
}

// ReopenSession makes a session that is invalidated, and whose events are all acknowledged, open again, in one commit: the
// numbers of tasks and events go on, and so do cursor, history and configuration. Any other is ErrSessionNotOver, and nothing
// has changed.
func (db *DB) ReopenSession(ctx context.Context, identifier string) error {
	s, err := db.lookup(identifier)
	if err != nil {
		return err
	}
	return db.write.do(ctx, 1, func(t *tx) error {
		switch c := s.next; { // also what others in this transaction have changed
		case c.state != SessionInvalidated:
			return fmt.Errorf("open session %q anew: it is %s: %w", identifier, c.state, ErrSessionNotOver)
		case c.acknowledged < c.lastEvent:
			return fmt.Errorf("open session %q anew: events %d to %d are not acknowledged: %w",
				identifier, c.acknowledged+1, c.lastEvent, ErrSessionNotOver)
		}
		c := t.session(s)
		c.state = SessionOpen
		return nil
	})
}

// SetState moves a session on to a state, and never back: for that see ReopenSession.
func (db *DB) SetState(ctx context.Context, identifier string, state State) error {
	return db.change(ctx, identifier, func(_ *tx, _ *session, c *counters) {
		if c.state.Before(state) {
			c.state = state
		}
	})
}

// change is one write to a session.
func (db *DB) change(ctx context.Context, identifier string, apply func(*tx, *session, *counters)) error {
	s, err := db.lookup(identifier)
	if err != nil {
		return err
	}
	return db.write.do(ctx, 1, func(t *tx) error {
		c := t.session(s)
		apply(t, s, c)
		return nil
	})
}
