package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// log is what has moved, and when.
type log struct {
	mu    sync.Mutex
	at    []time.Duration // since the start
	total []int64
	start time.Time
}

func (l *log) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := time.Since(l.start)
	total := int64(n)
	if last := len(l.at) - 1; last >= 0 {
		total += l.total[last]
	}
	l.at, l.total = append(l.at, at), append(l.total, total)
}

// until is what had moved before a time.
func (l *log) until(t time.Duration) int64 {
	i, _ := slices.BinarySearch(l.at, t)
	if i == 0 {
		return 0
	}
	return l.total[i-1]
}

// wantRate checks each 10 s that begin with something that moved, or a tenth of a second, in what passed from from on.
func (l *log) wantRate(t *testing.T, rate int64, from, end time.Duration) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	const window = 10 * time.Second
	begins := slices.Clone(l.at)
	for at := from; at < end; at += 100 * time.Millisecond {
		begins = append(begins, at)
	}
	for _, begin := range begins {
		if begin < from || begin+window > end {
			continue
		}
		moved := l.until(begin+window) - l.until(begin)
		if off := float64(moved)/float64(10*rate) - 1; math.Abs(off) > .02 {
			t.Fatalf("%d bytes in the 10 s from %v, %+.1f %% off %d B/s", moved, begin, 100*off, rate)
		}
	}
}

// mover is an attempt that moves what the limits let pass until ctx ends: at most most bytes at a time, which take it so long.
func (ls Limits) mover(ctx context.Context, d direction, l *log, most int, takes time.Duration) {
	for {
		n, err := ls.take(ctx, d, bufferSize)
		if err != nil {
			return
		}
		time.Sleep(takes)
		used := min(n, most)
		l.add(used)
		ls.settle(d, n, used)
		if ctx.Err() != nil {
			return
		}
	}
}

// move has several attempts move for so long.
func move(t *testing.T, for_ time.Duration, movers ...func(context.Context)) {
	ctx, cancel := context.WithTimeout(t.Context(), for_)
	defer cancel()
	var all sync.WaitGroup
	for _, m := range movers {
		all.Go(func() { m(ctx) })
	}
	all.Wait()
}

func newLimit(rate int64) *Limit {
	l := new(Limit)
	l.Set(rate)
	return l
}

// Whatever the rate and however many share it, also where reads bring little, each 10 s are within 2 %, each way.
func TestLimitIsExact(t *testing.T) {
	const length = 21 * time.Second
	for _, rate := range []int64{1 << 10, 10_000, 64 << 10, 1 << 20, 100 << 20, 1 << 30} {
		for _, attempts := range []int{1, 6, 100} {
			for _, most := range []int{bufferSize, 1448} {
				if rate > int64(most)*5_000 {
					continue // packets of this size at that rate are many
				}
				t.Run(fmt.Sprintf("%d B/s, %d attempts, %d bytes a read", rate, attempts, most), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						ls := Limits{newLimit(rate)}
						logs := [2]*log{{start: time.Now()}, {start: time.Now()}}
						var movers []func(context.Context)
						for i := range 2 * attempts {
							d := direction(i % 2)
							movers = append(movers, func(ctx context.Context) { ls.mover(ctx, d, logs[d], most, 0) })
						}
						move(t, length, movers...)
						for _, l := range logs {
							l.wantRate(t, rate, 0, length)
						}
					})
				})
			}
		}
	}
}

// Servers that are slow, or say nothing any more, take nothing of the rate from the others.
func TestLimitBesideSlowOnes(t *testing.T) {
	const length = 31 * time.Second
	for name, takes := range map[string]time.Duration{"slow": 300 * time.Millisecond, "silent": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const rate = 1 << 20
				ls := Limits{newLimit(rate)}
				l := &log{start: time.Now()}
				movers := []func(context.Context){func(ctx context.Context) { ls.mover(ctx, received, l, bufferSize, 0) }}
				for range 30 {
					movers = append(movers, func(ctx context.Context) {
						if name == "silent" {
							n, _ := ls.take(ctx, received, bufferSize)
							<-ctx.Done()
							ls.settle(received, n, 0)
							return
						}
						ls.mover(ctx, received, l, 1448, takes)
					})
				}
				move(t, length, movers...)
				l.wantRate(t, rate, 0, length)
			})
		})
	}
}

// Of several limits none is exceeded, and the least of them is reached: by a task of its own limit beside one without,
// under those of their session and the daemon.
func TestSeveralLimits(t *testing.T) {
	const length = 21 * time.Second
	for _, c := range []struct{ own, session, daemon, wantOwn, wantAll int64 }{
		{own: 1 << 20, session: 1 << 20, daemon: 1 << 20, wantOwn: 512 << 10, wantAll: 1 << 20},
		{own: 100 << 10, session: 1 << 20, daemon: 2 << 20, wantOwn: 100 << 10, wantAll: 1 << 20},
		{own: 100 << 10, session: 2 << 20, daemon: 1 << 20, wantOwn: 100 << 10, wantAll: 1 << 20},
		{own: 100 << 10, session: 0, daemon: 1 << 20, wantOwn: 100 << 10, wantAll: 1 << 20},
		{own: 0, session: 1 << 20, daemon: 1 << 20, wantOwn: 512 << 10, wantAll: 1 << 20},
	} {
		synctest.Test(t, func(t *testing.T) {
			session, daemon := newLimit(c.session), newLimit(c.daemon)
			own, all := &log{start: time.Now()}, &log{start: time.Now()}
			a, b := Limits{newLimit(c.own), session, daemon}, Limits{new(Limit), session, daemon}
			move(t, length,
				func(ctx context.Context) {
					for ctx.Err() == nil {
						if n, err := a.take(ctx, received, bufferSize); err == nil {
							own.add(n)
							all.add(n)
							a.settle(received, n, n)
						}
					}
				},
				func(ctx context.Context) { b.mover(ctx, received, all, bufferSize, 0) })
			own.wantRate(t, c.wantOwn, 0, length)
			all.wantRate(t, c.wantAll, 0, length)
		})
	}
	for _, rates := range [][3]int64{{1 << 20, 1 << 20, 1 << 20}, {1 << 20, 1 << 21, 1 << 30}, {1 << 30, 1 << 21, 1 << 20}, {1 << 20, 1 << 10, 1 << 20}} {
		synctest.Test(t, func(t *testing.T) {
			ls := Limits{newLimit(rates[0]), newLimit(rates[1]), newLimit(rates[2])}
			l := &log{start: time.Now()}
			move(t, length, func(ctx context.Context) { ls.mover(ctx, received, l, bufferSize, 0) })
			l.wantRate(t, slices.Min(rates[:]), 0, length)
		})
	}
}

// A limit that changes holds at once, both ways, also for what waits.
func TestLimitThatIsSetMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(Limit)
		ls := Limits{l}
		if n, err := ls.take(t.Context(), received, 1<<40); n != 1<<40 || err != nil {
			t.Errorf("no limit let %d bytes pass, %v", n, err)
		}
		moved := &log{start: time.Now()}
		rates := []int64{1 << 20, 1 << 10, 1, 10 << 20, 0, 64 << 10}
		l.Set(rates[0])
		var changes sync.WaitGroup
		changes.Go(func() {
			for _, rate := range rates[1:] {
				time.Sleep(15 * time.Second)
				before := ls[0].set.Load()
				l.Set(l.Rate()) // nothing
				if l.Set(rate); l.Rate() != rate || ls[0].set.Load() != before {
					t.Errorf("%d, want %d", l.Rate(), rate)
				}
			}
		})
		move(t, 90*time.Second, func(ctx context.Context) { ls.mover(ctx, sent, moved, bufferSize, 10*time.Millisecond) },
			func(ctx context.Context) { ls.mover(ctx, sent, moved, bufferSize, 10*time.Millisecond) })
		changes.Wait()
		for i, rate := range rates {
			from := time.Duration(i) * 15 * time.Second
			switch got := moved.until(from+11*time.Second) - moved.until(from+time.Second); rate {
			case 0:
				if got < 100<<20 {
					t.Errorf("without a limit %d bytes", got)
				}
			case 1: // to the byte
				if got < 9 || got > 11 {
					t.Errorf("%d bytes at one a second", got)
				}
			default:
				moved.wantRate(t, rate, from+20*time.Millisecond, from+15*time.Second)
			}
		}
	})
}

// Who waits at a slow limit goes on by the new one, and an attempt that ends waits no more and takes nothing with it.
func TestWaitingForALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		task, session := newLimit(1<<20), newLimit(1)
		ls := Limits{task, session}
		n, _ := ls.take(t.Context(), received, 10)
		ls.settle(received, n, n)
		start := time.Now()
		time.AfterFunc(time.Millisecond, func() { session.Set(1 << 20) })
		if n, err := ls.take(t.Context(), received, 100); n != 100 || err != nil || time.Since(start) > 2*time.Millisecond {
			t.Errorf("%d, %v, after %v", n, err, time.Since(start))
		} else {
			ls.settle(received, n, n)
		}
		// A limit that it has passed already, as there was none, holds too.
		ls[0].Set(0)
		session.Set(1)
		n, _ = ls.take(t.Context(), received, 1)
		ls.settle(received, n, n)
		time.AfterFunc(time.Millisecond, func() {
			task.Set(1 << 10)
			session.Set(100 << 20)
		})
		if n, err := ls.take(t.Context(), received, 1<<20); n > 100 || err != nil {
			t.Errorf("%d, %v", n, err)
		} else {
			ls.settle(received, n, n)
		}
		session.Set(1)
		n, _ = ls.take(t.Context(), received, 1)
		ls.settle(received, n, n)
		mine := errors.New("mine")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { cancel(mine) })
		if n, err := ls.take(ctx, received, 100); n != 0 || err != mine {
			t.Errorf("%d, %v", n, err)
		}
		for _, l := range ls {
			if b := l.bucket(received); len(b.queue) != 0 || b.out != 0 {
				t.Errorf("%d wait, and %v bytes are out", len(b.queue), b.out)
			}
		}
	})
}

// What the cache has comes over no connection, and takes nothing of a limit.
func TestCacheIsUnderNoLimit(t *testing.T) {
	for _, maxAge := range []string{"60", "0"} { // the cache answers, or asks whether it may
		synctest.Test(t, func(t *testing.T) {
			srv := NewServer(InMemory())
			defer srv.Close()
			srv.Publish("/f", Resource{Content: file, ETag: `"v1"`})
			srv.Always("/f", SetHeader("Cache-Control", "max-age="+maxAge))
			rt, err := transport.New(transport.Options{Dial: srv.DialContext, Cache: httpcache.InMemory(10 << 20)})
			if err != nil {
				t.Fatal(err)
			}
			defer rt.CloseIdleConnections()
			limit := new(Limit)
			for _, want := range []task.FetchType{task.FetchNetwork, map[string]task.FetchType{"60": task.FetchCache, "0": task.FetchValidated}[maxAge]} {
				a := newTask(task.Data, rt, srv.URL+"/f")
				a.Limits = Limits{limit}
				start := time.Now()
				res, err := Run(t.Context(), a)
				if err != nil || !bytes.Equal(res.Body, file.Bytes()) || res.Response.Fetch != want || time.Since(start) > time.Second {
					t.Errorf("%d bytes from %q, want %q, after %v, %v", len(res.Body), res.Response.Fetch, want, time.Since(start), err)
				}
				limit.Set(1000)
			}
		})
	}
}

// A device has another number after a reboot: the file is the same.
func TestSourceOnADeviceOfAnotherNumber(t *testing.T) {
	_, a := newData(t)
	fromFile(t, a, file)
	a.Spec.Request.Method = "PUT"
	a.Spec.Request.Body.Source.Device++
	if _, err := Run(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	a.Spec.Request.Body.Source.Inode++
	_, err := Run(t.Context(), a)
	wantCode(t, err, task.SourceChanged)
}

func TestResultUnsent(t *testing.T) {
	_, a := newData(t)
	if res, err := Run(t.Context(), a); err != nil || res.Unsent {
		t.Errorf("answered, and unsent: %v, %v", res.Unsent, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res, err := Run(ctx, a); err == nil || !res.Unsent {
		t.Errorf("ended before it began, and sent: %v, %v", res.Unsent, err)
	}
}

// BenchmarkNoLimit: what a piece of a body costs where limits may be set, and are not.
func BenchmarkNoLimit(b *testing.B) {
	r := &run{Attempt: &Attempt{Limits: Limits{new(Limit), new(Limit), new(Limit)}}}
	b.ReportAllocs()
	for b.Loop() {
		n, _ := r.take(b.Context(), received, 1<<20)
		r.Limits.settle(received, n, n)
	}
}
