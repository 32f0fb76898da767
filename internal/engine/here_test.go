package engine_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

var _ control.Runner = (*engine.Engine)(nil)

// pinned counts the pins of a task.
type pinned struct {
	id   atomic.Uint64
	pins atomic.Int32
}

func (p *pinned) Pin(id task.ID) {
	p.id.Store(uint64(id))
	p.pins.Add(1)
}
func (p *pinned) Unpin(task.ID)    { p.pins.Add(-1) }
func (p *pinned) task() task.ID    { return task.ID(p.id.Load()) }
func onePerHost(o *engine.Options) { o.MaxPerHost = 1 }

// goroutine is the header of the calling goroutine's stack, which has its number.
func goroutine() string {
	buf := make([]byte, 64)
	line, _, _ := bytes.Cut(buf[:runtime.Stack(buf, false)], []byte("["))
	return string(line)
}

func TestRunRunsInItsGoroutine(t *testing.T) {
	var in string
	e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
		in = goroutine()
		return answer(200)(ctx, a)
	})
	p := new(pinned)
	rec, body, err := e.Run(t.Context(), get("http://h/"), p)
	if err != nil || rec.State != task.Completed || rec.Failure != nil || rec.Response.Status != 200 || string(body) != "body" {
		t.Fatalf("%+v, %q, %v", rec, body, err)
	}
	if rec.ID != p.task() || p.pins.Load() != 1 {
		t.Errorf("task %d, and %d was pinned %d times", rec.ID, p.task(), p.pins.Load())
	}
	if in != goroutine() {
		t.Errorf("the attempt ran in another goroutine: %s", in)
	}
	if got := names(collect(t, e, rec.ID)); got != "responsereceived sessioncompleted" {
		t.Errorf("events: %s", got)
	}
	if stored, err := e.Task(t.Context(), rec.ID); err != nil || stored.Version != rec.Version || stored.State != task.Completed {
		t.Errorf("the store has %+v, %v", stored, err)
	}
}

func TestRunWaitsForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, peak atomic.Int32
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			peak.Store(max(peak.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
			return answer(200)(ctx, a)
		}, onePerHost)
		var all sync.WaitGroup
		begin := time.Now()
		for range 5 {
			all.Go(func() {
				if rec, _, err := e.Run(t.Context(), get("http://h/"), new(pinned)); err != nil || rec.Failure != nil {
					t.Errorf("%+v, %v", rec, err)
				}
			})
		}
		all.Wait()
		if d := time.Since(begin); peak.Load() != 1 || d != 5*time.Second {
			t.Errorf("%d at once; all took %v", peak.Load(), d)
		}
	})
}

func TestRunRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, steps(fail(lost(true)), answer(200)))
		rec, body, err := e.Run(t.Context(), get("http://h/", retries(1)), new(pinned))
		if err != nil || rec.Failure != nil || rec.Attempt != 2 || string(body) != "body" {
			t.Errorf("%+v, %q, %v", rec, body, err)
		}
	})
}

// The end of its context cancels a task that Run runs, whatever that does.
func TestTheEndOfItsContextCancelsRun(t *testing.T) {
	for name, run := range map[string]runFunc{
		"in an attempt": hang,
		"in a back-off": steps(fail(lost(true)), answer(200)),
		"in the queue":  nil,
		"as it succeeds": func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			<-ctx.Done()
			return answer(200)(ctx, a)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
					if run == nil {
						return hang(ctx, a)
					}
					return run(ctx, a)
				}, onePerHost)
				if run == nil {
					create(t, e, get("http://h/"))
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				begin, p := time.Now(), new(pinned)
				rec, _, err := e.Run(ctx, get("http://h/", retries(1)), p)
				if err != nil {
					t.Fatal(err)
				}
				if d := time.Since(begin); d != time.Millisecond {
					t.Errorf("it ended after %v", d)
				}
				if p.pins.Load() != 1 {
					t.Errorf("%d pins", p.pins.Load())
				}
				succeeded := rec.Failure == nil && name == "as it succeeds"
				if !succeeded && (rec.Failure == nil || rec.Failure.Code != task.Cancelled) {
					t.Errorf("failure: %+v", rec.Failure)
				}
				evs := collect(t, e, rec.ID)
				if done, ok := evs[len(evs)-1].Detail.(task.SessionCompleted); !ok || done.Success != succeeded {
					t.Errorf("the last event: %+v", evs[len(evs)-1])
				}
			})
		})
	}
}

// Others may do with a task that Run runs what they may do with any.
func TestRunBesideOthers(t *testing.T) {
	const perHost = 2
	synctest.Test(t, func(t *testing.T) {
		var now, peak atomic.Int32
		var answers atomic.Bool
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if a.ID == 1 && !answers.Load() {
				return hang(ctx, a)
			}
			peak.Store(max(peak.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(time.Second)
			return answer(200)(ctx, a)
		}, func(o *engine.Options) { o.MaxPerHost = perHost })
		p := new(pinned)
		ended := make(chan *task.Record, 1)
		go func() {
			rec, _, err := e.Run(t.Context(), get("http://h/"), p)
			if err != nil {
				t.Error(err)
			}
			ended <- rec
		}()
		synctest.Wait()
		for last := range 2 {
			if err := e.Suspend(t.Context(), p.task()); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if rec, err := e.Task(t.Context(), p.task()); err != nil || rec.State != task.Suspended {
				t.Errorf("suspended it is %+v, %v", rec, err)
			}
			for range 10 { // it is given more than one slot before it takes one
				e.Resume(t.Context(), p.task())
				e.Suspend(t.Context(), p.task())
			}
			answers.Store(last == 1)
			e.Resume(t.Context(), p.task())
			synctest.Wait()
		}
		if rec := <-ended; rec.Failure != nil || rec.Attempt < 3 {
			t.Errorf("%+v", rec)
		}
		var all sync.WaitGroup
		for range 2 * perHost {
			all.Go(func() { e.Run(t.Context(), get("http://h/"), new(pinned)) })
		}
		begin := time.Now()
		if all.Wait(); peak.Load() != perHost || time.Since(begin) != 2*time.Second {
			t.Errorf("of %d slots %d were used afterwards", perHost, peak.Load())
		}
	})
}

func TestCloseEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, hang, onePerHost)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				rec, _, err := e.Run(t.Context(), get("http://h/"), new(pinned))
				if err != nil || rec.Failure == nil || rec.Failure.Code != task.Cancelled {
					t.Errorf("%+v, %v", rec, err)
				}
			})
		}
		synctest.Wait()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
		p := new(pinned)
		if _, _, err := e.Run(t.Context(), get("http://h/"), p); !errors.Is(err, task.SessionInvalidated) || p.pins.Load() != 0 {
			t.Errorf("%v, %d pins", err, p.pins.Load())
		}
	})
}

// What panics in the goroutine of Run, a cookie storage of the app's, say, leaves no task under way and no slot taken.
func TestPanicInRun(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("the app's") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
					if a.ID == 1 {
						leave()
					}
					return answer(200)(ctx, a)
				}, onePerHost)
				p := new(pinned)
				var left sync.WaitGroup
				left.Go(func() {
					defer func() { _ = recover() }()
					e.Run(t.Context(), get("http://h/"), p)
				})
				left.Wait()
				if p.pins.Load() != 0 {
					t.Errorf("%d pins", p.pins.Load())
				}
				if rec := end(t, e, p.task()); rec.Failure == nil || !strings.Contains(rec.Failure.Text(), "panicked") {
					t.Errorf("failure: %+v", rec.Failure)
				}
				if rec, _, err := e.Run(t.Context(), get("http://h/"), p); err != nil || rec.Failure != nil {
					t.Errorf("the next task of the host: %+v, %v", rec, err)
				}
			})
		})
	}
}
