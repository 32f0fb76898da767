package engine_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// power is an engine.Power under a test's control.
type power struct {
	mu      sync.Mutex
	battery bool
	watches map[chan struct{}]bool
	begun   atomic.Int32
}

func (p *power) Plugged() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.battery
}

func (p *power) Changes(ctx context.Context) <-chan struct{} {
	ch := make(chan struct{}, 1)
	p.begun.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watches == nil {
		p.watches = make(map[chan struct{}]bool)
	}
	p.watches[ch] = true
	context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.watches, ch)
		close(ch)
	})
	return ch
}

func (p *power) set(battery bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.battery = battery
	for ch := range p.watches {
		select {
		case ch <- struct{}{}:
		default:
		}
	}

}

func (p *power) watched() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.watches)
}

func withPower(p *power) func(*engine.Options) { return func(o *engine.Options) { o.Power = p } }
func discretionary(s *task.Spec)               { s.Policy.Discretionary = true }

func TestDiscretionaryTaskWaitsForPower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &power{battery: true}
		e := start(t, answer(200), withPower(p))
		end(t, e, create(t, e, get("http://h/")))
		if p.begun.Load() != 0 {
			t.Error("power is watched, and no task is discretionary")
		}
		var ids []task.ID
		for range 50 {
			ids = append(ids, create(t, e, get("http://h/", discretionary)))
		}
		begun := time.Now()
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, id := range ids {
			rec, _ := e.Task(t.Context(), id)
			if w := rec.Waiting; w == nil || w.Reason != task.WaitDiscretionary || w.Detail != "power" || !w.Since.Equal(begun) || rec.Attempt != 0 {
				t.Fatalf("task %d waits for %+v after %d attempts", id, w, rec.Attempt)
			}
		}
		if n := p.watched(); n != 1 || p.begun.Load() != 1 {
			t.Errorf("%d watches", n)
		}
		if rec := end(t, e, create(t, e, get("http://h/"))); rec.Failure != nil {
			t.Errorf("one that is not discretionary: %v", rec.Failure.Err())
		}
		p.set(false)
		for _, id := range ids {
			if s := strings.ReplaceAll(names(collect(t, e, id)), "sessioneventscompleted ", ""); s != "waiting responsereceived sessioncompleted" {
				t.Errorf("events: %s", s)
			}
		}
		synctest.Wait()
		if n := p.watched(); n != 0 {
			t.Errorf("%d watches at the end", n)
		}
	})
}

func TestDiscretionaryTaskWaitsForTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{changes: make(chan struct{})}
		n.limited.Store(true)
		e := start(t, answer(200), withNetwork(n))
		id := create(t, e, get("http://h/", discretionary))
		synctest.Wait()
		if rec, _ := e.Task(t.Context(), id); rec.Waiting == nil || rec.Waiting.Detail != "network" {
			t.Errorf("waiting: %+v", rec.Waiting)
		}
		n.changes <- struct{}{}
		synctest.Wait()
		n.limited.Store(false)
		before := time.Now()
		n.changes <- struct{}{}
		end(t, e, id)
		if time.Since(before) != 0 {
			t.Errorf("it waited %v", time.Since(before))
		}
		n.expensive.Store(true) // of which the machine does not tell
		id = create(t, e, get("http://h/", discretionary))
		synctest.Wait()
		n.expensive.Store(false)
		end(t, e, id)
	})
}

// The attempt stops as by a suspension: what it holds is kept, and it costs no retry.
func TestPowerGoesInTheMidst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, p := newDisk(), &power{}
		held := &task.ResumeData{Version: 1, URL: "http://h/", Total: 10, Part: "/p"}
		run := func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if a.Number%2 == 0 || a.Spec.Request.Method == "POST" {
				time.Sleep(time.Minute)
				return answer(200)(ctx, a)
			}
			<-ctx.Done()
			return transfer.Result{ResumeData: held}, context.Cause(ctx)
		}
		e := d.boot(t, run, withPower(p))
		id := create(t, e.Engine, get("http://h/", discretionary, download))
		post := create(t, e.Engine, get("http://h/", discretionary, method("POST")))
		time.Sleep(time.Second)
		p.set(true)
		synctest.Wait()
		rec, _ := e.Task(t.Context(), id)
		if w := rec.Waiting; w == nil || w.Reason != task.WaitDiscretionary || rec.ResumeData == nil || rec.Retries != 0 || rec.State != task.Running {
			t.Errorf("%s, waiting for %+v, holding %+v", rec.State, w, rec.ResumeData)
		}
		if rec, _ := e.Task(t.Context(), post); rec.Waiting != nil {
			t.Errorf("the POST, which must not be sent twice, waits: %+v", rec.Waiting)
		}
		if rec := end(t, e.Engine, post); rec.Failure != nil || rec.Attempt != 1 {
			t.Errorf("the POST ended with %v after %d attempts", rec.Failure.Err(), rec.Attempt)
		}
		e.crash()

		e = d.boot(t, run, withPower(p))
		time.Sleep(time.Hour)
		if rec, _ := e.Task(t.Context(), id); rec.Waiting == nil || rec.Waiting.Reason != task.WaitDiscretionary || rec.Attempt != 1 {
			t.Errorf("after a restart on battery: %+v after %d attempts", rec.Waiting, rec.Attempt)
		}
		e.crash()
		p.set(false)
		e = d.boot(t, run, withPower(p))
		if rec := end(t, e.Engine, id); rec.Failure != nil || rec.Attempt != 2 {
			t.Errorf("after a restart with power: %v after %d attempts", rec.Failure.Err(), rec.Attempt)
		}
	})
}

// More tasks than wait in memory go aside, show why, and go on; those that are not discretionary pass them.
func TestManyDiscretionaryTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3000
		d, p := newDisk(), &power{battery: true}
		e := d.boot(t, answer(200), withPower(p), resident(10))
		ctx := t.Context()
		specs := make([]task.Spec, n)
		for i := range specs {
			specs[i] = get("http://h/", discretionary, timeout(24*time.Hour))
		}
		if _, err := e.CreateBatch(ctx, specs); err != nil {
			t.Fatal(err)
		}
		end(t, e.Engine, create(t, e.Engine, get("http://h/")))
		synctest.Wait()
		if in := e.InMemory(); in > 1100 {
			t.Errorf("%d tasks in memory", in)
		}
		for rec, err := range e.Tasks(ctx) {
			if w := rec.Waiting; err != nil || rec.ID <= n && (w == nil || w.Reason != task.WaitDiscretionary || w.Detail != "power") {
				t.Fatalf("task %d waits for %+v; %v", rec.ID, w, err)
			}
		}
		e.Cancel(ctx, n)
		e.Suspend(ctx, n-1)
		p.set(false)
		synctest.Wait()
		if alive := e.Alive(); alive != 1 {
			t.Errorf("%d tasks have not ended", alive)
		}
		e.Resume(ctx, n-1)
		end(t, e.Engine, n-1)
		synctest.Wait()
		if p.watched() != 0 {
			t.Error("power is watched still")
		}
	})
}

func TestDiscretionaryTaskHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &power{battery: true}
		e := newDisk().boot(t, answer(200), withPower(p))
		id := create(t, e.Engine, get("http://h/", discretionary, timeout(time.Hour)))
		if rec := end(t, e.Engine, id); rec.Failure == nil || rec.Failure.Code != task.TimedOut {
			t.Errorf("it ended with %v", rec.Failure.Err())
		}
		other := create(t, e.Engine, get("http://h/", discretionary))
		synctest.Wait()
		e.Suspend(t.Context(), other)
		synctest.Wait()
		if p.watched() != 0 {
			t.Error("power is watched for a task that is suspended")
		}
		p.set(false)
		e.Resume(t.Context(), other)
		end(t, e.Engine, other)
	})
}
