package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

func TestHostLimitAndPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, peak atomic.Int32
		var mu sync.Mutex
		var order []task.ID
		release := make(chan struct{})
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			peak.Store(max(peak.Load(), now.Add(1)))
			defer now.Add(-1)
			mu.Lock()
			order = append(order, a.ID)
			mu.Unlock()
			<-release
			return transfer.Result{}, nil
		}, func(o *engine.Options) { o.MaxPerHost = 2 })
		prio := func(p task.Priority) task.Spec {
			return get("http://h/", func(s *task.Spec) { s.Priority = p })
		}
		create(t, e, prio(0)) // 1 and 2 run at once
		create(t, e, prio(0))
		create(t, e, prio(task.PriorityLow))  // 3
		create(t, e, prio(0))                 // 4
		create(t, e, prio(task.PriorityHigh)) // 5
		last := create(t, e, prio(task.PriorityLow))
		other := create(t, e, get("http://other/"))
		synctest.Wait()
		if rec, _ := e.Task(t.Context(), 4); rec.State != task.Running || rec.Waiting == nil || rec.Waiting.Reason != task.WaitHostLimit {
			t.Errorf("a task above the limit: %s, waiting %+v", rec.State, rec.Waiting)
		}
		if now.Load() != 3 {
			t.Errorf("%d attempts at once, want 2 of a host and 1 of the other", now.Load())
		}
		if err := e.SetPriority(t.Context(), last, 1); err != nil {
			t.Error(err)
		}
		for range 7 {
			release <- struct{}{}
			synctest.Wait()
		}
		if i := slices.Index(order, other); i > 2 {
			t.Errorf("the other host's task waited for this one's: order %v", order)
		}
		order = slices.DeleteFunc(order, func(id task.ID) bool { return id <= 2 || id == other })
		if fmt.Sprint(order) != "[6 5 4 3]" {
			t.Errorf("order of the waiting ones: %v", order)
		}
		if peak.Load() != 3 {
			t.Errorf("peak %d", peak.Load())
		}
	})
}

func TestRetryAfterHoldsTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		begun := map[task.ID][]time.Duration{}
		from := time.Now()
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			mu.Lock()
			begun[a.ID] = append(begun[a.ID], time.Since(from))
			mu.Unlock()
			if a.ID == 1 && a.Number == 1 {
				return answer(503, "Retry-After", "120")(ctx, a)
			}
			return answer(200)(ctx, a)
		})
		one := create(t, e, get("http://h/", retries(1)))
		synctest.Wait()
		two := create(t, e, get("http://h/"))
		three := create(t, e, get("http://other/"))
		rec, _ := e.Task(t.Context(), two)
		if rec.Waiting == nil || rec.Waiting.Reason != task.WaitRetry || rec.Waiting.Until.IsZero() {
			t.Errorf("the host's other task waits for %+v", rec.Waiting)
		}
		end(t, e, one)
		end(t, e, two)
		end(t, e, three)
		if d := begun[one][1]; d < 120*time.Second {
			t.Errorf("retried after %v", d)
		}
		if d := begun[two][0]; d < 120*time.Second {
			t.Errorf("the host's other task began after %v", d)
		}
		if d := begun[three][0]; d != 0 {
			t.Errorf("another host's task began after %v", d)
		}
	})
}

func TestMultiplexedHost(t *testing.T) {
	for _, c := range []struct {
		name, from string // the URL that answers
		want       int32
	}{
		{"its own answer", "https://h/", 100},
		{"another host's, after a redirect", "https://cdn/", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var now atomic.Int32
				e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
					now.Add(1)
					defer now.Add(-1)
					a.Observer.Response(ctx, &task.Response{URL: c.from, Status: 200, Proto: "HTTP/2.0"})
					return hang(ctx, a)
				}, func(o *engine.Options) { o.MaxPerHost = 2 })
				for range 150 {
					create(t, e, get("https://h:443/"))
				}
				synctest.Wait()
				if now.Load() != c.want {
					t.Errorf("%d attempts at once, want %d", now.Load(), c.want)
				}
			})
		})
	}
}

func TestHeldHostEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, answer(503, "Retry-After", "86400"))
		create(t, e, get("http://h/", retries(1)))
		synctest.Wait()
		waits := create(t, e, get("http://h/", func(s *task.Spec) { s.Policy.ResourceTimeout = time.Hour }))
		begun := time.Now()
		if rec := end(t, e, waits); rec.Failure == nil || rec.Failure.Code != task.TimedOut || time.Since(begun) != time.Hour {
			t.Errorf("after %v: %v", time.Since(begun), rec.Failure.Err())
		}
		e.Close()
		if time.Since(begun) != time.Hour {
			t.Error("Close waited for the host")
		}
	})
}

func TestPriorityOfARunningTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			for range 100 {
				if spec := *a.Spec; spec.Priority != task.PriorityDefault {
					t.Error("the attempt's Spec was changed")
				}
				time.Sleep(time.Millisecond)
			}
			return transfer.Result{}, nil
		})
		id := create(t, e, get("http://h/"))
		synctest.Wait()
		for range 100 {
			e.SetPriority(t.Context(), id, task.PriorityHigh)
			time.Sleep(time.Millisecond)
		}
		if rec := end(t, e, id); rec.Spec.Priority != task.PriorityHigh {
			t.Errorf("priority %v", rec.Spec.Priority)
		}
	})
}
