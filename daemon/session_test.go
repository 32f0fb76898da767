package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store/sqlitestore"
	"github.com/urlsession/urlsession/internal/task"
)

// folderless are the sessions of a database, without a daemon around them.
func folderless(t *testing.T, o Options) *sessions {
	t.Helper()
	dir := t.TempDir()
	db, err := sqlitestore.Open(within(t), filepath.Join(dir, "db"))
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	must(t, db.CreateSession(within(t), "s", []byte("{}")))
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return newSessions(dir, db, o)
}

// TestHistoryIsBounded: a session's engine forgets what Options say; how it does is its own test.
func TestHistoryIsBounded(t *testing.T) {
	for _, c := range []struct {
		options Options
		want    engine.Retention
	}{
		{Options{}, engine.Retention{Age: 7 * 24 * time.Hour, Count: 10_000}},
		{Options{Retention: time.Hour, History: 3}, engine.Retention{Age: time.Hour, Count: 3}},
		{Options{Retention: -1, History: -1}, engine.Retention{}},
	} {
		s := &session{ss: folderless(t, c.options), id: "s", launcher: new(launcher)}
		if got := s.engineOptions("").Retention; got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.options, got, c.want)
		}
	}
}

// TestAnOwnerEndsThePauses of the launch command while it is there; how long the next is depends on what it acknowledges.
func TestAnOwnerEndsThePauses(t *testing.T) {
	ss := folderless(t, Options{})
	s, err := ss.get(within(t), "s")
	must(t, err)
	defer ss.stop(within(t))
	l := s.launcher
	l.mu.Lock()
	l.runs, l.again = 9, time.AfterFunc(time.Hour, func() {})
	l.mu.Unlock()
	for _, own := range []bool{false, true} {
		for range s.Events(within(t), task.EventQuery{Own: own}) {
			break
		}
		l.mu.Lock()
		if pauses := l.again != nil; pauses == own || l.runs != 9 {
			t.Errorf("own %v: after %d runs, pauses %v", own, l.runs, pauses)
		}
		l.mu.Unlock()
	}
}

// TestSpaceIsGivenBack: what history has taken of the database goes at the next start.
func TestSpaceIsGivenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	reopen := func() (*sqlitestore.DB, int64) {
		db, err := sqlitestore.Open(within(t), path)
		must(t, err)
		info, err := os.Stat(path)
		must(t, err)
		return db, info.Size()
	}
	db, _ := reopen()
	must(t, db.CreateSession(within(t), "s", []byte("{}")))
	var recs []*task.Record
	var ids []task.ID
	for range 2000 {
		recs = append(recs, &task.Record{Spec: data("http://example.com"), State: task.Completed})
	}
	must(t, db.Session("s").Create(within(t), recs...))
	for _, rec := range recs {
		ids = append(ids, rec.ID)
	}
	must(t, db.Session("s").Forget(within(t), ids...))
	must(t, db.Close())
	db, before := reopen()
	newSessions(t.TempDir(), db, Options{Logger: slog.New(slog.DiscardHandler)}).resume(within(t))
	must(t, db.Close())
	db, after := reopen()
	must(t, db.Close())
	if after > before/2 {
		t.Errorf("the file of %d bytes has %d", before, after)
	}
}
