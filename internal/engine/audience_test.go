package engine_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// calls counts what Options.Unattended is called.
type calls struct{ n atomic.Int32 }

func (c *calls) count(o *engine.Options) { o.Unattended = func() { c.n.Add(1) } }

func (c *calls) expect(t *testing.T, n int32, when string) {
	t.Helper()
	synctest.Wait()
	if got := c.n.Swap(0); got != n {
		t.Errorf("%s: called %d times; want %d", when, got, n)
	}
}

func TestUnattended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		d := newDisk()
		p := d.boot(t, answer(200), c.count)
		ctx := t.Context()
		c.expect(t, 0, "a new session")

		other := create(t, p.Engine, get("http://h/", suspended))
		end(t, p.Engine, create(t, p.Engine, get("http://h/")))
		c.expect(t, 0, "a task has not ended")
		if n := p.Alive(); n != 1 || p.Owned() {
			t.Errorf("%d tasks alive, owned %v", n, p.Owned())
		}
		p.Resume(ctx, other)
		c.expect(t, 1, "the last task has ended")

		// The owner is there, and sees everything.
		listen := func(leave string) {
			for ev := range p.Events(ctx, task.EventQuery{Own: true}) {
				if !p.Owned() {
					t.Error("nobody owns the session")
				}
				if name := ev.Detail.EventName(); name == leave {
					break
				}
				if _, ok := ev.Detail.(task.EventsCompleted); ok && p.Alive() == 0 {
					create(t, p.Engine, get("http://h/"))
				}
			}
		}
		listen("responsereceived")
		c.expect(t, 1, "the owner left before it had seen the rest")
		last, _ := d.Last(ctx)
		p.Acknowledge(ctx, last)
		listen("sessioncompleted")
		c.expect(t, 0, "the owner left having seen all")
		if p.Owned() {
			t.Error("it is owned still")
		}

		p.Stop(ctx)
		c.expect(t, 0, "it was stopped")
		p = d.boot(t, answer(200), c.count)
		c.expect(t, 1, "opened, and events wait")
		last, _ = d.Last(ctx)
		p.Acknowledge(ctx, last)
		p.Stop(ctx)
		p = d.boot(t, answer(200), c.count)
		c.expect(t, 0, "opened, and none wait")
		create(t, p.Engine, get("http://h/", suspended))
		p.Stop(ctx)
		p = d.boot(t, answer(200), c.count)
		c.expect(t, 0, "opened, and a task has not ended")
		p.Cancel(ctx, p.last(t))
		c.expect(t, 1, "it has")
	})
}

func (p *process) last(t *testing.T) (id task.ID) {
	t.Helper()
	for rec, err := range p.Tasks(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		id = rec.ID
	}
	return id
}

// The last task ends, and the owner with it, before it was told: it was dead already.
func TestUnattendedByADeadOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		p := newDisk().boot(t, answer(200), c.count)
		ctx, die := context.WithCancel(t.Context())
		defer die()
		for range p.Events(ctx, task.EventQuery{Own: true}) {
			create(t, p.Engine, get("http://h/"))
			synctest.Wait()
			c.expect(t, 0, "it seems to listen")
			die()
			break
		}
		c.expect(t, 1, "its claim has ended")
	})
}

// A task that waits for an answer wakes, whatever the others do, until nobody asks or what it asked was seen.
func TestUnattendedQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		d := newDisk()
		ctx := t.Context()
		p := d.boot(t, new(guarded).run, c.count)
		create(t, p.Engine, get("http://h/", suspended))
		id := create(t, p.Engine, get("http://h/", asks))
		c.expect(t, 1, "a task asks, and another has not ended")
		p.crash()
		p = d.boot(t, new(guarded).run, c.count)
		c.expect(t, 1, "opened, and a task asks")
		last, _ := d.Last(ctx)
		p.Acknowledge(ctx, last)
		p.Stop(ctx)
		p = d.boot(t, new(guarded).run, c.count)
		c.expect(t, 0, "opened, and what a task asks was seen")

		own, leave := context.WithCancel(ctx)
		owned := make(chan struct{})
		go func() {
			defer close(owned)
			for range p.Events(own, task.EventQuery{Own: true}) {
				<-own.Done()
				break
			}
		}()
		synctest.Wait()
		reply(t, p.Engine, id, question(t, p.Engine, id).Ticket, use("ajar"))
		c.expect(t, 0, "it asks anew, and the owner is there")
		leave()
		<-owned
		c.expect(t, 1, "the owner left before it was told")

		end(t, p.Engine, create(t, p.Engine, get("http://h/")))
		c.expect(t, 0, "another task has ended, and one asks still")
		for range p.Events(ctx, task.EventQuery{Own: true}) {
			p.Suspend(ctx, id)
			break
		}
		c.expect(t, 0, "the owner left, and nobody asks any more")
		p.Resume(ctx, id)
		c.expect(t, 1, "resumed, it asks")
		for range p.Events(ctx, task.EventQuery{Own: true}) {
			p.Cancel(ctx, id)
			break
		}
		c.expect(t, 0, "cancelled, it does not, and another is suspended")
	})
}

// While a creation is under way the session has not come to its end, and where the creation fails it has.
func TestUnattendedAwaitsACreation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		release := make(chan error)
		p := newDisk().start(t, &process{beforeCreate: func(nth int) error {
			if nth == 1 {
				return nil
			}
			return <-release
		}}, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			time.Sleep(time.Second)
			return answer(200)(ctx, a)
		}, c.count)
		first := create(t, p.Engine, get("http://h/"))
		created := make(chan error)
		go func() {
			_, err := p.Create(t.Context(), get("http://h/"), nil)
			created <- err
		}()
		end(t, p.Engine, first)
		c.expect(t, 0, "another is being created")
		release <- errDead
		if err := <-created; err == nil {
			t.Error("it was created")
		}
		c.expect(t, 1, "it was not")
		for range p.Events(t.Context(), task.EventQuery{Own: true}) {
			p.Stop(t.Context())
			break
		}
		c.expect(t, 0, "the owner left an engine that has stopped")
	})
}
