package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

const batchSize = 150

// childWrite writes until it is killed, and prints what was acknowledged to it.
func childWrite(path string) error {
	ctx := context.Background()
	db, err := Open(ctx, path)
	if err != nil {
		return err
	}
	if err := db.CreateSession(ctx, "s", nil); err != nil && !errors.Is(err, ErrSessionExists) {
		return err
	}
	s := db.Session("s")
	say("open")
	failed := make(chan error)
	for range 4 {
		go func() { failed <- writeTasks(ctx, s) }()
	}
	go func() {
		if err := writeBatches(ctx, s); err != nil {
			failed <- err
		}
	}()
	return <-failed
}

func writeTasks(ctx context.Context, s *Store) error {
	for {
		rec := newRecord(0)
		if err := s.Create(ctx, rec); err != nil {
			return err
		}
		say("task", rec.ID, rec.Version, 0)
		for range 3 {
			rec.Attempt++
			seq, err := s.Save(ctx, rec, task.WillRetry{Attempt: rec.Attempt}, task.Waiting{Reason: task.WaitRetry})
			if err != nil {
				return err
			}
			say("task", rec.ID, rec.Version, seq)
		}
		if err := s.Acknowledge(ctx, 3*uint64(rec.ID)); err != nil {
			return err
		}
	}
}

// writeBatches creates tasks all or none: each says which batch it is of.
func writeBatches(ctx context.Context, s *Store) error {
	for range 10 { // the later rounds have them all to read
		recs := newRecords(batchSize)
		name := fmt.Sprint("batch ", rand.Int64())
		for _, r := range recs {
			r.Spec.Description = name
		}
		if err := s.Create(ctx, recs...); err != nil {
			return err
		}
		say("task", recs[batchSize-1].ID, 1, 0)
	}
	return nil
}

// After kill -9 at any moment, what was acknowledged stands, batches stand whole or not at all, numbers have no gaps and
// are not given twice.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	var total int
	for range 20 {
		cmd, lines := startChild(t, "write", path)
		lines.Scan() // it is open
		go func() {
			time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond) // any moment will do
			cmd.Process.Kill()
		}()
		acknowledged := map[task.ID]uint64{} // the version
		var newest uint64
		for lines.Scan() {
			var id task.ID
			var version, seq uint64
			if n, _ := fmt.Sscanf(lines.Text(), "task %d %d %d", &id, &version, &seq); n != 3 {
				continue // the last line, cut
			}
			if version == 1 && acknowledged[id] != 0 {
				t.Fatalf("task number %d was given twice", id)
			}
			acknowledged[id] = max(acknowledged[id], version)
			newest = max(newest, seq)
			total++
		}
		cmd.Wait()

		func() {
			db := openDB(t, path)
			defer db.Close()
			s := db.Session("s")
			if last := checkSequence(t, s); last < newest {
				t.Fatalf("event %d was acknowledged, and %d is the last", newest, last)
			}
			batches := map[string]int{}
			for _, rec := range allTasks(t, s) {
				if rec.Version < acknowledged[rec.ID] {
					t.Fatalf("task %d: version %d was acknowledged, and %d stands", rec.ID, acknowledged[rec.ID], rec.Version)
				}
				delete(acknowledged, rec.ID)
				if strings.HasPrefix(rec.Spec.Description, "batch") {
					batches[rec.Spec.Description]++
				}
			}
			if len(acknowledged) > 0 {
				t.Fatalf("%d acknowledged tasks are lost: %v", len(acknowledged), acknowledged)
			}
			for name, n := range batches {
				if n != batchSize {
					t.Fatalf("%s: %d of %d tasks stand", name, n, batchSize)
				}
			}
		}()
	}
	if total == 0 {
		t.Fatal("nothing was acknowledged: nothing was tested")
	}
	t.Logf("%d acknowledged writes, none lost", total)
}

// next is a migration as a later version may have one; it does inside what it is given.
func next(inside func()) []migration {
	return append(migrations[:len(migrations):len(migrations)], migration{
		sql: `ALTER TABLE tasks ADD COLUMN color TEXT;
			UPDATE tasks SET color = 'blue';
			CREATE INDEX tasks_color ON tasks (color);
			CREATE TABLE colors (name TEXT) STRICT;`,
		then: func(ctx context.Context, conn *sql.Conn, _ *keyFile) error {
			inside()
			_, err := conn.ExecContext(ctx, "INSERT INTO colors VALUES ('blue')")
			return err
		},
	})
}

func childMigrate(path string) error {
	if os.Getenv(childEnv) != "" {
		say("begin")
	}
	db, err := open(context.Background(), path, next(func() {}))
	if err != nil {
		return err
	}
	return db.Close()
}

// childStop stops for good in the midst of the migration.
func childStop(path string) error {
	_, err := open(context.Background(), path, next(func() {
		say("inside")
		select {}
	}))
	return err
}

func TestKilledDuringMigration(t *testing.T) {
	const tasks = 5000
	original := filepath.Join(t.TempDir(), "db")
	db := openDB(t, original)
	must(t, db.CreateSession(t.Context(), "s", nil))
	must(t, db.Session("s").Create(t.Context(), newRecords(tasks)...))
	must(t, db.Close())

	// check fails unless the database is wholly of one version, which it returns.
	check := func(path string) int {
		t.Helper()
		version, _, err := inspect(t.Context(), path, len(migrations)+1)
		must(t, err)
		db, err := open(t.Context(), path, next(func() {})[:version])
		must(t, err)
		defer db.Close()
		if _, n, _ := count(t, db); n != tasks {
			t.Fatalf("version %d: %d tasks of %d", version, n, tasks)
		}
		if _, err := db.Session("s").Load(t.Context(), tasks); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		var tables, blue int
		must(t, db.read.db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name IN ('colors', 'tasks_color')").Scan(&tables))
		if want := 2 * (version - len(migrations)); tables != want {
			t.Fatalf("version %d has %d of what the next one makes, want %d", version, tables, want)
		}
		if version > len(migrations) {
			must(t, db.read.db.QueryRow("SELECT (SELECT count(*) FROM tasks WHERE color = 'blue') + (SELECT count(*) FROM colors)").Scan(&blue))
			if blue != tasks+1 {
				t.Fatalf("%d rows were migrated, want %d", blue, tasks+1)
			}
		}
		return version
	}

	path := copyDB(t, original)
	cmd, lines := startChild(t, "stop", path)
	if !lines.Scan() || lines.Text() != "inside" {
		t.Fatalf("the child said %q", lines.Text())
	}
	cmd.Process.Kill()
	cmd.Wait()
	if v := check(path); v != len(migrations) {
		t.Fatalf("killed in the midst of the migration, the version is %d", v)
	}
	must(t, childMigrate(path))
	if v := check(path); v != len(migrations)+1 {
		t.Fatalf("migrated, the version is %d", v)
	}
	if _, err := Open(t.Context(), path); !errors.Is(err, ErrNewer) {
		t.Fatalf("the program of before: %v", err)
	}

	migrated := 0
	for range 10 {
		path := copyDB(t, original)
		cmd, lines := startChild(t, "migrate", path)
		lines.Scan()
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // any moment will do
		cmd.Process.Kill()
		cmd.Wait()
		migrated += check(path) - len(migrations)
	}
	t.Logf("%d of 10 were killed before the migration was committed", 10-migrated)
}

// copyDB copies a closed database to a new folder.
func copyDB(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	for _, suffix := range []string{"", ".key"} {
		data, err := os.ReadFile(path + suffix)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "db"+suffix), data, 0o600))
	}
	return filepath.Join(dir, "db")
}

// Whoever was told that its write is durable when Close came finds it again; the others were told.
func TestCloseDrains(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	must(t, db.CreateSession(t.Context(), "s", nil))
	s := db.Session("s")
	var wg sync.WaitGroup
	var mu sync.Mutex
	stored := map[task.ID]bool{}
	begun := make(chan struct{}, 64)
	for range 64 {
		wg.Go(func() {
			for {
				rec := newRecord(1)
				err := s.Create(t.Context(), rec)
				if err != nil {
					if rec.ID != 0 || !errors.Is(err, os.ErrClosed) {
						t.Errorf("after Close: %v, task %d", err, rec.ID)
					}
					return
				}
				mu.Lock()
				stored[rec.ID] = true
				mu.Unlock()
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 64 {
		<-begun
	}
	must(t, db.Close())
	wg.Wait()
	must(t, db.Close())
	if _, err := s.Load(t.Context(), 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a read after Close: %v", err)
	}

	recs := allTasks(t, openDB(t, path).Session("s"))
	for _, rec := range recs {
		delete(stored, rec.ID)
	}
	if len(stored) > 0 {
		t.Errorf("%d tasks are lost", len(stored))
	}
}
