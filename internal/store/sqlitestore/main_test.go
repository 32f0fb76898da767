package sqlitestore

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/urlsession/urlsession/internal/task"
)

// child is what this test binary does, instead of tests, in a process that a test starts in order to kill it.
const childEnv = "SQLITESTORE_TEST_CHILD"

var children = map[string]func(path string) error{
	"write":   childWrite,
	"migrate": childMigrate,
	"stop":    childStop,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := children[name](os.Getenv(childEnv + "_PATH")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// startChild starts one; its lines are what it prints.
func startChild(t *testing.T, name, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name, childEnv+"_PATH="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

// say prints a line in one write, so that it is said whole or not at all.
func say(words ...any) { os.Stdout.WriteString(fmt.Sprintln(words...)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newDB is a new database; it is closed at the test's end.
func newDB(t testing.TB) *DB {
	t.Helper()
	return openDB(t, filepath.Join(t.TempDir(), "db"))
}

func openDB(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), path)
	must(t, err)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

// newSessionStore is the store of a new session, "s", in a new database.
func newSessionStore(t testing.TB) *Store {
	t.Helper()
	db := newDB(t)
	must(t, db.CreateSession(t.Context(), "s", nil))
	return db.Session("s")
}

// live writes what becomes of a task that succeeds.
func live(ctx context.Context, s *Store, rec *task.Record) error {
	if err := s.Create(ctx, rec); err != nil {
		return err
	}
	rec.Attempt = 1
	rec.Response = &task.Response{URL: rec.Spec.Request.URL, Status: 200, Proto: "HTTP/1.1", ContentLength: 16 << 10,
		Header: http.Header{"Content-Type": {"application/octet-stream"}, "Etag": {`"abc"`}}}
	if _, err := s.Save(ctx, rec, task.ResponseReceived{URL: rec.Spec.Request.URL, Status: 200, Expected: 16 << 10}); err != nil {
		return err
	}
	return end(ctx, s, rec)
}

// end completes a task.
func end(ctx context.Context, s *Store, rec *task.Record) error {
	rec.State, rec.Ended = task.Completed, time.Now()
	_, err := s.Save(ctx, rec, task.Metrics{Attempt: 1}, task.DownloadCompleted{Path: "/f"}, task.SessionCompleted{Success: true, Status: 200})
	return err
}

// allTasks are a session's tasks, read in pages.
func allTasks(t testing.TB, s *Store) (all []task.Record) {
	t.Helper()
	for after := task.ID(0); ; {
		page, err := s.Tasks(t.Context(), after, 500)
		must(t, err)
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		after = page[len(page)-1].ID
	}
}

// checkSequence fails unless a session's events are numbered from 1 to Last, and returns Last.
func checkSequence(t testing.TB, s *Store) uint64 {
	t.Helper()
	last, err := s.Last(t.Context())
	must(t, err)
	for after := uint64(0); after < last; {
		page, err := s.Events(t.Context(), after, 0, 500)
		must(t, err)
		if len(page) == 0 {
			t.Fatalf("no events after %d, and Last is %d", after, last)
		}
		for _, ev := range page {
			if after++; ev.Sequence != after {
				t.Fatalf("event %d (%+v) where %d was due", ev.Sequence, ev.Detail, after)
			}
		}
	}
	return last
}
