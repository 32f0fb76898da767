package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// Queued tasks stay in the store, whether a process has made them or found them there, and go by priority all the same.
func TestQueuedTasksAreNotInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, room = 2000, 20
		d := newDisk()
		ctx := t.Context()
		p := d.boot(t, hang, resident(room))
		want := make([]task.ID, 0, n)
		for i := range n {
			priority := task.PriorityDefault
			if i%2 == 1 {
				priority = task.PriorityHigh
			}
			id := create(t, p.Engine, get("http://h/", func(s *task.Spec) { s.Priority = priority }))
			want = append(want, id)
		}
		synctest.Wait()
		if got := p.InMemory(); got > room+1 || p.Alive() != n {
			t.Fatalf("%d of %d tasks are in memory", got, p.Alive())
		}
		p.crash()

		var mu sync.Mutex
		var order []task.ID
		most := 0
		p = d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			mu.Lock()
			order = append(order, a.ID)
			mu.Unlock()
			time.Sleep(time.Second)
			return answer(200)(ctx, a)
		}, resident(room), func(o *engineOptions) { o.MaxPerHost = 1 })
		for !slices.Equal([]int{p.Alive()}, []int{0}) {
			most = max(most, p.InMemory())
			time.Sleep(100 * time.Millisecond)
		}
		if most > room {
			t.Errorf("%d tasks were in memory", most)
		}
		slices.SortStableFunc(want, func(a, b task.ID) int { return int(a%2) - int(b%2) }) // even numbers have the high priority
		// The first page is dispatched as it is read: task 1 comes before any of the others is known.
		if i := slices.Index(order, 1); i > 0 {
			order = slices.Insert(slices.Delete(slices.Clone(order), i, i+1), 0, 1)
		}
		want = slices.DeleteFunc(want, func(id task.ID) bool { return id == 1 })
		if got := slices.DeleteFunc(slices.Clone(order), func(id task.ID) bool { return id == 1 }); !slices.Equal(got, want) {
			t.Errorf("they ran in the order %v…", got[:20])
		}
		for ev, err := range p.Events(ctx, task.EventQuery{DurableOnly: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := ev.Detail.(task.EventsCompleted); ok {
				break
			}
		}
	})
}

// What is asked of a task is done although it is not in memory.
func TestCommandsOnTasksThatAreNotInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		ctx := t.Context()
		release := make(chan struct{})
		var mu sync.Mutex
		var order []task.ID
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			mu.Lock()
			order = append(order, a.ID)
			mu.Unlock()
			select {
			case <-release:
				return answer(200)(ctx, a)
			case <-ctx.Done():
				return transfer.Result{}, context.Cause(ctx)
			}
		}, resident(1), func(o *engineOptions) { o.MaxPerHost = 1 })
		for range 10 {
			create(t, p.Engine, get("http://h/"))
		}
		synctest.Wait()
		if n := p.InMemory(); n > 2 {
			t.Fatalf("%d tasks in memory", n)
		}
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if n := p.InMemory(); n > 2 {
				t.Errorf("%d tasks in memory", n)
			}
		}
		rec, err := p.Task(ctx, 5)
		do(err)
		if rec.Waiting == nil || rec.Waiting.Reason != task.WaitHostLimit {
			t.Errorf("waiting: %+v", rec.Waiting)
		}
		do(p.Suspend(ctx, 4))
		do(p.Suspend(ctx, 4))
		do(p.Resume(ctx, 4))
		do(p.Suspend(ctx, 5))
		do(p.Resume(ctx, 5))
		do(p.Cancel(ctx, 6))
		do(p.SetPriority(ctx, 9, task.PriorityHigh))
		do(p.SetPriority(ctx, 2, task.PriorityLow))
		do(p.ReplaceURL(ctx, 7, "http://g/"))
		if rec, _ := p.Task(ctx, 4); rec.State != task.Suspended || rec.SuspendCount != 1 {
			t.Errorf("suspended: %+v", rec)
		}
		n := 0
		for rec, err := range p.Tasks(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; rec.State == task.Running && rec.Waiting == nil && rec.ID != 1 && rec.ID != 7 {
				t.Errorf("task %d does not say what it waits for", rec.ID)
			}
		}
		// A listener keeps its task in memory.
		heard := make(chan string)
		go func() { heard <- names(collect(t, p.Engine, 3)) }()
		synctest.Wait()
		close(release)
		if s := <-heard; s != "sessioneventscompleted responsereceived sessioncompleted" {
			t.Errorf("a listener heard %s", s)
		}
		synctest.Wait()
		do(p.Resume(ctx, 4))
		if p.Alive() != 0 || n != 10 {
			t.Errorf("%d of %d tasks are left", p.Alive(), n)
		}
		if s := fmt.Sprint(order); s != "[1 7 9 3 5 8 10 2 4]" {
			t.Errorf("they ran in the order %s", s)
		}
	})
}

func TestInvalidateCancelsTasksThatAreNotInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, hang, resident(1))
		for i := range 3000 {
			create(t, p.Engine, get(fmt.Sprintf("http://h%d/", i%3), func(s *task.Spec) { s.Suspended = i%4 == 0 }))
		}
		p.Invalidate(t.Context())
		n := 0
		for ev, err := range p.Events(t.Context(), task.EventQuery{DurableOnly: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if done, ok := ev.Detail.(task.SessionCompleted); ok {
				if n++; done.Code != task.Cancelled {
					t.Errorf("task %d ended with %d", ev.Task, done.Code)
				}
			}
		}
		synctest.Wait()
		if n != 3000 || p.Alive() != 0 || p.InMemory() != 0 {
			t.Errorf("%d tasks ended, %d are left", n, p.Alive())
		}
	})
}

func TestDeadlineOfATaskThatIsNotInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, hang, resident(1), func(o *engineOptions) { o.MaxPerHost = 1 })
		create(t, p.Engine, get("http://h/"))
		var ids []task.ID
		for range 5 {
			ids = append(ids, create(t, p.Engine, get("http://h/", timeout(2*time.Hour))))
		}
		time.Sleep(time.Hour)
		p.crash()
		d.boot(t, hang, resident(1), func(o *engineOptions) { o.MaxPerHost = 1 })
		time.Sleep(time.Hour + time.Second)
		for _, id := range ids {
			if rec := d.record(t, id); rec.State != task.Completed || rec.Failure.Code != task.TimedOut {
				t.Errorf("task %d after its time: %+v", id, rec)
			}
		}
	})
}

// A store that cannot be read for a while only delays.
func TestTaskThatCannotBeReadIsReadLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, hang)
		id := create(t, p.Engine, get("http://h/"))
		p.crash()
		p = &process{}
		p.unreadable.Store(true)
		d.start(t, p, answer(200))
		synctest.Wait()
		p.unreadable.Store(false)
		begun := time.Now()
		end(t, p.Engine, id)
		if d := time.Since(begun); d > time.Minute {
			t.Errorf("it ran after %v", d)
		}
	})
}

// Whatever is done to tasks, and whenever the process crashes, each ends once, and no event is lost or told twice.
func TestCrashesAtAnyMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tasks, rounds = 200, 25
		d := newDisk()
		ctx := t.Context()
		var running [tasks + 1]atomic.Int32
		var generation atomic.Int32
		run := func(mine int32) runFunc {
			return func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
				if generation.Load() == mine {
					if n := running[a.ID].Add(1); n > 1 {
						t.Errorf("task %d runs %d times at once", a.ID, n)
					}
					defer func() {
						if generation.Load() == mine {
							running[a.ID].Add(-1)
						}
					}()
				}
				select {
				case <-time.After(rand.N(20 * time.Second)):
				case <-ctx.Done():
					return transfer.Result{}, context.Cause(ctx)
				}
				switch rand.N(4) {
				case 0:
					return unreachable(ctx, a)
				case 1:
					return answer(503)(ctx, a)
				}
				return answer(200)(ctx, a)
			}
		}
		made := 0
		for round := int32(0); ; round++ {
			for i := range running {
				running[i].Store(0)
			}
			generation.Store(round)
			p := d.boot(t, run(round), resident(5), func(o *engineOptions) { o.MaxPerHost = 4 })
			stored, _ := d.Tasks(ctx, 0, 1<<20)
			made = len(stored)
			if round == rounds {
				for made < tasks {
					create(t, p.Engine, get(fmt.Sprintf("http://h%d/", rand.N(3)), retries(-1)))
					made++
				}
				for id := range task.ID(tasks) {
					for rec, _ := p.Task(ctx, id+1); rec.State == task.Suspended; rec, _ = p.Task(ctx, id+1) {
						p.Resume(ctx, id+1)
					}
					end(t, p.Engine, id+1)
				}
				if n := p.Alive(); n != 0 {
					t.Errorf("%d tasks are left", n)
				}
				break
			}
			over := time.Now().Add(rand.N(time.Minute))
			for time.Now().Before(over) {
				id := task.ID(rand.N(made+1) + 1)
				switch n := rand.N(10); {
				case n < 3 && made < tasks:
					create(t, p.Engine, get(fmt.Sprintf("http://h%d/", rand.N(3)), retries(-1), func(s *task.Spec) { s.Suspended = rand.N(4) == 0 }))
					made++
				case n < 5:
					p.Suspend(ctx, id)
				case n < 8:
					p.Resume(ctx, id)
				case n == 8:
					p.SetPriority(ctx, id, task.Priority(rand.Float64()))
				case rand.N(4) == 0:
					p.Cancel(ctx, id)
				}
				time.Sleep(rand.N(2 * time.Second))
			}
			p.crash()
			stop, cancel := context.WithCancel(ctx)
			cancel()
			p.Stop(stop)
		}
		ends := map[task.ID]int{}
		for i, ev := range d.log(t, 0) {
			if ev.Sequence != uint64(i+1) {
				t.Fatalf("event %d has number %d", i+1, ev.Sequence)
			}
			if ends[ev.Task] > 0 {
				t.Errorf("%s of task %d after its end", ev.Detail.EventName(), ev.Task)
			}
			if strings.HasPrefix(ev.Detail.EventName(), "sessioncompleted") {
				ends[ev.Task]++
			}
		}
		if len(ends) != tasks {
			t.Errorf("%d tasks of %d ended", len(ends), tasks)
		}
	})
}

// crowd is a store that has many queued tasks to tell of, and no memory of its own.
type crowd struct {
	*memstore.Store
	n task.ID
}

func (c crowd) Pending(_ context.Context, after task.ID, limit int) ([]store.Pending, error) {
	deadline := time.Now().Add(7 * 24 * time.Hour)
	var list []store.Pending
	for id := after + 1; id <= c.n && len(list) < limit; id++ {
		list = append(list, store.Pending{ID: id, State: task.Running, Priority: task.PriorityDefault, Deadline: deadline,
			URL: fmt.Sprintf("http://h%d/", id%7)})
	}
	return list, nil
}

// A queued task costs a place in its host's queue and one in the agenda: a million fit.
func TestMemoryOfAQueue(t *testing.T) {
	const n = 200_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begun := time.Now()
	e, err := engine.Open(t.Context(), engineOptions{Store: crowd{memstore.New("s"), n}, Run: hang})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	if got := e.Alive(); got != n {
		t.Errorf("%d tasks are known", got)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / n
	t.Logf("%d bytes a task; opened in %v", each, took)
	if each > 128 {
		t.Errorf("%d bytes a task", each)
	}
	stop, cancel := context.WithCancel(t.Context())
	cancel()
	e.Stop(stop)
}
