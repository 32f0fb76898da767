package engine_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

func failsAfter(n int) runFunc {
	return func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
		if a.Number <= n {
			return transfer.Result{Transactions: []task.Transaction{{URL: "http://h/"}}}, lost(false)
		}
		return answer(200)(ctx, a)
	}
}

// Retries that nobody is told of do not pile up.
func TestRetriesCollapseWhileNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, failsAfter(50))
		id := create(t, p.Engine, get("http://h/", retries(-1)))
		time.Sleep(24 * time.Hour)
		evs := d.log(t, id)
		if s := names(evs); s != "metrics willretry responsereceived sessioncompleted" {
			t.Fatalf("events: %s", s)
		}
		if m, r := evs[0].Detail.(task.Metrics), evs[1].Detail.(task.WillRetry); m.Attempt != 50 || r.Attempt != 50 {
			t.Errorf("the newest is kept: %+v, %+v", m, r)
		}
		if rec := d.record(t, id); rec.Attempt != 51 || rec.Retries != 50 {
			t.Errorf("%+v", rec)
		}
	})
}

// What somebody was told stays, and what comes is told, also where reading takes long.
func TestRetriesDoNotCollapseForAListener(t *testing.T) {
	for _, reading := range []time.Duration{0, 10 * time.Second} {
		for _, q := range []task.EventQuery{{Task: 1}, {Own: true}} {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk()
				p := d.start(t, &process{reading: reading}, failsAfter(20))
				id := create(t, p.Engine, get("http://h/", retries(-1)))
				time.Sleep(5 * time.Second)
				before, err := p.Task(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				told := map[uint64]int{} // attempts, by their events' numbers
				attempt := 0
				for ev, err := range p.Events(t.Context(), q) {
					if err != nil {
						t.Fatal(err)
					}
					if r, ok := ev.Detail.(task.WillRetry); ok {
						if told[ev.Sequence] != 0 || r.Attempt <= attempt {
							t.Errorf("told of attempt %d after %d, by event %d", r.Attempt, attempt, ev.Sequence)
						}
						attempt = r.Attempt
						told[ev.Sequence] = attempt
						time.Sleep(reading * 20) // and so does listening
					}
					if _, ok := ev.Detail.(task.SessionCompleted); ok {
						break
					}
				}
				for _, ev := range d.log(t, id) {
					if r, ok := ev.Detail.(task.WillRetry); ok && told[ev.Sequence] != r.Attempt {
						t.Errorf("event %d is of attempt %d, and attempt %d was told", ev.Sequence, r.Attempt, told[ev.Sequence])
					}
				}
				if attempt != 20 || reading == 0 && len(told) < 20-before.Attempt {
					t.Errorf("told of %d retries, up to attempt %d", len(told), attempt)
				}
			})
		}
	}
}

// What an earlier process may have told stays.
func TestRetriesDoNotCollapseOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, failsAfter(1))
		id := create(t, p.Engine, get("http://h/", retries(-1)))
		synctest.Wait()
		p.crash()
		p = d.boot(t, failsAfter(10))
		end(t, p.Engine, id)
		if s := names(d.log(t, id)); !strings.HasPrefix(s, "metrics willretry metrics willretry") {
			t.Errorf("events: %s", s)
		}
	})
}

// In process nothing collapses: a late listener misses nothing.
func TestNothingCollapsesInProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, failsAfter(10))
		id := create(t, e, get("http://h/", retries(-1)))
		time.Sleep(24 * time.Hour)
		if n := strings.Count(names(collect(t, e, id)), "willretry"); n != 10 {
			t.Errorf("%d retries told of 10", n)
		}
	})
}
