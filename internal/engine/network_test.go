package engine_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// network is an engine.Network under a test's control.
type network struct {
	changes            chan struct{}
	expensive, limited atomic.Bool
}

func (n *network) Online() bool                                { return true }
func (n *network) Changes(ctx context.Context) <-chan struct{} { return n.changes }
func (n *network) Metered() (bool, bool)                       { return n.expensive.Load(), n.limited.Load() }
func withNetwork(n *network) func(*engine.Options)             { return func(o *engine.Options) { o.Network = n } }
func unreachable(context.Context, *transfer.Attempt) (transfer.Result, error) {
	return transfer.Result{}, &task.Error{Op: "connect", Code: task.CannotConnect, Unsent: true}
}

func TestWaitsForConnectivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{changes: make(chan struct{})}
		var up atomic.Bool
		var tries atomic.Int32
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			tries.Add(1)
			if up.Load() {
				return answer(200)(ctx, a)
			}
			return unreachable(ctx, a)
		}, withNetwork(n))
		patient := func(s *task.Spec) { s.Policy.WaitsForConnectivity = true }
		id := create(t, e, get("http://h/", patient))
		time.Sleep(10 * time.Minute)
		rec, _ := e.Task(t.Context(), id)
		if rec.State != task.Running || rec.Waiting == nil || rec.Waiting.Reason != task.WaitConnectivity {
			t.Fatalf("%s, waiting %+v", rec.State, rec.Waiting)
		}
		if n := tries.Load(); n > 30 {
			t.Errorf("%d tries in ten minutes", n)
		}
		up.Store(true)
		before := time.Now()
		n.changes <- struct{}{}
		evs := collect(t, e, id)
		if time.Since(before) != 0 {
			t.Errorf("after the network came back it waited %v", time.Since(before))
		}
		if c := strings.Count(names(evs), "waiting"); c != 1 {
			t.Errorf("the wait was told %d times: %s", c, names(evs))
		}
	})
}

func TestMeteredNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{changes: make(chan struct{})}
		n.expensive.Store(true)
		e := start(t, answer(200), withNetwork(n))
		frugal := func(s *task.Spec) { s.Policy.AllowsExpensive = false }
		rec := end(t, e, create(t, e, get("http://h/", frugal)))
		if rec.Failure == nil || rec.Failure.Code != task.DataNotAllowed {
			t.Errorf("ended with %v", rec.Failure.Err())
		}
		waits := create(t, e, get("http://h/", frugal, func(s *task.Spec) { s.Policy.WaitsForConnectivity = true }))
		synctest.Wait()
		n.expensive.Store(false)
		if rec := end(t, e, waits); rec.Failure != nil {
			t.Errorf("ended with %v", rec.Failure.Err())
		}
	})
}

func TestNetworkChangeDoesNotCutABackOffShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{changes: make(chan struct{}, 1)}
		var begun []time.Time
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			begun = append(begun, time.Now())
			if a.Number == 1 {
				return unreachable(ctx, a)
			}
			return answer(500)(ctx, a)
		}, withNetwork(n))
		id := create(t, e, get("http://h/", retries(8), func(s *task.Spec) { s.Policy.WaitsForConnectivity = true }))
		for ev, err := range e.Events(t.Context(), task.EventQuery{Task: id}) {
			if err != nil {
				t.Fatal(err)
			}
			if w, ok := ev.Detail.(task.WillRetry); ok {
				select {
				case n.changes <- struct{}{}:
				default: // nobody watches the network any more
				}
				time.Sleep(time.Until(w.At))
				synctest.Wait()
				if last := begun[len(begun)-1]; last.Before(w.At) {
					t.Fatalf("an attempt began %v too early", w.At.Sub(last))
				}
			}
		}
	})
}

func TestResumedTaskTriesTheNetworkAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries int
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			tries++
			return unreachable(ctx, a)
		})
		ctx := t.Context()
		id := create(t, e, get("http://h/", func(s *task.Spec) { s.Policy.WaitsForConnectivity = true }))
		time.Sleep(10 * time.Minute)
		e.Suspend(ctx, id)
		before := tries
		time.Sleep(time.Hour)
		synctest.Wait()
		if tries != before {
			t.Errorf("%d tries while it was suspended", tries-before)
		}
		e.Resume(ctx, id)
		synctest.Wait()
		if tries != before+1 {
			t.Errorf("%d tries at its resumption", tries-before)
		}
		e.Cancel(ctx, id)
		if n := strings.Count(names(collect(t, e, id)), "waiting"); n != 2 {
			t.Errorf("two waits were told %d times", n)
		}
	})
}
