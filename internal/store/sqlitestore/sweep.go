package sqlitestore

import "context"

// sweepRows is how much is removed in one commit, so that other writers wait for milliseconds.
const sweepRows = 1000

// Sweep finishes the deletions of sessions that a kill has interrupted, and gives free space back to the file system. The
// history of the sessions that exist is not touched: store.Durable.Expired and Forget are for that. It commits in small
// steps, so that nobody waits long, and an end of ctx leaves the rest to the next time.
func (db *DB) Sweep(ctx context.Context) error {
	if err := db.sweep(ctx); err != nil {
		return err
	}
	return db.shrink(ctx)
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
