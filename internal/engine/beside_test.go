package engine_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// newest pins tasks, and knows the newest.
type newest struct {
	pinned
	last *atomic.Uint64
}

func (p *newest) Pin(id task.ID) {
	p.pinned.Pin(id)
	p.last.Store(uint64(id))
}

type runner struct{} // key of the number of a runner's goroutine

// Many Runs beside all that others may do with their tasks: each Run ends, no host gives more slots than it has, and none is lost.
func TestRunsBesideEverything(t *testing.T) {
	const perHost, runners, others = 2, 24, 8
	synctest.Test(t, func(t *testing.T) {
		var last atomic.Uint64
		var quiet atomic.Bool
		var now, peak [3]atomic.Int32
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			host := a.Spec.Request.URL[len("http://")] - 'a'
			if quiet.Load() {
				time.Sleep(time.Second)
				return answer(200)(ctx, a)
			}
			n := now[host].Add(1)
			for p := peak[host].Load(); n > p && !peak[host].CompareAndSwap(p, n); p = peak[host].Load() {
			}
			defer now[host].Add(-1)
			select {
			case <-time.After(rand.N(20 * time.Millisecond)):
			case <-ctx.Done():
				return transfer.Result{}, context.Cause(ctx)
			}
			switch rand.IntN(6) {
			case 0:
				return transfer.Result{}, lost(true)
			case 1:
				if _, err := a.Observer.Challenge(ctx, task.Challenge{}); err != nil {
					return transfer.Result{}, err
				}
			case 2:
				if ctx.Value(runner{}) == goroutine() { // elsewhere nobody recovers
					panic("the app's")
				}
			case 3:
				return hang(ctx, a)
			}
			return answer(200)(ctx, a)
		}, func(o *engine.Options) { o.MaxPerHost = perHost })
		ctx := t.Context()
		stop := make(chan struct{})
		var running, meddling sync.WaitGroup
		for range others {
			meddling.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(rand.N(time.Millisecond)):
					}
					id := task.ID(max(1, int(last.Load())-rand.IntN(runners)))
					switch rand.IntN(11) {
					case 0:
						_ = e.Cancel(ctx, id)
					case 1, 2:
						_ = e.Suspend(ctx, id)
						_ = e.Resume(ctx, id)
					case 3:
						_ = e.Suspend(ctx, id)
						time.Sleep(rand.N(30 * time.Millisecond))
						_ = e.Resume(ctx, id)
					case 4:
						_ = e.SetPriority(ctx, id, task.Priority(rand.Float32()))
					case 5, 6:
						for _, ticket := range []string{"1-1", "2-1", "3-1"} {
							_ = e.Answer(ctx, id, ticket, task.Decision{Answer: &task.Answer{}})
						}
					case 7:
						e.Release(id)
						_ = e.Acknowledge(ctx, uint64(id)*2)
					case 8:
						short, end := context.WithTimeout(ctx, time.Millisecond)
						for range e.Events(short, task.EventQuery{Task: id}) {
						}
						end()
					case 9:
						_ = e.ReplaceURL(ctx, id, "http://c/")
					case 10:
						for range e.Tasks(ctx) {
						}
					}
				}
			})
		}
		one := func(i int) {
			defer func() { _ = recover() }() // of what the attempt panics with
			ctx, cancel := context.WithTimeout(ctx, rand.N(100*time.Millisecond))
			defer cancel()
			ctx = context.WithValue(ctx, runner{}, goroutine())
			p := &newest{last: &last}
			rec, _, err := e.Run(ctx, get("http://"+string(rune('a'+i%len(now)))+"/", retries(2)), p)
			if err != nil || rec.State != task.Completed {
				t.Errorf("%+v, %v", rec, err)
			}
			e.Release(p.task())
		}
		for i := range runners {
			running.Go(func() {
				for range 40 {
					one(i)
				}
			})
		}
		running.Wait()
		close(stop)
		meddling.Wait()
		quiet.Store(true)
		time.Sleep(time.Minute) // what was left of those that have panicked
		begin := time.Now()
		for i := range 2 * perHost * len(now) {
			running.Go(func() {
				if rec, _, err := e.Run(ctx, get("http://"+string(rune('a'+i%len(now)))+"/"), new(pinned)); err != nil || rec.Failure != nil {
					t.Errorf("%+v, %v", rec, err)
				}
			})
		}
		if running.Wait(); time.Since(begin) != 2*time.Second {
			t.Errorf("two rounds of a second on all slots took %v", time.Since(begin))
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		for i := range now {
			if now[i].Load() != 0 || peak[i].Load() > perHost {
				t.Errorf("host %d: %d attempts are left, of %d at once", i, now[i].Load(), peak[i].Load())
			}
		}
	})
}
