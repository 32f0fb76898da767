package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// readers is how many reads run at once; more wait.
const readers = 4

// reader holds the connections that read. Each query is one statement, and so sees one state of the database; none is
// kept open, which would keep the -wal file from being written over.
type reader struct {
	db *sql.DB

	load, tasks, pending *sql.Stmt
	events, eventsOfTask *sql.Stmt
	acknowledgedTasks    *sql.Stmt
	countAcknowledged    *sql.Stmt
}

// SQLite has no statistics here, and takes the primary key, which looks at all events of the session, unless it is told which
// index to use.
const (
	selectEventsOfTask = `SELECT 0, seq, task, time, event FROM events INDEXED BY events_of_task
		WHERE session = ?1 AND task = ?4 AND seq > ?2 ORDER BY seq LIMIT ?3 + 0`
	deleteEventsOfTask = `DELETE FROM events INDEXED BY events_of_task WHERE session = ?1 AND task = ?2`
)

func openReader(ctx context.Context, path string) (*reader, error) {
	db, err := openConnections(dsn(path, "ro", "busy_timeout(10000)", "query_only(on)", "temp_store(memory)",
		"cell_size_check(on)", "trusted_schema(off)"), readers)
	if err != nil {
		return nil, err
	}
	// LIMIT is given as an expression: to a bare parameter SQLite fits its plan, and prepares the statement anew whenever
	// it gets another value (BenchmarkEventsOne takes twice the processor time with one).
	r := &reader{db: db}
	for stmt, text := range map[**sql.Stmt]string{
		&r.load:  selectRecords + `WHERE t.session = ? AND t.id = ?`,
		&r.tasks: selectRecords + `WHERE t.session = ? AND t.id > ? ORDER BY t.id LIMIT ? + 0`,
		&r.pending: `SELECT id, state, priority, due, deadline, origin FROM tasks INDEXED BY tasks_pending
			WHERE session = ? AND id > ? AND state <> 'completed' ORDER BY id LIMIT ? + 0`,
		// The left join says what the newest event is, at the same moment, where no row is left.
		&r.events: `SELECT s.last_event, e.seq, e.task, e.time, e.event FROM sessions s
			LEFT JOIN events e ON e.session = s.id AND e.seq > ?2 WHERE s.id = ?1 ORDER BY e.seq LIMIT ?3 + 0`,
		&r.eventsOfTask: selectEventsOfTask,
		&r.acknowledgedTasks: `SELECT ended, id FROM tasks t
			WHERE session = ?1 AND state = 'completed' AND (ended, id) > (?2, ?3) AND ended < ?4
			AND NOT EXISTS (SELECT 1 FROM events e WHERE e.session = t.session AND e.task = t.id AND e.seq > ?5)
			ORDER BY ended, id LIMIT ?6 + 0`,
		&r.countAcknowledged: `SELECT count(*) FROM tasks t WHERE session = ?1 AND state = 'completed'
			AND NOT EXISTS (SELECT 1 FROM events e WHERE e.session = t.session AND e.task = t.id AND e.seq > ?2)`,
	} {
		s, err := db.PrepareContext(ctx, text)
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		*stmt = s
	}
	return r, nil
}

// each calls scan on each row of a query.
func (db *DB) each(ctx context.Context, query *sql.Stmt, scan func(*sql.Rows) error, args ...any) error {
	rows, err := query.QueryContext(ctx, args...)
	if err != nil && db.closed.Load() {
		return fmt.Errorf("read %s: %w", db.path, os.ErrClosed)
	}
	if err != nil {
		return db.fail("read", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return db.fail("read", err)
		}
	}
	if err := rows.Err(); err != nil {
		return db.fail("read", err)
	}
	return nil
}

func (db *DB) records(ctx context.Context, s *session, query *sql.Stmt, args ...any) (recs []task.Record, err error) {
	err = db.each(ctx, query, func(rows *sql.Rows) error {
		var (
			id             task.ID
			record, sealed sql.RawBytes
			multipart      sql.RawBytes
		)
		if err := rows.Scan(&id, &record, &sealed, &multipart); err != nil {
			return err
		}
		rec, err := db.decode(s, id, record, sealed)
		if err == nil {
			err = db.decodeMultipart(s, &rec, multipart)
		}
		recs = append(recs, rec)
		return err
	}, args...)
	if err != nil {
		return nil, err
	}
	return recs, nil
}

// Load is store.Store's.
func (s *Store) Load(ctx context.Context, id task.ID) (task.Record, error) {
	ses, err := s.db.lookup(s.identifier)
	if err != nil {
		return task.Record{}, err
	}
	recs, err := s.db.records(ctx, ses, s.db.read.load, ses.id, int64(id))
	if err != nil {
		return task.Record{}, err
	}
	if len(recs) == 0 {
		return task.Record{}, fmt.Errorf("task %d: %w", id, store.ErrNotFound)
	}
	return recs[0], nil
}

// Tasks is store.Store's.
func (s *Store) Tasks(ctx context.Context, after task.ID, limit int) ([]task.Record, error) {
	ses, err := s.db.lookup(s.identifier)
	if err != nil || limit <= 0 {
		return nil, err
	}
	return s.db.records(ctx, ses, s.db.read.tasks, ses.id, int64(min(after, math.MaxInt64)), limit)
}

// Pending is store.Durable's. It reads an index alone, no record: about a microsecond a task, however many have ended. Of
// a URL it has scheme and authority, in lower case and without userinfo.
func (s *Store) Pending(ctx context.Context, after task.ID, limit int) (list []store.Pending, err error) {
	ses, err := s.db.lookup(s.identifier)
	if err != nil || limit <= 0 {
		return nil, err
	}
	err = s.db.each(ctx, s.db.read.pending, func(rows *sql.Rows) error {
		var (
			p             store.Pending
			due, deadline int64
		)
		err := rows.Scan(&p.ID, &p.State, &p.Priority, &due, &deadline, &p.URL)
		if p.Asks = due == never; p.Asks {
			due = 0
		}
		p.Due, p.Deadline = fromNanos(due), fromNanos(deadline)
		list = append(list, p)
		return err
	}, ses.id, int64(after), limit)
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Events is store.Store's. A Gap counts for the limit. The newest of the session come from memory: see recent.go.
func (s *Store) Events(ctx context.Context, after uint64, id task.ID, limit int) (out []task.Event, err error) {
	ses, err := s.db.lookup(s.identifier)
	if err != nil || limit <= 0 {
		return nil, err
	}
	after = min(after, math.MaxInt64) // SQLite's numbers have a sign
	if id == 0 {
		if out, known := ses.recent.after(s, after, limit); known {
			return out, nil
		}
	}
	query, args := s.db.read.events, []any{ses.id, int64(after), limit}
	if id != 0 {
		query, args = s.db.read.eventsOfTask, append(args, int64(id))
	}
	var last uint64
	err = s.db.each(ctx, query, func(rows *sql.Rows) error {
		var (
			seq, of, at sql.NullInt64
			event       sql.RawBytes
		)
		if err := rows.Scan(&last, &seq, &of, &at, &event); err != nil || !seq.Valid {
			return err
		}
		var ev task.Event
		if err := json.Unmarshal(event, &ev); err != nil {
			return fmt.Errorf("event %d: %w: %w", seq.Int64, err, ErrDamaged)
		}
		ev.Session, ev.Task, ev.Sequence, ev.Time = s.identifier, task.ID(of.Int64), uint64(seq.Int64), time.Unix(0, at.Int64)
		if id == 0 && ev.Sequence > after+1 {
			out = append(out, s.gap(after+1, ev.Sequence-1))
		}
		after = ev.Sequence
		out = append(out, ev)
		return nil
	}, args...)
	if err != nil {
		return nil, err
	}
	if id == 0 && after < last && len(out) < limit {
		out = append(out, s.gap(after+1, last))
	}
	return out[:min(len(out), limit)], nil
}

func (s *Store) gap(from, to uint64) task.Event {
	return task.Event{Session: s.identifier, Time: time.Now(), Detail: task.Gap{From: from, To: to}}
}
