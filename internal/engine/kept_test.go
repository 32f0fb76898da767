package engine_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// A store that is full keeps none from it: they try it once the store has room, and are not held in memory meanwhile.
func TestStoredCredentialMeetsAFullStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		var roomy atomic.Bool
		roomy.Store(true)
		g := new(guarded)
		p := newDisk().start(t, &process{beforeSave: func(*task.Record) error { return fullUnless(&roomy) }}, g.run, resident(1))
		for range n {
			create(t, p.Engine, get("http://h/", asks))
		}
		question(t, p.Engine, n)
		roomy.Store(false)
		late := create(t, p.Engine, get("http://h/", asks)) // whose question is not stored
		synctest.Wait()
		g.store("door", "open door")
		p.CredentialStored(spaceOf("door"))
		time.Sleep(time.Minute)
		synctest.Wait() // those that try at this very moment
		if alive, held := p.Alive(), p.InMemory(); alive != n+1 || held > 2 {
			t.Errorf("%d tasks have not ended, and %d are in memory", alive, held)
		}
		roomy.Store(true)
		time.Sleep(time.Minute)
		if alive := p.Alive(); alive != 0 {
			t.Errorf("%d tasks go on asking", alive)
		}
		if rec := end(t, p.Engine, late); rec.Failure != nil || rec.Response.Status != 200 {
			t.Errorf("the last one ended with %v, %+v", rec.Failure.Err(), rec.Response)
		}
	})
}

// What a process knew when it was killed, and had not told all that ask, the next one tells: those that were not refused it.
func TestKnownCredentialIsTriedByTheNextProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20
		d := newDisk()
		g := &guarded{realm: func(a *transfer.Attempt) []string { return []string{[]string{"door", "window"}[a.ID%2]} }}
		p := d.boot(t, g.run)
		for range n {
			create(t, p.Engine, get("http://h/", asks))
		}
		ticket := question(t, p.Engine, 1).Ticket
		p.crash()
		g.store("door", "open door")
		p = d.boot(t, g.run, resident(1), func(o *engineOptions) {
			o.Known = func(rec *task.Record) bool { return rec.Waiting.Challenge.Space == spaceOf("door") }
		})
		synctest.Wait()
		if alive := p.Alive(); alive != n/2 {
			t.Errorf("%d of %d tasks have not ended", alive, n)
		}
		if w := question(t, p.Engine, 1); w.Ticket != ticket {
			t.Errorf("it asks by %s after %s", w.Ticket, ticket)
		}
	})
}

// A task that is moved while its attempt ends over a question goes on at the new URL.
func TestQuestionOfAReplacedURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(guarded)
		p := newDisk().boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if a.Spec.Request.URL == "http://new/" {
				return answer(200)(ctx, a)
			}
			res, err := g.run(ctx, a)
			time.Sleep(time.Second) // it was challenged, and has not said so yet
			return res, err
		})
		id := create(t, p.Engine, get("http://h/", asks))
		time.Sleep(time.Second / 2)
		if err := p.ReplaceURL(t.Context(), id, "http://new/"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if rec, _ := p.Task(t.Context(), id); rec.State != task.Completed {
			t.Fatalf("it is %s and waits for %+v", rec.State, rec.Waiting)
		}
	})
}
