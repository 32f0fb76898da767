package sqlitestore

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// What memory tells of the newest events is what the database does: over appends, amendments, tasks that are forgotten,
// and every page.
func TestRecentEventsAreThoseOfTheDatabase(t *testing.T) {
	s := newSessionStore(t)
	ctx := t.Context()
	var recs []*task.Record
	for i := range 20 {
		rec := newRecord(i)
		must(t, s.Create(ctx, rec))
		rec.Attempt = 1
		_, err := s.Save(ctx, rec, task.ResponseReceived{Status: 200, Response: &task.Response{Status: 200}})
		must(t, err)
		retry := []task.Detail{task.Metrics{Attempt: 1, Transactions: []task.Transaction{{Method: "GET", Start: time.Now()}}}, task.WillRetry{Attempt: 1, At: time.Now()}}
		seq, err := s.Save(ctx, rec, retry...)
		must(t, err)
		must(t, s.Amend(ctx, rec, seq-1, task.Metrics{Attempt: 2}, task.Waiting{Reason: task.WaitSpace, Detail: "/d"}))
		must(t, end(ctx, s, rec))
		recs = append(recs, rec)
	}
	for i, rec := range recs {
		if i%7 < 2 || i > 17 {
			must(t, s.Forget(ctx, rec.ID))
		}
	}
	ses, err := s.db.lookup("s")
	must(t, err)
	last := ses.counters().lastEvent
	read := func(after uint64, limit int) string {
		evs, err := s.Events(ctx, after, 0, limit)
		must(t, err)
		for i := range evs {
			if _, ok := evs[i].Detail.(task.Gap); ok {
				evs[i].Time = time.Time{}
			}
		}
		text, err := json.Marshal(evs)
		must(t, err)
		return string(text)
	}
	pages := func() (list []string) {
		for after := range last + 2 {
			list = append(list, read(after, 1<<20), read(after, 1), read(after, 5))
		}
		return list
	}
	if _, known := ses.recent.after(s, 0, 1); !known {
		t.Fatal("memory does not have the newest events")
	}
	memory := pages()
	ses.recent = recent{}
	for i, want := range pages() {
		if got := memory[i]; got != want {
			t.Fatalf("after event %d (%d): from memory\n%.2000s\nfrom the database\n%.2000s", i/3, i%3, got, want)
		}
	}
	if strings.Contains(memory[0], "Authorization") {
		t.Error("a secret")
	}
}

func TestRecentEventsAreBounded(t *testing.T) {
	s := newSessionStore(t)
	ses, err := s.db.lookup("s")
	must(t, err)
	for range 120 {
		details := make([]task.Detail, 50)
		for i := range details {
			details[i] = task.SessionCompleted{Text: strings.Repeat("x", rand.IntN(500))}
		}
		must(t, s.Append(t.Context(), details...))
		sum := 0
		for _, ev := range ses.recent.events {
			sum += ev.bytes
		}
		if n := len(ses.recent.events); n > recentEvents || sum > recentBytes || sum != ses.recent.bytes {
			t.Fatalf("%d events, %d bytes, counted %d", n, sum, ses.recent.bytes)
		}
	}
	if n := len(ses.recent.events); n != recentEvents && ses.recent.bytes < recentBytes/2 {
		t.Errorf("%d events, %d bytes", n, ses.recent.bytes)
	}
	evs, err := s.Events(t.Context(), 0, 0, 1)
	if err != nil || len(evs) != 1 || evs[0].Sequence != 1 {
		t.Errorf("the first, which is in the database alone: %+v, %v", evs, err)
	}
}

func TestSpread(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 1000, 1001} {
		seen := make([]bool, n)
		must(t, spread(n, func(i int) error { seen[i] = true; return nil }))
		if slices.Contains(seen, false) {
			t.Errorf("%d: not all", n)
		}
	}
	mine := errors.New("mine")
	if err := spread(1000, func(i int) error {
		if i == 777 {
			return mine
		}
		return nil
	}); err != mine {
		t.Errorf("%v", err)
	}
}
