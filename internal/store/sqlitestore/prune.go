package sqlitestore

import (
	"context"
	"database/sql"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// sweepRows is how much is removed in one commit, so that other writers wait for milliseconds.
const sweepRows = 1000

// Prune removes history: the tasks of all sessions that ended before a time and whose events are all acknowledged, with
// their events, and the sessions' own acknowledged events from before it. Then it removes what is left of deleted
// sessions and gives the space back to the file system. It returns the number of tasks removed, also with an error.
func (db *DB) Prune(ctx context.Context, before time.Time) (tasks int64, err error) {
	infos, err := db.Sessions(ctx)
	if err != nil {
		return 0, err
	}
	for _, info := range infos {
		s, err := db.lookup(info.Identifier)
		if err != nil {
			continue // it was deleted meanwhile
		}
		n, err := db.pruneTasks(ctx, s, info.Acknowledged, before)
		tasks += n
		if err != nil {
			return tasks, err
		}
		if err := db.pruneEvents(ctx, s, info.Acknowledged, before); err != nil {
			return tasks, err
		}
	}
	if err := db.sweep(ctx); err != nil {
		return tasks, err
	}
	return tasks, db.shrink(ctx)
}

func (db *DB) pruneTasks(ctx context.Context, s *session, acknowledged uint64, before time.Time) (removed int64, err error) {
	var ended, id int64 // of the last one seen: those that stay are not seen again
	for {
		var ids []task.ID
		err := db.each(ctx, db.read.acknowledgedTasks, func(rows *sql.Rows) error {
			err := rows.Scan(&ended, &id)
			ids = append(ids, task.ID(id))
			return err
		}, s.id, ended, id, before.UnixNano(), int64(acknowledged), sweepRows/4)
		if err != nil || len(ids) == 0 {
			return removed, err
		}
		n, err := db.forget(ctx, s, ids)
		removed += n
		if err != nil {
			return removed, err
		}
	}
}

func (db *DB) pruneEvents(ctx context.Context, s *session, acknowledged uint64, before time.Time) error {
	return db.repeat(ctx, func(t *tx) int64 {
		return t.changed(`DELETE FROM events WHERE session = ?1 AND seq IN (SELECT seq FROM events
			WHERE session = ?1 AND task = 0 AND seq <= ?2 AND time < ?3 LIMIT ?4)`,
			s.id, int64(acknowledged), before.UnixNano(), sweepRows)
	})
}

// sweep removes the rows of deleted sessions.
func (db *DB) sweep(ctx context.Context) error {
	for {
		db.mu.RLock()
		var id int64
		if len(db.deleted) > 0 {
			id = db.deleted[0]
		}
		db.mu.RUnlock()
		if id == 0 {
			return nil
		}
		err := db.repeat(ctx, func(t *tx) int64 {
			if n := t.changed(`DELETE FROM events WHERE session = ?1 AND seq IN
				(SELECT seq FROM events WHERE session = ?1 LIMIT ?2)`, id, sweepRows); n > 0 {
				return n
			}
			if n := t.changed(`DELETE FROM tasks WHERE session = ?1 AND id IN
				(SELECT id FROM tasks WHERE session = ?1 LIMIT ?2)`, id, sweepRows/2); n > 0 {
				return n
			}
			t.script("DELETE FROM sessions WHERE id = ?", id)
			return 0
		})
		if err != nil {
			return err
		}
		db.mu.Lock()
		for i, d := range db.deleted {
			if d == id { // two sweeps may be at it
				db.deleted = append(db.deleted[:i:i], db.deleted[i+1:]...)
				break
			}
		}
		db.mu.Unlock()
	}
}

// shrink cuts free pages off the end of the file, 4 MiB a commit.
func (db *DB) shrink(ctx context.Context) error {
	return db.repeat(ctx, func(t *tx) (freed int64) {
		if t.err != nil {
			return 0
		}
		rows, err := t.w.conn.QueryContext(context.Background(), "PRAGMA incremental_vacuum(1000)") // a row a page
		if err != nil {
			t.err = err
			return 0
		}
		defer rows.Close()
		for rows.Next() {
			freed++
		}
		t.err = rows.Err()
		return freed
	})
}

// repeat commits a write again and again until it changes nothing.
func (db *DB) repeat(ctx context.Context, apply func(*tx) int64) error {
	for n := int64(1); n > 0; {
		err := db.write.do(ctx, sweepRows, func(t *tx) error {
			n = apply(t)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
