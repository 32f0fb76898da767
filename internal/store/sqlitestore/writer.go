package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// maxRows bounds the rows of one transaction that several callers share, and with it how long the first waits for the
// last, and how far the -wal file grows. One caller's own rows are never divided.
const maxRows = 10_000

// op is what one caller wants written.
//
// apply may run more than once, each time in a new transaction. It returns an error only to refuse, before it has written
// anything; that the database failed it leaves in its tx.
type op struct {
	rows  int // about
	apply func(*tx) error
	taken atomic.Bool // by the writer, or by the caller, who then does not want it any more
	done  chan error
}

// writer is the one connection that writes, and the goroutine that owns it.
type writer struct {
	db   *sql.DB
	conn *sql.Conn
	fail func(op string, err error) error

	started bool
	stopped chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex
	wake   sync.Cond // queue or closed has changed
	queue  []*op
	closed bool

	insertTask, updateTask, taskVersion, deleteTask *sql.Stmt
	insertEvent, updateEvent, newestEvents          *sql.Stmt
	deleteEvents                                    *sql.Stmt
	insertMultipart, deleteMultipart                *sql.Stmt
	updateSession, sessionID                        *sql.Stmt
	prepared                                        []*sql.Stmt // all of them
}

func openWriter(ctx context.Context, path string) (*writer, error) {
	db, err := openConnections(dsn(path, "rw",
		"busy_timeout(10000)",
		"auto_vacuum(incremental)", // before the first table: Sweep gives free pages back to the file system
		"synchronous(full)",        // in WAL mode: an fsync of the -wal file in each commit
		"wal_autocheckpoint(4000)", // pages of 4 KiB
		"journal_size_limit(67108864)",
		"cache_size(-16384)", // KiB
		"temp_store(memory)", // no secrets, and no surprises, in temporary files
		"cell_size_check(on)",
		"trusted_schema(off)",
	), 1)
	if err != nil {
		return nil, err
	}
	w := &writer{db: db, stopped: make(chan struct{})}
	w.wake.L = &w.mu
	if w.conn, err = db.Conn(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	var mode string
	if err = w.conn.QueryRowContext(ctx, "PRAGMA journal_mode = wal").Scan(&mode); err == nil && mode != "wal" {
		err = fmt.Errorf("the file system has no shared memory maps, which WAL mode needs (SQLite chose %q); use a local disk", mode)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *writer) prepare(ctx context.Context) error {
	for stmt, text := range map[**sql.Stmt]string{
		&w.insertTask: `INSERT INTO tasks (session, id, version, attempt, state, priority, due, deadline, ended, origin, record, sealed)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		&w.updateTask: `UPDATE tasks SET version = ?3 + 1, attempt = ?4, state = ?5, priority = ?6, due = ?7, deadline = ?8, ended = ?9,
			origin = ?10, record = ?11, sealed = ?12 WHERE session = ?1 AND id = ?2 AND version = ?3 AND attempt <= ?4`,
		&w.taskVersion:  `SELECT version FROM tasks WHERE session = ? AND id = ?`,
		&w.deleteTask:   `DELETE FROM tasks WHERE session = ? AND id = ? AND state = 'completed'`,
		&w.insertEvent:  `INSERT INTO events (session, seq, task, time, event) VALUES (?, ?, ?, ?, ?)`,
		&w.newestEvents: `SELECT seq FROM events WHERE session = ? AND task = ? ORDER BY seq DESC LIMIT ? + 0`,
		&w.updateEvent:  `UPDATE events SET time = ?4, event = ?5 WHERE session = ?1 AND seq = ?2 AND task = ?3`,
		&w.deleteEvents: deleteEventsOfTask,

		&w.insertMultipart: `INSERT INTO multiparts (session, task, sealed) VALUES (?, ?, ?)`,
		&w.deleteMultipart: `DELETE FROM multiparts WHERE session = ? AND task = ?`,

		&w.sessionID:     `SELECT id FROM sessions WHERE identifier = ?`,
		&w.updateSession: `UPDATE sessions SET state = ?2, last_task = ?3, last_event = ?4, acknowledged = ?5 WHERE id = ?1`,
	} {
		s, err := w.conn.PrepareContext(ctx, text)
		if err != nil {
			return err
		}
		*stmt = s
		w.prepared = append(w.prepared, s)
	}
	return nil
}

// do hands over a write of about so many rows and waits until it is durable. An error means that nothing was changed:
// apply's own, ctx's where the writer had not begun, or the database's.
func (w *writer) do(ctx context.Context, rows int, apply func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o := &op{rows: rows, apply: apply, done: make(chan error, 1)}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return os.ErrClosed
	}
	w.queue = append(w.queue, o)
	w.mu.Unlock()
	w.wake.Signal()
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		if o.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		return <-o.done
	}
}

// start starts the goroutine, after prepare.
func (w *writer) start(fail func(op string, err error) error) {
	w.fail, w.started = fail, true
	go w.run()
}

func (w *writer) run() {
	defer close(w.stopped)
	for {
		batch := w.take()
		if batch == nil {
			return
		}
		w.commit(batch)
	}
}

// take waits for writes and takes as many as one transaction is for, in their order; nil when the writer is closed and
// none are left.
func (w *writer) take() []*op {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		var batch []*op
		rows, n := 0, 0
		for _, o := range w.queue {
			if len(batch) > 0 && rows+o.rows > maxRows {
				break
			}
			n++
			if o.taken.CompareAndSwap(false, true) {
				batch = append(batch, o)
				rows += o.rows
			}
		}
		clear(w.queue[:n])
		if w.queue = w.queue[n:]; len(w.queue) == 0 {
			w.queue = nil
		}
		if batch != nil || w.closed && w.queue == nil {
			return batch
		}
		w.wake.Wait()
	}
}

// commit writes a batch in one transaction and answers its callers. Where one write makes the database fail, each is
// tried again by itself, so that it fails alone. Where the begin or the commit fails, all fail.
func (w *writer) commit(batch []*op) {
	t, refused := w.try(batch)
	if t.err != nil && !t.whole && len(batch) > 1 {
		for _, o := range batch {
			w.commit([]*op{o})
		}
		return
	}
	if t.err != nil {
		failed := w.fail("write to", t.err)
		for _, o := range batch {
			o.done <- failed
		}
		return
	}
	for i, o := range batch {
		o.done <- refused[i]
	}
}

// try is one transaction, which stands or, with an error in it, is undone; with what each write was refused for.
func (w *writer) try(batch []*op) (*tx, []error) {
	t := &tx{w: w}
	refused := make([]error, len(batch))
	t.begin()
	for i, o := range batch {
		if t.err == nil {
			refused[i] = o.apply(t)
		}
	}
	t.commit()
	return t, refused
}

// drain lets the goroutine finish what it was given and end.
func (w *writer) drain() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wake.Signal()
	if w.started {
		<-w.stopped
	}
}

// close follows drain, if the goroutine runs.
func (w *writer) close() error {
	var errs []error
	for _, s := range w.prepared { // database/sql does not: with one of them SQLite would keep the files open
		errs = append(errs, s.Close())
	}
	w.prepared = nil
	if err := w.conn.Close(); !errors.Is(err, sql.ErrConnDone) {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, w.db.Close())...)
}

// tx is a transaction of the writer. Once err is set it is lost, and its methods do nothing.
type tx struct {
	w        *writer
	sessions []*session // whose counters may have changed
	after    []func()   // see committed

	err   error // the database's
	whole bool  // what failed, if something has, is the begin or the commit, and not one of the writes
}

func (t *tx) begin() {
	t.script("BEGIN IMMEDIATE")
	t.whole = t.err != nil
}

// exec runs a prepared statement and returns how many rows it changed. The writer's context has no end: a statement is
// never interrupted.
func (t *tx) exec(stmt *sql.Stmt, args ...any) int64 {
	if t.err != nil {
		return 0
	}
	res, err := stmt.Exec(args...)
	if err != nil {
		t.err = err
		return 0
	}
	n, err := res.RowsAffected()
	t.err = err
	return n
}

// script runs SQL that is seldom needed.
func (t *tx) script(text string, args ...any) sql.Result {
	if t.err != nil {
		return nil
	}
	var res sql.Result
	res, t.err = t.w.conn.ExecContext(context.Background(), text, args...)
	return res
}

// exists reports whether a query has a row, of one number.
func (t *tx) exists(stmt *sql.Stmt, args ...any) bool {
	if t.err != nil {
		return false
	}
	var number int64
	err := stmt.QueryRow(args...).Scan(&number)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		t.err = err
	}
	return err == nil
}

// saveSessions writes the counters of the sessions that were written to, once each however many wrote.
func (t *tx) saveSessions() {
	for _, s := range t.sessions {
		if c := s.next; c != s.committed {
			t.exec(t.w.updateSession, s.id, string(c.state), int64(c.lastTask), int64(c.lastEvent), int64(c.acknowledged))
		}
	}
}

// commit makes it durable, or undoes it and sets err.
func (t *tx) commit() {
	t.saveSessions()
	if t.err == nil {
		t.whole = true
		t.script("COMMIT")
	}
	if t.err != nil {
		t.rollback()
		return
	}
	for _, fn := range t.after {
		fn()
	}
	for _, s := range t.sessions { // last: whoever learns of a number finds its event
		s.publish()
	}
}

// committed calls fn once the transaction is durable, before its callers are answered.
func (t *tx) committed(fn func()) { t.after = append(t.after, fn) }

func (t *tx) rollback() {
	// An error is of no consequence: SQLite may have rolled back by itself, as it does when the disk is full.
	_, _ = t.w.conn.ExecContext(context.Background(), "ROLLBACK")
	for _, s := range t.sessions {
		s.next = s.committed
	}
}
