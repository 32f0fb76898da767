package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// together holds the writer until all the calls are in its queue, in their order, so that one transaction takes them;
// it returns their errors.
func together(t *testing.T, db *DB, calls ...func() error) []error {
	t.Helper()
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := db.write.do(t.Context(), 1, func(*tx) error { close(held); <-release; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-held
	errs := make([]error, len(calls))
	for i, call := range calls {
		wg.Go(func() { errs[i] = call() })
		waitQueued(t, db, i+1)
	}
	close(release)
	wg.Wait()
	return errs
}

// waitQueued returns when n writes wait for the writer.
func waitQueued(t *testing.T, db *DB, n int) {
	t.Helper()
	queued := func() int {
		db.write.mu.Lock()
		defer db.write.mu.Unlock()
		return len(db.write.queue)
	}
	for queued() != n {
		runtime.Gosched()
	}
}

// seeTx is a write that does nothing but to say which transaction it is in.
func seeTx(t *testing.T, db *DB, seen **tx) func() error {
	return func() error {
		return db.write.do(t.Context(), 1, func(t *tx) error { *seen = t; return nil })
	}
}

func TestRefusedWriteDoesNotDisturbItsTransaction(t *testing.T) {
	s := newSessionStore(t)
	a, b := newRecord(1), newRecord(2)
	must(t, s.Create(t.Context(), a, b))
	stale := *a
	unknown := task.Record{ID: 77, Version: 1}
	var first, last *tx
	errs := together(t, s.db,
		seeTx(t, s.db, &first),
		func() error { _, err := s.Save(t.Context(), a, task.WillRetry{Attempt: 1}); return err },
		func() error { _, err := s.Save(t.Context(), &stale, task.WillRetry{Attempt: 666}); return err },
		func() error { _, err := s.Save(t.Context(), &unknown, task.WillRetry{Attempt: 667}); return err },
		func() error { return s.Append(t.Context(), task.BackgroundTransfer{}) },
		func() error { _, err := s.Save(t.Context(), b, task.WillRetry{Attempt: 2}); return err },
		seeTx(t, s.db, &last),
	)
	if first != last {
		t.Error("there were several transactions")
	}
	for i, want := range []error{nil, nil, store.ErrConflict, store.ErrNotFound, nil, nil, nil} {
		if !errors.Is(errs[i], want) {
			t.Errorf("write %d: %v, want %v", i, errs[i], want)
		}
	}
	if last := checkSequence(t, s); last != 3 {
		t.Errorf("%d events, want 3", last)
	}
}

// A write that the database cannot do fails alone; what it had done of it is undone.
func TestFailedWriteFailsAlone(t *testing.T) {
	s := newSessionStore(t)
	a, b := newRecord(1), newRecord(2)
	errs := together(t, s.db,
		func() error { return s.Create(t.Context(), a) },
		func() error {
			return s.db.change(t.Context(), "s", func(t *tx, ses *session, c *counters) {
				t.appendEvents(ses, c, 0, []event{{task.BackgroundTransfer{}, "{}"}})
				t.script("INSERT INTO nowhere VALUES (1)")
			})
		},
		func() error { return s.Append(t.Context(), task.BackgroundTransfer{}) },
		func() error { return s.Create(t.Context(), b) },
	)
	if errs[0] != nil || errs[2] != nil || errs[3] != nil || errs[1] == nil || !strings.Contains(errs[1].Error(), "nowhere") {
		t.Errorf("errors %v", errs)
	}
	if last := checkSequence(t, s); last != 1 {
		t.Errorf("%d events, want 1", last)
	}
	if len(allTasks(t, s)) != 2 || a.ID != 1 || b.ID != 2 {
		t.Errorf("tasks %d and %d of %d", a.ID, b.ID, len(allTasks(t, s)))
	}
}

// A commit that fails fails all who share it and changes nothing, the numbers neither. What makes it fail here is a
// constraint that SQLite checks at the commit.
func TestFailedCommitFailsAll(t *testing.T) {
	s := newSessionStore(t)
	for _, text := range []string{"PRAGMA foreign_keys = ON", "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
		"CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)"} {
		_, err := s.db.write.conn.ExecContext(t.Context(), text)
		must(t, err)
	}
	rec := newRecord(0)
	must(t, s.Create(t.Context(), rec))
	must(t, s.Append(t.Context(), task.BackgroundTransfer{}))
	before := *rec
	errs := together(t, s.db,
		func() error { _, err := s.Save(t.Context(), rec, task.WillRetry{Attempt: 1}); return err },
		func() error { return s.Create(t.Context(), newRecord(1)) },
		func() error {
			return s.db.write.do(t.Context(), 1, func(t *tx) error { t.script("INSERT INTO child VALUES (1)"); return nil })
		},
		func() error { return s.Acknowledge(t.Context(), 1) },
		func() error { return s.db.CreateSession(t.Context(), "other", nil) },
	)
	for i, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "FOREIGN KEY") {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if rec.Version != before.Version {
		t.Errorf("version %d", rec.Version)
	}
	infos, err := s.db.Sessions(t.Context())
	must(t, err)
	if len(infos) != 1 || infos[0].LastEvent != 1 || infos[0].Acknowledged != 0 || infos[0].LastTask != 1 {
		t.Errorf("sessions %+v", infos)
	}
	if n, err := s.Save(t.Context(), rec, task.WillRetry{Attempt: 1}); n != 2 || err != nil {
		t.Errorf("the same Save again: event %d, %v", n, err)
	}
	if last := checkSequence(t, s); last != 2 {
		t.Errorf("%d events, want 2", last)
	}
}

// Another program that keeps the database locked fails the transaction as one, after one wait for it.
func TestLockedByAnotherProgram(t *testing.T) {
	s := newSessionStore(t)
	_, err := s.db.write.conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 50")
	must(t, err)
	other, err := openConnections(dsn(s.db.path, "rw"), 1)
	must(t, err)
	defer other.Close()
	conn, err := other.Conn(t.Context())
	must(t, err)
	defer conn.Close()
	var calls []func() error
	applied := 0
	for range 20 {
		calls = append(calls, func() error {
			return s.db.write.do(t.Context(), 1, func(*tx) error { applied++; return nil })
		})
	}
	calls = append(calls, func() error { return s.Create(t.Context(), newRecord(0)) })
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	must(t, err)
	var wg sync.WaitGroup
	errs := make([]error, len(calls))
	for i, call := range calls {
		wg.Go(func() { errs[i] = call() })
	}
	wg.Wait()
	for i, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "locked") {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if applied != 0 {
		t.Errorf("%d writes were begun", applied)
	}
	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	must(t, err)
	must(t, s.Create(t.Context(), newRecord(0)))
}

// A caller whose context ends while it waits has written nothing; one whose write is under way learns what becomes of it.
func TestContextEnds(t *testing.T) {
	s := newSessionStore(t)
	held, release := make(chan struct{}), make(chan struct{})
	underWay, endUnderWay := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.db.write.do(underWay, 1, func(*tx) error { close(held); <-release; return nil }); err != nil {
			t.Errorf("the write that was under way: %v", err)
		}
	})
	<-held
	endUnderWay()

	waiting, endWaiting := context.WithCancel(t.Context())
	rec := newRecord(0)
	failed := make(chan error)
	go func() { failed <- s.Create(waiting, rec) }()
	waitQueued(t, s.db, 1)
	endWaiting()
	if err := <-failed; !errors.Is(err, context.Canceled) || rec.ID != 0 {
		t.Errorf("the write that waited: %v, task %d", err, rec.ID)
	}
	close(release)
	wg.Wait()
	must(t, s.Append(t.Context(), task.BackgroundTransfer{})) // the writer has passed it
	if n := len(allTasks(t, s)); n != 0 {
		t.Errorf("%d tasks were stored", n)
	}
	if err := s.Create(waiting, rec); !errors.Is(err, context.Canceled) {
		t.Errorf("a write with a context that has ended: %v", err)
	}
	if _, err := s.Load(waiting, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a read with a context that has ended: %v", err)
	}
}

// What durable means rests on these: no kill of a process can show that one of them is missing.
func TestPragmas(t *testing.T) {
	db := newDB(t)
	for name, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "auto_vacuum": "2", "application_id": "1970433139", "user_version": fmt.Sprint(len(migrations)),
	} {
		var got string
		must(t, db.write.conn.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if _, err := db.read.db.ExecContext(t.Context(), "DELETE FROM sessions"); err == nil {
		t.Error("a reader can write")
	}
}
