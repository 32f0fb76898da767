package sqlitestore

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

func TestManySessions(t *testing.T) {
	const sessions = 1000
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	name := func(i int) string { return fmt.Sprintf("com.example.%04d", i) }
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			if err := db.CreateSession(t.Context(), name(i), []byte(name(i))); err != nil {
				t.Error(err)
				return
			}
			s := db.Session(name(i))
			for range 1 + i%3 {
				if err := live(t.Context(), s, newRecord(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	before, err := db.Sessions(t.Context())
	must(t, err)
	must(t, db.Close())

	db = openDB(t, path)
	after, err := db.Sessions(t.Context())
	must(t, err)
	if len(after) != sessions {
		t.Fatalf("%d sessions", len(after))
	}
	for i, info := range after {
		tasks := 1 + i%3
		if info.Identifier != name(i) || info.LastTask != task.ID(tasks) || info.LastEvent != uint64(4*tasks) || info.State != SessionOpen {
			t.Fatalf("session %d: %+v", i, info)
		}
		if !info.Created.Equal(before[i].Created) {
			t.Fatalf("session %d was created %v, then %v", i, before[i].Created, info.Created)
		}
		if last := checkSequence(t, db.Session(info.Identifier)); last != info.LastEvent {
			t.Fatalf("session %d has %d events", i, last)
		}
		c, err := db.Configuration(t.Context(), info.Identifier)
		if err != nil || string(c) != name(i) {
			t.Fatalf("session %d: configuration %q, %v", i, c, err)
		}
	}
}

// Numbers go on after a restart, also when all that had them is forgotten, and when an identifier is opened anew.
func TestNumbersGoOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	must(t, db.CreateSession(t.Context(), "s", nil))
	if err := db.CreateSession(t.Context(), "s", nil); !errors.Is(err, ErrSessionExists) {
		t.Errorf("a second of the same identifier: %v", err)
	}
	s := db.Session("s")
	for range 3 {
		must(t, live(t.Context(), s, newRecord(0)))
	}
	must(t, s.Acknowledge(t.Context(), 7))
	must(t, s.Forget(t.Context(), 1, 2, 3))
	must(t, s.Append(t.Context(), task.Invalidated{}))
	must(t, db.Close())

	db = openDB(t, path)
	infos, err := db.Sessions(t.Context())
	must(t, err)
	infos[0].Created = time.Time{}
	want := Info{Identifier: "s", State: SessionInvalidated, LastTask: 3, LastEvent: 13, Acknowledged: 7}
	if len(infos) != 1 || infos[0] != want {
		t.Fatalf("sessions %+v, want %+v", infos, want)
	}
	s = db.Session("s")
	must(t, s.Acknowledge(t.Context(), 13))
	must(t, db.ReopenSession(t.Context(), "s"))
	rec := newRecord(0)
	must(t, s.Create(t.Context(), rec))
	if rec.ID != 4 {
		t.Errorf("the next task has number %d, want 4", rec.ID)
	}
	if n, err := s.Save(t.Context(), rec, task.WillRetry{}); n != 14 || err != nil {
		t.Errorf("the next event has number %d (%v), want 14", n, err)
	}
}

func TestUnknownSession(t *testing.T) {
	db := newDB(t)
	s := db.Session("nobody")
	_, load := s.Load(t.Context(), 1)
	_, tasks := s.Tasks(t.Context(), 0, 1)
	_, pending := s.Pending(t.Context(), 0, 1)
	_, save := s.Save(t.Context(), newRecord(0))
	_, events := s.Events(t.Context(), 0, 0, 1)
	_, last := s.Last(t.Context())
	_, acknowledged := s.Acknowledged(t.Context())
	_, configuration := db.Configuration(t.Context(), "nobody")
	for i, err := range []error{load, tasks, pending, save, events, last, acknowledged, configuration,
		s.Create(t.Context(), newRecord(0)), s.Append(t.Context(), task.Invalidated{}), s.Acknowledge(t.Context(), 1), s.Forget(t.Context(), 1),
		db.PutConfiguration(t.Context(), "nobody", nil), db.SetState(t.Context(), "nobody", SessionOpen)} {
		if !errors.Is(err, ErrNoSession) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if err := db.CreateSession(t.Context(), "", nil); err == nil {
		t.Error("an empty identifier was taken")
	}
}

// count is how many rows the tables have.
func count(t *testing.T, db *DB) (sessions, tasks, events int) {
	t.Helper()
	must(t, db.read.db.QueryRow("SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM tasks), (SELECT count(*) FROM events)").
		Scan(&sessions, &tasks, &events))
	return
}

func TestSweep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	must(t, db.CreateSession(t.Context(), "s", nil))
	s := db.Session("s")
	recs := newRecords(3000)
	for _, rec := range recs[1:] {
		rec.State = task.Completed
	}
	must(t, s.Create(t.Context(), recs...))
	must(t, end(t.Context(), s, recs[0]))
	_, tasks, events := count(t, db)
	must(t, db.Sweep(t.Context()))
	if _, n, log := count(t, db); n != tasks || log != events {
		t.Errorf("%d of %d tasks and %d of %d events are left", n, tasks, log, events)
	}

	// The file gives its space back.
	must(t, db.Close())
	large, err := os.Stat(path)
	must(t, err)
	db = openDB(t, path)
	var ids []task.ID
	for _, rec := range recs[10:] {
		ids = append(ids, rec.ID)
	}
	must(t, db.Session("s").Forget(t.Context(), ids...))
	must(t, db.Sweep(t.Context()))
	if _, n, _ := count(t, db); n != 10 {
		t.Errorf("%d tasks are left", n)
	}
	must(t, db.Close())
	small, err := os.Stat(path)
	must(t, err)
	if small.Size() > large.Size()/5 {
		t.Errorf("the file of %d bytes has %d when it is empty", large.Size(), small.Size())
	}
}

func TestReopenSession(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "db")
	db := openDB(t, path)
	must(t, db.CreateSession(ctx, "s", []byte("configuration")))
	s := db.Session("s")
	recs := newRecords(2)
	must(t, s.Create(ctx, recs...))
	refused := func(want error) {
		t.Helper()
		before, _ := db.Info(ctx, "s")
		if err := db.ReopenSession(ctx, "s"); !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
		if after, _ := db.Info(ctx, "s"); before != after {
			t.Errorf("it was %+v and is %+v", before, after)
		}
	}
	refused(ErrSessionNotOver)
	must(t, db.SetState(ctx, "s", SessionFinishing))
	refused(ErrSessionNotOver)
	for _, rec := range recs {
		must(t, end(ctx, s, rec))
	}
	must(t, s.Append(ctx, task.Invalidated{}))
	refused(ErrSessionNotOver) // nobody has acknowledged that
	info, err := db.Info(ctx, "s")
	must(t, err)
	must(t, s.Acknowledge(ctx, info.LastEvent))

	must(t, db.ReopenSession(ctx, "s"))
	must(t, db.Close())
	db = openDB(t, path)
	s = db.Session("s")
	now, err := db.Info(ctx, "s")
	must(t, err)
	if now.State != SessionOpen || now.LastTask != 2 || now.LastEvent != info.LastEvent || now.Acknowledged != info.LastEvent {
		t.Errorf("opened anew: %+v", now)
	}
	rec := newRecord(3)
	must(t, s.Create(ctx, rec))
	if rec.ID != 3 {
		t.Errorf("its next task is %d", rec.ID)
	}
	if c, err := db.Configuration(ctx, "s"); string(c) != "configuration" || err != nil {
		t.Errorf("its configuration is %q, %v", c, err)
	}
	if err := db.ReopenSession(ctx, "none"); !errors.Is(err, ErrNoSession) {
		t.Errorf("none: %v", err)
	}
	if _, err := db.Info(ctx, "none"); !errors.Is(err, ErrNoSession) {
		t.Errorf("none: %v", err)
	}
}

func TestPending(t *testing.T) {
	s := newSessionStore(t)
	now := time.Now()
	recs := newRecords(6)
	for _, rec := range recs {
		rec.Since = time.Time{} // without it there is no deadline
	}
	recs[0].Spec.EarliestBegin = now.Add(time.Hour)
	recs[1].Waiting = &task.Wait{Reason: task.WaitRetry, Until: now.Add(time.Minute)}
	recs[1].Spec.EarliestBegin = now.Add(-time.Hour)
	recs[2].State = task.Suspended
	recs[2].Spec.EarliestBegin = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	recs[3].Spec.Request.URL = "HTTPS://user:pw@Download.Example.com:8443?x"
	recs[4].Spec.Priority = task.PriorityHigh
	recs[4].Spec.Request.URL, recs[4].URL = "http://[::1]:80/f", "http://elsewhere/after/redirect"
	recs[4].Since, recs[4].Spec.Policy.ResourceTimeout = now, time.Hour
	must(t, s.Create(t.Context(), recs...))
	must(t, end(t.Context(), s, recs[5]))

	const origin = "https://download.example.com"
	want := []store.Pending{
		{ID: 1, State: task.Running, Priority: .5, Due: now.Add(time.Hour), URL: origin},
		{ID: 2, State: task.Running, Priority: .5, Due: now.Add(time.Minute), URL: origin},
		{ID: 3, State: task.Suspended, Priority: .5, Due: time.Unix(0, math.MaxInt64), URL: origin},
		{ID: 4, State: task.Running, Priority: .5, URL: origin + ":8443"},
		{ID: 5, State: task.Running, Priority: .75, Deadline: now.Add(time.Hour), URL: "http://[::1]:80"},
	}
	for i := range want {
		if !want[i].Due.IsZero() {
			want[i].Due = time.Unix(0, want[i].Due.UnixNano()) // no monotonic reading
		}
		if !want[i].Deadline.IsZero() {
			want[i].Deadline = time.Unix(0, want[i].Deadline.UnixNano())
		}
	}
	var got []store.Pending
	for after := task.ID(0); ; {
		page, err := s.Pending(t.Context(), after, 2)
		must(t, err)
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1].ID
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("pending\n%+v, want\n%+v", got, want)
	}
}
