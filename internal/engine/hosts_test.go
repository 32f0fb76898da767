package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
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

func in(hosts *engine.Hosts) func(*engine.Options) {
	return func(o *engine.Options) { o.Hosts = hosts }
}

// empty checks that nothing is left in an account once its engines have stopped.
func empty(t *testing.T, hosts *engine.Hosts, engines ...*process) {
	t.Helper()
	for _, e := range engines {
		now, cancel := context.WithCancel(t.Context())
		cancel()
		e.Stop(now)
	}
	if taken, granted := hosts.Accounted(); len(taken) != 0 || granted != 0 {
		t.Errorf("left are %v, granted %d", taken, granted)
	}
}

// turns are attempts that hang until they are let go, in the order in which they began.
type turns struct {
	mu    sync.Mutex
	order []string
	now   map[string]int
	next  chan struct{}
}

func newTurns() *turns { return &turns{now: make(map[string]int), next: make(chan struct{})} }

func (l *turns) of(name string) runFunc {
	return func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
		l.mu.Lock()
		l.order = append(l.order, fmt.Sprint(name, a.ID))
		l.now[name]++
		l.mu.Unlock()
		defer func() {
			l.mu.Lock()
			l.now[name]--
			l.mu.Unlock()
		}()
		select {
		case <-l.next:
			return answer(200)(ctx, a)
		case <-ctx.Done():
			return transfer.Result{}, context.Cause(ctx)
		}
	}
}

// end lets n attempts end, one after another.
func (l *turns) end(n int) {
	for range n {
		synctest.Wait()
		l.next <- struct{}{}
	}
	synctest.Wait()
}

func (l *turns) begun() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.order = nil }()
	return strings.Join(l.order, " ")
}

// Engines that wait for a host take turns, each by its tasks' priorities, whoever has how many of them.
func TestEnginesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, l := engine.NewHosts(2), newTurns()
		a, b, c := newDisk().boot(t, l.of("a"), in(hosts)), newDisk().boot(t, l.of("b"), in(hosts)), newDisk().boot(t, l.of("c"), in(hosts))
		for range 6 {
			create(t, a.Engine, get("http://h/"))
		}
		synctest.Wait()
		for range 3 {
			create(t, b.Engine, get("http://h/"))
		}
		synctest.Wait()
		create(t, b.Engine, get("http://h/", func(s *task.Spec) { s.Priority = task.PriorityHigh }))
		create(t, c.Engine, get("http://h/"))
		create(t, c.Engine, get("http://other/"))
		synctest.Wait()
		if got := l.begun(); !strings.HasPrefix(got, "a") || strings.Contains(got, "b") || !strings.HasSuffix(got, " c2") || len(strings.Fields(got)) != 3 {
			t.Errorf("at first %s", got)
		}
		if rec, _ := b.Task(t.Context(), 1); rec.Waiting == nil || rec.Waiting.Reason != task.WaitHostLimit {
			t.Errorf("%+v", rec.Waiting)
		}
		c.Cancel(t.Context(), 2) // so that what ends is of this host
		l.end(9)
		if got, want := l.begun(), "a3 b4 c1 a4 b1 a5 b2 a6 b3"; got != want {
			t.Errorf("then %s, want %s", got, want)
		}
		l.end(2)
		empty(t, hosts, a, b, c)
	})
}

// The maximum changes while attempts are under way; below it the limit of each engine holds.
func TestHostsMaximumChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, l := engine.NewHosts(0), newTurns()
		a, b := newDisk().boot(t, l.of("a"), in(hosts), perHost(3)), newDisk().boot(t, l.of("b"), in(hosts), perHost(8))
		for range 10 {
			create(t, a.Engine, get("http://h/"))
			create(t, b.Engine, get("http://h/"))
		}
		running := func(inA, inB int) {
			t.Helper()
			synctest.Wait()
			if l.now["a"] != inA || l.now["b"] != inB {
				t.Errorf("%v; want %d of a and %d of b", l.now, inA, inB)
			}
		}
		running(3, 8)
		hosts.SetMaximum(4)
		running(3, 8)
		for id := range task.ID(6) {
			b.Cancel(t.Context(), id+1)
		}
		running(3, 2)
		a.Cancel(t.Context(), 1)
		running(2, 2)
		a.Cancel(t.Context(), 2) // b has waited first
		running(1, 3)
		hosts.SetMaximum(6)
		running(2, 4)
		hosts.SetMaximum(0)
		running(3, 4)
		b.SetLimits(1, 0)
		hosts.SetMaximum(1)
		running(3, 4)
		empty(t, hosts, a, b)
	})
}

// An engine whose host's tasks share a connection of HTTP/2 has one connection.
func TestMultiplexedHostInTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, l := engine.NewHosts(3), newTurns()
		h2 := func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			a.Observer.Response(ctx, &task.Response{URL: "https://h/", Status: 200, Proto: "HTTP/2.0"})
			return l.of("a")(ctx, a)
		}
		a, b := newDisk().boot(t, h2, in(hosts)), newDisk().boot(t, l.of("b"), in(hosts))
		for range 50 {
			create(t, a.Engine, get("https://h/"))
		}
		synctest.Wait()
		for range 10 {
			create(t, b.Engine, get("https://h/"))
		}
		synctest.Wait()
		if l.now["a"] != 50 || l.now["b"] != 2 {
			t.Errorf("at once %v", l.now)
		}
		empty(t, hosts, a, b)
	})
}

// What an engine's downloads have beyond their first is what a task of another has no need to wait for.
func TestFurtherConnectionsAreWantedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := engine.NewHosts(8)
		var s, u splits
		l := newTurns()
		a, b, c := newDisk().boot(t, s.run, in(hosts)), newDisk().boot(t, u.run, in(hosts)), newDisk().boot(t, l.of("c"), in(hosts))
		x := s.of(create(t, a.Engine, get("http://h/", download)))
		y := u.of(create(t, b.Engine, get("http://h/", download)))
		if n, m := take(x, "http://h/", 2), take(y, "http://h/", 9); n != 2 || m != 4 {
			t.Fatalf("took %d and %d", n, m)
		}
		for range 3 {
			create(t, c.Engine, get("http://h/"))
		}
		if n, m := wanted(x), wanted(y); n+m != 3 || m < 2 {
			t.Errorf("%d and %d are wanted, of three", n, m)
		}
		y.Give()
		y.Give()
		if synctest.Wait(); l.now["c"] != 2 || x.Take("http://h/") || y.Take("http://h/") {
			t.Errorf("two were given back, and %d tasks run", l.now["c"])
		}
		x.Give()
		y.Give()
		if synctest.Wait(); l.now["c"] != 3 || !x.Take("http://h/") || y.Take("http://h/") {
			t.Errorf("of four that were given back, three tasks run, and one is left: %v", l.now)
		}
		hosts.SetMaximum(4) // of five first ones and further
		if n, m := wanted(x), wanted(y); n+m != 3 {
			t.Errorf("%d and %d are wanted", n, m)
		}
		l.end(3)
		empty(t, hosts, a, b, c)
	})
}

// An engine that stops, or whose tasks want no more, has nobody wait for it.
func TestWhoWaitsNoMoreIsPassedOver(t *testing.T) {
	for name, leave := range map[string]func(context.Context, *process){
		"stopped": func(ctx context.Context, e *process) {
			now, cancel := context.WithCancel(ctx)
			cancel()
			e.Stop(now)
		},
		"cancelled":   func(ctx context.Context, e *process) { e.Cancel(ctx, 1) },
		"suspended":   func(ctx context.Context, e *process) { e.Suspend(ctx, 1) },
		"moved":       func(ctx context.Context, e *process) { e.ReplaceURL(ctx, 1, "http://other/") },
		"invalidated": func(ctx context.Context, e *process) { e.Invalidate(ctx) },
	} {
		synctest.Test(t, func(t *testing.T) {
			hosts, l := engine.NewHosts(1), newTurns()
			a, b, c := newDisk().boot(t, l.of("a"), in(hosts)), newDisk().boot(t, l.of("b"), in(hosts)), newDisk().boot(t, l.of("c"), in(hosts))
			for _, e := range []*process{a, b, c} {
				create(t, e.Engine, get("http://h/"))
				synctest.Wait()
			}
			leave(t.Context(), b)
			a.Cancel(t.Context(), 1)
			synctest.Wait()
			if l.now["c"] != 1 {
				t.Errorf("%s: %v", name, l.now)
			}
			empty(t, hosts, a, b, c)
		})
	}
}

// Many engines and hosts, beside all that may happen to tasks, to limits and to engines: no host has more than it may, no
// task waits for ever, and nothing is left.
func TestHostsBesideEverything(t *testing.T) {
	const engines, maximum, tasks = 5, 3, 40
	synctest.Test(t, func(t *testing.T) {
		hosts := engine.NewHosts(maximum)
		var now, peak [3]atomic.Int32
		urls := []string{"http://a/", "http://b/", "http://c/"}
		busy := func(host int, by int32) {
			n := now[host].Add(by)
			for p := peak[host].Load(); n > p && !peak[host].CompareAndSwap(p, n); p = peak[host].Load() {
			}
		}
		run := func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			host := slices.Index(urls, a.Spec.Request.URL)
			busy(host, 1)
			taken := int32(0)
			defer func() { busy(host, -1-taken) }()
			var want <-chan struct{}
			if a.Connections != nil {
				want = a.Connections.Wanted()
			}
			end := time.After(rand.N(20 * time.Millisecond))
			for {
				select {
				case <-ctx.Done():
					return transfer.Result{}, context.Cause(ctx)
				case <-want:
					if taken > 0 {
						taken--
						busy(host, -1)
						a.Connections.Give()
					}
				case <-time.After(rand.N(5 * time.Millisecond)):
					if a.Connections != nil && a.Connections.Take(urls[host]) {
						taken++
						busy(host, 1)
					}
				case <-end:
					switch rand.IntN(4) {
					case 0:
						return transfer.Result{}, lost(true)
					case 1:
						return answer(503, "Retry-After", "1")(ctx, a)
					}
					return answer(200)(ctx, a)
				}
			}
		}
		var all [engines]*process
		var making, meddling sync.WaitGroup
		stop := make(chan struct{})
		for i := range all {
			all[i] = newDisk().boot(t, run, in(hosts), perHost(1+i), resident(4))
			e := all[i].Engine
			meddling.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(rand.N(3 * time.Millisecond)):
					}
					id := task.ID(1 + rand.IntN(tasks))
					switch rand.IntN(5) {
					case 0:
						_ = e.Suspend(t.Context(), id)
						_ = e.Resume(t.Context(), id)
					case 1:
						e.SetLimits(1+rand.IntN(5), 0)
					case 2:
						hosts.SetMaximum(1 + rand.IntN(maximum))
					case 3:
						_ = e.SetPriority(t.Context(), id, task.Priority(rand.Float32()))
					case 4:
						if rand.IntN(5) == 0 {
							_ = e.Cancel(t.Context(), id)
						}
					}
				}
			})
			making.Go(func() {
				for n := range tasks {
					spec := get(urls[n%3], retries(50))
					if n%2 == 0 {
						download(&spec)
					}
					create(t, e, spec)
				}
				for id := range task.ID(tasks) {
					end(t, e, id+1)
				}
			})
		}
		making.Wait()
		close(stop)
		meddling.Wait()
		for i := range peak {
			if n := peak[i].Load(); n > maximum || n < 2 || now[i].Load() != 0 {
				t.Errorf("host %s had %d at once, and has %d", urls[i], n, now[i].Load())
			}
		}
		empty(t, hosts, all[:]...)
	})
}
