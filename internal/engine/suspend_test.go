package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

func TestSuspendNestsAndStopsTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts atomic.Int32
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			attempts.Add(1)
			return hang(ctx, a)
		})
		ctx := t.Context()
		id := create(t, e, get("http://h/", func(s *task.Spec) {
			s.Suspended = true
			s.Policy.ResourceTimeout = time.Hour
		}))
		state := func(want task.State, wantAttempts int32) {
			t.Helper()
			synctest.Wait()
			rec, err := e.Task(ctx, id)
			if err != nil || rec.State != want || attempts.Load() != wantAttempts {
				t.Fatalf("state %s after %d attempts (%v); want %s after %d", rec.State, attempts.Load(), err, want, wantAttempts)
			}
		}
		state(task.Suspended, 0)
		time.Sleep(2 * time.Hour) // suspended time does not count
		e.Suspend(ctx, id)
		e.Resume(ctx, id)
		state(task.Suspended, 0)
		e.Resume(ctx, id)
		state(task.Running, 1)
		time.Sleep(59 * time.Minute)
		e.Suspend(ctx, id)
		state(task.Suspended, 1)
		time.Sleep(2 * time.Hour)
		e.Resume(ctx, id)
		e.Resume(ctx, id) // one too many does nothing
		state(task.Running, 2)
		time.Sleep(59 * time.Second)
		state(task.Running, 2)
		time.Sleep(2 * time.Second)
		state(task.Completed, 2)
		rec, _ := e.Task(ctx, id)
		if rec.Failure == nil || rec.Failure.Code != task.TimedOut {
			t.Errorf("ended with %+v", rec.Failure)
		}
	})
}

func TestSuspendAndResumeBeforeTheAttemptReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts atomic.Int32
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if attempts.Add(1) == 1 {
				<-ctx.Done()
				time.Sleep(time.Second) // a last checkpoint
				return transfer.Result{}, context.Cause(ctx)
			}
			return transfer.Result{}, nil
		})
		id := create(t, e, get("http://h/"))
		synctest.Wait()
		e.Suspend(t.Context(), id)
		e.Resume(t.Context(), id)
		if rec := end(t, e, id); rec.Failure != nil || attempts.Load() != 2 {
			t.Errorf("%d attempts, %+v", attempts.Load(), rec.Failure)
		}
	})
}

func TestResumedInABackOffItGoesOnWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, steps(answer(503, "Retry-After", "120"), answer(200)))
		ctx, begun := t.Context(), time.Now()
		id := create(t, e, get("http://h/", retries(1)))
		synctest.Wait()
		e.Suspend(ctx, id)
		time.Sleep(time.Minute)
		e.Resume(ctx, id)
		rec, _ := e.Task(ctx, id)
		if w := rec.Waiting; w == nil || w.Reason != task.WaitRetry || w.Until.IsZero() || w.Error == nil {
			t.Errorf("resumed it waits for %+v", w)
		}
		end(t, e, id)
		if d := time.Since(begun); d != 2*time.Minute {
			t.Errorf("it ended after %v", d)
		}
	})
}

func TestSuspendWhileADecisionIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, answer(200))
		ctx := t.Context()
		id := create(t, e, get("http://h/", func(s *task.Spec) { s.Policy.Ask.Response = true }))
		var asked []string
		for ev, err := range e.Events(ctx, task.EventQuery{Task: id}) {
			if err != nil {
				t.Fatal(err)
			}
			d, ok := ev.Detail.(task.ResponseReceived)
			if !ok {
				continue
			}
			if asked = append(asked, d.Ticket); len(asked) == 1 {
				e.Suspend(ctx, id)
				synctest.Wait()
				if err := e.Answer(ctx, id, d.Ticket, task.Decision{}); !errors.Is(err, task.ResourceUnavailable) {
					t.Errorf("an answer to the question of an attempt that was stopped: %v", err)
				}
				e.Resume(ctx, id)
			} else if err := e.Answer(ctx, id, d.Ticket, task.Decision{}); err != nil {
				t.Error(err)
			}
		}
		if rec := end(t, e, id); rec.Failure != nil || len(asked) != 2 || asked[0] == asked[1] {
			t.Errorf("tickets %q, %v", asked, rec.Failure.Err())
		}
	})
}
