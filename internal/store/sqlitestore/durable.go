package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// State is store.Durable's.
func (s *Store) State(context.Context) (store.State, error) {
	ses, err := s.db.lookup(s.identifier)
	if err != nil {
		return "", err
	}
	return ses.counters().state, nil
}

// SetState is store.Durable's.
func (s *Store) SetState(ctx context.Context, state store.State) error {
	return s.db.SetState(ctx, s.identifier, state)
}

// Amend is store.Durable's.
func (s *Store) Amend(ctx context.Context, rec *task.Record, from uint64, details ...task.Detail) error {
	ses, err := s.db.lookup(s.identifier)
	if err != nil {
		return err
	}
	row, err := s.db.encode(ses, rec, rec.Version+1)
	if err != nil {
		return err
	}
	events, err := encodeEvents(details)
	if err != nil {
		return err
	}
	err = s.db.write.do(ctx, 1+len(events), func(t *tx) error {
		t.session(ses)
		if !t.exists(t.w.taskVersion, ses.id, int64(row.id)) && t.err == nil {
			return fmt.Errorf("task %d: %w", row.id, store.ErrNotFound)
		}
		newest := t.numbers(t.w.newestEvents, ses.id, int64(row.id), len(events))
		if t.err == nil && (len(events) == 0 || len(newest) < len(events) || newest[0] != int64(from)) {
			return fmt.Errorf("task %d: event %d is not the first of its newest %d: %w", row.id, from, len(events), store.ErrConflict)
		}
		if err := t.swapTask(ses, &row); err != nil || t.err != nil {
			return err
		}
		now := time.Now().UnixNano()
		for i, ev := range events {
			t.exec(t.w.updateEvent, ses.id, newest[i], int64(row.id), now, ev.json)
			changed := ses.recentEvent(uint64(newest[i]), row.id, now, ev)
			t.committed(func() { ses.recent.replace(changed) })
		}
		return nil
	})
	if err == nil {
		rec.Version++
	}
	return err
}

// numbers is the one column of a query's rows, the last row first.
func (t *tx) numbers(stmt *sql.Stmt, args ...any) (list []int64) {
	if t.err != nil {
		return nil
	}
	rows, err := stmt.Query(args...)
	if err != nil {
		t.err = err
		return nil
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if t.err = rows.Scan(&n); t.err != nil {
			return nil
		}
		list = append(list, n)
	}
	t.err = rows.Err()
	slices.Reverse(list)
	return list
}

// Expired is store.Durable's. With a number to keep it counts the history first.
func (s *Store) Expired(ctx context.Context, before time.Time, keep, limit int) (ids []task.ID, err error) {
	ses, err := s.db.lookup(s.identifier)
	if err != nil || limit <= 0 {
		return nil, err
	}
	acknowledged := int64(ses.counters().acknowledged)
	tooMany := 0
	if keep >= 0 {
		err := s.db.each(ctx, s.db.read.countAcknowledged, func(rows *sql.Rows) error { return rows.Scan(&tooMany) }, ses.id, acknowledged)
		if err != nil {
			return nil, err
		}
		tooMany -= keep
	}
	n := 0
	err = s.db.each(ctx, s.db.read.acknowledgedTasks, func(rows *sql.Rows) error {
		var ended int64
		var id task.ID
		if err := rows.Scan(&ended, &id); err != nil {
			return err
		}
		if n++; n <= tooMany || ended < nanosOrLeast(before) {
			ids = append(ids, id)
		}
		return nil
	}, ses.id, int64(-1), int64(0), maxNanos, acknowledged, limit)
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// maxNanos is after every time that is stored.
const maxNanos = int64(1<<63 - 1)

// nanosOrLeast is nanos, but for the zero time, which is before all.
func nanosOrLeast(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return t.UnixNano()
}
