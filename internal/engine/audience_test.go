package engine_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
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
