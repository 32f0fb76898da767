package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// rates are those of an attempt's limits: the task's, the session's, and the shared ones.
func rates(a transfer.Attempt) (rs [3]int64) {
	for i, l := range a.Limits {
		rs[i] = l.Rate()
	}
	return rs
}

func limited(n int64) func(*task.Spec) { return func(s *task.Spec) { s.RateLimit = n } }

// Each attempt is under its task's limit, its session's and those of all, which change while it runs.
func TestRateLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l attempts
		shared := new(transfer.Limit)
		e := start(t, l.run(hang), func(o *engine.Options) { o.RateLimit, o.Limits = 100, transfer.Limits{shared} })
		one, other := create(t, e, get("http://h/", limited(10))), create(t, e, get("http://h/"))
		synctest.Wait()
		as := map[task.ID]transfer.Attempt{}
		for _, a := range l.list() {
			as[a.ID] = a
		}
		want := func(id task.ID, rs ...int64) {
			t.Helper()
			if got := rates(as[id]); got != [3]int64(rs) {
				t.Errorf("task %d is under %v, want %v", id, got, rs)
			}
		}
		want(one, 10, 100, 0)
		want(other, 0, 100, 0)
		shared.Set(1000)
		for id, n := range map[task.ID]int64{0: 200, one: 20, other: 30} {
			if err := e.SetRateLimit(t.Context(), id, n); err != nil {
				t.Error(err)
			}
		}
		want(one, 20, 200, 1000)
		want(other, 30, 200, 1000)
		if rec, err := e.Task(t.Context(), other); err != nil || rec.Spec.RateLimit != 30 || e.RateLimit() != 200 {
			t.Errorf("%d, %d, %v", rec.Spec.RateLimit, e.RateLimit(), err)
		}
		if err := e.SetRateLimit(t.Context(), one, 0); err != nil {
			t.Error(err)
		}
		want(one, 0, 200, 1000)
		if as[one].Limits[1] != as[other].Limits[1] || as[one].Limits[2] != shared {
			t.Error("the attempts do not share their limits")
		}
		for _, id := range []task.ID{0, one} {
			if err := e.SetRateLimit(t.Context(), id, -1); err == nil {
				t.Errorf("%d: a negative limit was taken", id)
			}
		}
	})
}

// A task's limit goes on after a retry, and in the next process, whether it was in memory or not; one that the store does not
// take is not.
func TestTasksRateLimitLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		var got [2]int64
		run := func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			got[a.ID-1] = a.Limits[0].Rate()
			if a.Number%2 == 1 {
				return transfer.Result{}, lost(true)
			}
			return hang(ctx, a)
		}
		full := false
		p := d.start(t, &process{beforeSave: func(*task.Record) error {
			if full {
				return errDead
			}
			return nil
		}}, run, resident(1))
		for range got {
			create(t, p.Engine, get("http://h/", retries(-1), limited(5)))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got != [2]int64{5, 5} {
			t.Errorf("%v", got)
		}
		if err := p.SetRateLimit(t.Context(), 1, 7); err != nil {
			t.Error(err)
		}
		full = true
		if err := p.SetRateLimit(t.Context(), 2, 7); err == nil {
			t.Error("a limit that is not stored was taken")
		}
		full = false
		if rec, _ := p.Task(t.Context(), 2); rec.Spec.RateLimit != 5 {
			t.Errorf("%d after a failed change", rec.Spec.RateLimit)
		}
		p.crash()
		got = [2]int64{}
		p = d.boot(t, run, resident(1))
		time.Sleep(time.Hour)
		synctest.Wait()
		if got != [2]int64{7, 5} {
			t.Errorf("in the next process %v", got)
		}
		p.Cancel(t.Context(), 1)
		synctest.Wait()
		if err := p.SetRateLimit(t.Context(), 1, 9); err != nil {
			t.Errorf("of a task that has ended: %v", err)
		}
	})
}
