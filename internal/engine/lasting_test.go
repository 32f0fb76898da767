package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// fullUnless is the error of a disk that has room only later.
func fullUnless(roomy *atomic.Bool) error {
	if roomy.Load() {
		return nil
	}
	return store.ErrFull
}

func patient(s *task.Spec) { s.Policy.WaitsForConnectivity = true }

// A POST of which nothing has left waits for the network, however often it was tried; a kill does not make it look sent.
func TestUnsafeRequestThatWaitsForTheNetworkSurvives(t *testing.T) {
	for _, kill := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			p := d.boot(t, unreachable)
			id := create(t, p.Engine, get("http://h/", method("POST"), patient))
			time.Sleep(time.Hour)
			if kill {
				p.crash()
			} else {
				p.Stop(t.Context())
			}
			p = d.boot(t, answer(200))
			if rec := end(t, p.Engine, id); rec.Failure != nil {
				t.Errorf("killed %v: it ended with %v", kill, rec.Failure.Err())
			}
		})
	}
}

// The tries of a wait do not pile up what is to be told.
func TestWaitForTheNetworkDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			_, err := unreachable(ctx, a)
			return transfer.Result{Transactions: make([]task.Transaction, 1)}, err
		})
		id := create(t, p.Engine, get("http://h/", patient))
		time.Sleep(24 * time.Hour)
		p.Cancel(t.Context(), id)
		end(t, p.Engine, id)
		if n := len(d.log(t, id)); n > 5 {
			t.Errorf("%d events", n)
		}
	})
}

// A task that waits in a long queue leaves no more behind with each attempt.
func TestAgendaDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, func(context.Context, *transfer.Attempt) (transfer.Result, error) {
			time.Sleep(10 * time.Second)
			return transfer.Result{}, lost(true)
		}, resident(1), func(o *engineOptions) { o.MaxPerHost = 1 })
		const n = 50
		for range n {
			create(t, p.Engine, get("http://h/", retries(-1)))
		}
		time.Sleep(24 * time.Hour)
		if dates := p.Dates(); dates > 2*n+1100 {
			t.Errorf("%d dates of %d tasks", dates, n)
		}
	})
}

// A plan full of dates of tasks that have ended, as a million deadlines of an earlier process, is not tidied at each push: it
// would take hours.
func TestAgendaOfEndedTasks(t *testing.T) { engine.PlanEnded(1 << 17) }

// A disk that takes no end of a task has the session pause, not hold the results of all its tasks in memory.
func TestFullStoreBoundsWhatIsHeld(t *testing.T) {
	for name, run := range map[string]runFunc{"end": answer(200), "retry": fail(lost(true))} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			var roomy atomic.Bool
			p := d.start(t, &process{beforeSave: func(*task.Record) error { return fullUnless(&roomy) }}, run, resident(1))
			for range 1000 {
				create(t, p.Engine, get("http://h/", retries(-1)))
			}
			time.Sleep(10 * time.Minute)
			if n := p.InMemory(); n > 300 {
				t.Errorf("%s: %d tasks are in memory", name, n)
			}
			roomy.Store(true)
			if name == "end" {
				time.Sleep(10 * time.Minute)
				if n := p.Alive(); n != 0 {
					t.Errorf("with room again, %d tasks do not go on", n)
				}
			}
		})
	}
}

// The session's end is stored as soon as the disk takes it, once.
func TestEndOfSessionThatCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		var roomy atomic.Bool
		p := d.start(t, &process{beforeAppend: func() error { return fullUnless(&roomy) }}, answer(200))
		p.Finish(t.Context())
		time.Sleep(time.Minute)
		roomy.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		invalidated := 0
		for ev, err := range p.Events(ctx, task.EventQuery{DurableOnly: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := ev.Detail.(task.Invalidated); ok {
				invalidated++
			}
		}
		if st, _ := d.State(ctx); invalidated != 1 || st != store.Invalidated {
			t.Errorf("it was told %d times; the session is %s", invalidated, st)
		}
	})
}

// A cancel that has returned lasts.
func TestCancelLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, hang)
		id := create(t, p.Engine, get("http://h/", download))
		synctest.Wait()
		p.Suspend(t.Context(), id)
		synctest.Wait()
		p.crash()
		p = d.boot(t, func(context.Context, *transfer.Attempt) (transfer.Result, error) {
			time.Sleep(time.Second)
			return transfer.Result{}, errors.New("too late")
		})
		if err := p.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		p.crash()
		if rec := d.record(t, id); rec.State != task.Canceling {
			t.Errorf("after the cancel had returned it is %s", rec.State)
		}
	})
}

// A request that must not be sent twice is not, when its URL is replaced: it may have been applied at the old one.
func TestReplacedURLOfAnUnsafeRequestUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l attempts
		p := newDisk().boot(t, l.run(func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			select {
			case <-time.After(time.Minute):
				return transfer.Result{}, lost(a.Number == 1)
			case <-ctx.Done():
				t.Error("it was broken off")
				return transfer.Result{}, context.Cause(ctx)
			}
		}))
		id := create(t, p.Engine, get("http://h/", method("POST"), retries(-1)))
		time.Sleep(time.Second)
		if err := p.ReplaceURL(t.Context(), id, "http://g/"); err != nil {
			t.Fatal(err)
		}
		rec := end(t, p.Engine, id)
		if list := l.list(); len(list) != 2 || list[1].Spec.Request.URL != "http://g/" || !errors.Is(rec.Failure.Err(), task.ConnectionLost) {
			t.Errorf("%d attempts, then %v", len(list), rec.Failure.Err())
		}
	})
}

// A creation that fails while the last task ends does not take the wake-up with it.
func TestFailedCreationAndTheLastEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls calls
		p := newDisk().start(t, &process{beforeCreate: func(n int) error {
			if n == 1 {
				return nil
			}
			time.Sleep(time.Hour)
			return store.ErrFull
		}}, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			time.Sleep(time.Minute)
			return answer(200)(ctx, a)
		}, calls.count)
		create(t, p.Engine, get("http://h/"))
		if _, err := p.Create(t.Context(), get("http://h/"), nil); !errors.Is(err, task.CannotWriteFile) {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		calls.expect(t, 1, "after the creation failed")
	})
}

// Waits and retries take the place of those before that nobody was told of, also of a task that left memory in between.
func TestRetriesOfTasksThatAreNotInMemoryCollapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, func(context.Context, *transfer.Attempt) (transfer.Result, error) {
			return transfer.Result{Transactions: make([]task.Transaction, 1)}, lost(true)
		}, resident(1))
		const n = 20
		for range n {
			create(t, p.Engine, get("http://h/", retries(-1)))
		}
		time.Sleep(24 * time.Hour)
		if events := len(d.log(t, 0)); events > 3*n {
			t.Errorf("%d events of %d tasks", events, n)
		}
	})
}

// A task whose URL was replaced while it was in the store alone does not run by its place among the tasks of the old host.
func TestReplacedURLKeepsTheLimitOfItsHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		release := make(chan struct{})
		p := newDisk().boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if a.Spec.Request.URL == "http://h/" {
				<-release
				return answer(200)(ctx, a)
			}
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(time.Minute)
			running.Add(-1)
			return answer(200)(ctx, a)
		}, resident(1), func(o *engineOptions) { o.MaxPerHost = 1 })
		for range 10 {
			create(t, p.Engine, get("http://h/"))
		}
		for id := task.ID(5); id <= 10; id++ {
			if err := p.ReplaceURL(t.Context(), id, "http://g/"); err != nil {
				t.Fatal(err)
			}
		}
		close(release)
		time.Sleep(time.Hour)
		if p.Alive() != 0 || most.Load() != 1 {
			t.Errorf("%d are left; %d at once", p.Alive(), most.Load())
		}
	})
}

// A suspend or resume that the store does not take has not been.
func TestSuspendThatCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		p := newDisk().start(t, &process{beforeSave: func(*task.Record) error {
			if full.Load() {
				return store.ErrFull
			}
			return nil
		}}, hang)
		ctx := t.Context()
		id := create(t, p.Engine, get("http://h/"))
		synctest.Wait()
		expect := func(want task.State, n int) {
			t.Helper()
			synctest.Wait()
			if rec, _ := p.Task(ctx, id); rec.State != want || rec.SuspendCount != n {
				t.Errorf("it is %s, suspended %d times", rec.State, rec.SuspendCount)
			}
		}
		full.Store(true)
		if err := p.Suspend(ctx, id); !errors.Is(err, task.CannotWriteFile) {
			t.Errorf("got %v", err)
		}
		expect(task.Running, 0)
		full.Store(false)
		p.Suspend(ctx, id)
		expect(task.Suspended, 1)
		full.Store(true)
		if err := p.Resume(ctx, id); !errors.Is(err, task.CannotWriteFile) {
			t.Errorf("got %v", err)
		}
		expect(task.Suspended, 1)
		full.Store(false)
		p.Resume(ctx, id)
		expect(task.Running, 0)
	})
}
