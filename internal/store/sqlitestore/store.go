package sqlitestore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// Store is the store.Durable of one session. Two of the same session are the same store.
//
// Beside what store.Store says, its errors are ErrNoSession, store.ErrFull when the disk is full, after which it works
// again as soon as there is room, ErrDamaged, and os.ErrClosed.
type Store struct {
	db         *DB
	identifier string
}

var _ store.Durable = (*Store)(nil)

// Create is store.Store's. Ten thousand records are well given in one call, which is one commit.
func (s *Store) Create(ctx context.Context, recs ...*task.Record) error {
	ses, err := s.db.lookup(s.identifier)
	if err != nil || len(recs) == 0 {
		return err
	}
	first := ses.reserve(len(recs))
	rows := make([]taskRow, len(recs))
	err = spread(len(recs), func(i int) (err error) {
		c := *recs[i]
		c.ID, c.Version = first+task.ID(i), 1
		if rows[i], err = s.db.encode(ses, &c, 1); err == nil {
			rows[i].multipart, err = s.db.encodeMultipart(ses, &c)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = s.db.write.do(ctx, len(rows), func(t *tx) error {
		c := t.session(ses)
		for i := range rows {
			t.writeTask(t.w.insertTask, ses, &rows[i])
			if m := rows[i].multipart; m != nil {
				t.exec(t.w.insertMultipart, ses.id, int64(rows[i].id), m)
			}
		}
		c.lastTask = max(c.lastTask, first+task.ID(len(rows)-1))
		return nil
	})
	if err != nil {
		return err
	}
	for i, r := range recs {
		r.ID, r.Version = first+task.ID(i), 1
	}
	return nil
}

// spread calls f for each number below n, on all processors where there are enough: encoding takes longer than writing, and
// only the writer is one. It returns one of f's errors.
func spread(n int, f func(i int) error) error {
	const least = 64 // to be worth a goroutine
	workers := min(runtime.GOMAXPROCS(0), n/least)
	if workers <= 1 {
		for i := range n {
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers && errs[w] == nil; i++ {
				errs[w] = f(i)
			}
		})
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// Save is store.Store's.
func (s *Store) Save(ctx context.Context, rec *task.Record, details ...task.Detail) (uint64, error) {
	ses, err := s.db.lookup(s.identifier)
	if err != nil {
		return 0, err
	}
	row, err := s.db.encode(ses, rec, rec.Version+1)
	if err != nil {
		return 0, err
	}
	events, err := encodeEvents(details)
	if err != nil {
		return 0, err
	}
	var last uint64
	err = s.db.write.do(ctx, 1+len(events), func(t *tx) error {
		c := t.session(ses)
		if err := t.swapTask(ses, &row); err != nil {
			return err
		}
		t.appendEvents(ses, c, row.id, events)
		last = c.lastEvent
		return nil
	})
	if err != nil {
		return 0, err
	}
	rec.Version++
	return last, nil
}

// Append is store.Store's. With task.Invalidated among them, the session becomes SessionInvalidated by the same commit.
func (s *Store) Append(ctx context.Context, details ...task.Detail) error {
	events, err := encodeEvents(details)
	if err != nil {
		return err
	}
	invalidated := slices.Contains(details, task.Detail(task.Invalidated{}))
	return s.db.change(ctx, s.identifier, func(t *tx, ses *session, c *counters) {
		t.appendEvents(ses, c, 0, events)
		if invalidated {
			c.state = SessionInvalidated
		}
	})
}

// Acknowledge is store.Store's.
func (s *Store) Acknowledge(ctx context.Context, sequence uint64) error {
	ses, err := s.db.lookup(s.identifier)
	if err != nil {
		return err
	}
	if sequence <= ses.counters().acknowledged {
		return nil // it never goes back, so that there is nothing to wait for
	}
	return s.db.change(ctx, s.identifier, func(_ *tx, _ *session, c *counters) {
		c.acknowledged = max(c.acknowledged, min(sequence, c.lastEvent))
	})
}

// Forget is store.Store's.
func (s *Store) Forget(ctx context.Context, ids ...task.ID) error {
	ses, err := s.db.lookup(s.identifier)
	if err != nil {
		return err
	}
	for ids := range slices.Chunk(ids, maxRows/10) {
		if _, err := s.db.forget(ctx, ses, ids); err != nil {
			return err
		}
	}
	return nil
}

// Last is store.Store's.
func (s *Store) Last(context.Context) (uint64, error) {
	ses, err := s.db.lookup(s.identifier)
	if err != nil {
		return 0, err
	}
	return ses.counters().lastEvent, nil
}

// Acknowledged is store.Store's.
func (s *Store) Acknowledged(context.Context) (uint64, error) {
	ses, err := s.db.lookup(s.identifier)
	if err != nil {
		return 0, err
	}
	return ses.counters().acknowledged, nil
}

// forget removes those tasks that have ended, and their events, and returns how many.
func (db *DB) forget(ctx context.Context, s *session, ids []task.ID) (n int64, err error) {
	err = db.write.do(ctx, 6*len(ids), func(t *tx) error {
		t.session(s)
		n = 0
		gone := make(map[task.ID]bool)
		for _, id := range ids {
			if t.exec(t.w.deleteTask, s.id, int64(id)) > 0 {
				t.exec(t.w.deleteEvents, s.id, int64(id))
				t.exec(t.w.deleteMultipart, s.id, int64(id))
				gone[id] = true
				n++
			}
		}
		t.committed(func() { s.recent.forget(gone) })
		return nil
	})
	return n, err
}

// swapTask updates a row, unless it has changed since it was read.
func (t *tx) swapTask(s *session, row *taskRow) error {
	if t.writeTask(t.w.updateTask, s, row) > 0 || t.err != nil {
		return nil
	}
	if t.exists(t.w.taskVersion, s.id, int64(row.id)) {
		return fmt.Errorf("task %d: %w", row.id, store.ErrConflict)
	}
	return fmt.Errorf("task %d: %w", row.id, store.ErrNotFound)
}

// writeTask inserts or updates a row and returns how many it wrote.
func (t *tx) writeTask(stmt *sql.Stmt, s *session, row *taskRow) int64 {
	return t.exec(stmt, s.id, int64(row.id), int64(row.version), row.attempt, string(row.state), float64(row.priority),
		row.due, nanos(row.deadline), nanos(row.ended), row.origin, row.record, row.sealed)
}

// appendEvents gives events the next numbers of their session.
func (t *tx) appendEvents(s *session, c *counters, id task.ID, events []event) {
	if len(events) == 0 {
		return
	}
	now := time.Now().UnixNano()
	list := make([]recentEvent, len(events))
	for i, ev := range events {
		c.lastEvent++
		t.exec(t.w.insertEvent, s.id, int64(c.lastEvent), int64(id), now, ev.json)
		list[i] = s.recentEvent(c.lastEvent, id, now, ev)
	}
	t.committed(func() { s.recent.add(list...) })
}

func (s *session) recentEvent(seq uint64, id task.ID, now int64, ev event) recentEvent {
	return recentEvent{task.Event{Session: s.identifier, Task: id, Sequence: seq, Time: time.Unix(0, now), Detail: stored(ev.detail)}, len(ev.json)}
}
