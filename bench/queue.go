//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urlsession/urlsession"
)

var queueQuantities = []quantity{
	{name: "enqueued by 10,000", unit: "/s", limit: 30_000, atLeast: true},
	{name: "enqueued one by one by 64 callers", unit: "/s", limit: 5_000, atLeast: true},
	{name: "peak memory", unit: "MiB", limit: 256},
	{name: "memory at rest", unit: "MiB"},
	{name: "CPU a task, to that at 1,000", unit: "×", limit: 1.2},
	{name: "time a task, to that at 1,000", unit: "×", limit: 1.2},
	{name: costAt(1_000), unit: "ms"},
	{name: costAt(10_000), unit: "ms"},
	{name: costAt(100_000), unit: "ms"},
	{name: costAt(1_000_000), unit: "ms"},
	{name: "first byte after kill -9 and a restart", unit: "s", limit: 2},
	{name: "memory after the restart", unit: "MiB"},
}

const (
	connections = 6     // a host's, in a session's default
	shallow     = 1_000 // tasks of the queue that the long one is compared with
	rounds      = 5
)

// queueLengths are those at which a task's cost is measured, beside the last.
var queueLengths = []int{1_000, 10_000, 100_000, 1_000_000}

// costAt and costBeside name the CPU of a task through a queue of such a length, and of one through the short queue in turn with it.
func costAt(length int) string     { return fmt.Sprintf("CPU a task at %d", length) }
func costBeside(length int) string { return costAt(length) + ", beside" }

// queue measures a daemon with a long queue, whose server holds the host's few connections.
func queue(ctx context.Context, l *lab, size int64, count int) (map[string]float64, error) {
	deep, err := l.queued(ctx, "deep", size)
	defer deep.close()
	if err != nil {
		return nil, err
	}
	short, err := l.queued(ctx, "short", size)
	defer short.close()
	if err != nil {
		return nil, err
	}
	if _, err := enqueue(ctx, short.s, min(shallow, count), short.held); err != nil {
		return nil, err
	}
	saw := make(map[string]float64)
	single := max(count/20, min(count/2, 1_000)) // fewer would tell of their beginning alone
	made, took := 0, time.Duration(0)
	for _, length := range append(slices.Clone(queueLengths), count-single) {
		if length = min(length, count-single); length == made {
			continue
		}
		begin := time.Now()
		_, err := enqueue(ctx, deep.s, length-made, func(i int) urlsession.Download { return deep.held(made + i) })
		if err != nil {
			return nil, err
		}
		took += time.Since(begin)
		if made = length; made == count-single {
			break
		}
		if err := compareDepths(ctx, deep, short, made, saw); err != nil {
			return nil, err
		}
	}
	saw["enqueued by 10,000"] = float64(made) / took.Seconds()
	begin := time.Now()
	if err := deep.oneByOne(ctx, 64, count-single, count); err != nil {
		return nil, err
	}
	saw["enqueued one by one by 64 callers"] = float64(single) / time.Since(begin).Seconds()
	rest, err := settled(ctx, deep.pid())
	if err != nil {
		return nil, err
	}
	saw["memory at rest"] = mib(rest)

	if err := compareDepths(ctx, deep, short, count, saw); err != nil {
		return nil, err
	}

	_, peak, err := memory(deep.pid())
	if err != nil {
		return nil, err
	}
	saw["peak memory"] = mib(peak)
	deep.kill()
	if err := deep.origin.busy(ctx, 0); err != nil {
		return nil, err
	}
	deep.origin.forget()
	begin = time.Now()
	if err := deep.start(ctx); err != nil {
		return nil, err
	}
	select {
	case at := <-deep.origin.first:
		saw["first byte after kill -9 and a restart"] = at.Sub(begin).Seconds()
	case exit := <-deep.exited:
		return nil, fmt.Errorf("the daemon has ended after its restart: %w", exit)
	case <-time.After(2 * time.Minute):
		return nil, errors.New("no byte in 2 minutes after the restart")
	}
	rest, err = settled(ctx, deep.pid())
	saw["memory after the restart"] = mib(rest)
	return saw, err
}

// compareDepths runs as many tasks as the short queue has, in turn through it and through the long one, of that length. The
// ratios that it leaves are those of the length that it was last called with.
func compareDepths(ctx context.Context, deep, short *queued, length int, saw map[string]float64) error {
	count := min(shallow, length)
	var long, beside, cpus, walls []float64
	for range rounds {
		base, err := short.round(ctx, count)
		if err != nil {
			return err
		}
		got, err := deep.round(ctx, count)
		if err != nil {
			return err
		}
		cpus, walls = append(cpus, got.CPU/max(base.CPU, .01)), append(walls, got.Wall/base.Wall)
		long, beside = append(long, got.CPU/float64(count)*1000), append(beside, base.CPU/float64(count)*1000)
	}
	saw["CPU a task, to that at 1,000"] = spreadOf(cpus).median
	saw["time a task, to that at 1,000"] = spreadOf(walls).median
	saw[costAt(length)], saw[costBeside(length)] = spreadOf(long).median, spreadOf(beside).median
	return nil
}

// queued is a daemon with one session, whose tasks wait for one server.
type queued struct {
	*daemon
	s      *urlsession.Session
	origin *origin
	out    string
	passed int // tasks that rounds have made
}

// queued may be closed also where there is an error.
func (l *lab) queued(ctx context.Context, name string, size int64) (q *queued, err error) {
	q = &queued{out: l.disk.path("out")}
	if q.origin, err = serveOrigin(holding(size)); err != nil {
		return q, err
	}
	if q.daemon, err = l.daemon(ctx, l.disk.path("state", name)); err != nil {
		return q, err
	}
	q.s, err = q.session(connections)
	return q, err
}

func (q *queued) close() {
	if q.daemon != nil {
		q.daemon.close()
	}
	if q.origin != nil {
		q.origin.close()
	}
}

// held is a download that the server holds.
func (q *queued) held(i int) urlsession.Download { return q.download("/held/", i) }

func (q *queued) download(path string, i int) urlsession.Download {
	name := fmt.Sprintf("%07d.bin", i)
	return urlsession.Download{
		Request:     urlsession.Get(q.origin.url + path + name),
		Destination: filepath.Join(q.out, filepath.Base(q.state)+filepath.Base(path)+name),
	}
}

// oneByOne makes the downloads from begin to end by so many callers at once.
func (q *queued) oneByOne(ctx context.Context, callers, begin, end int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	next.Store(int64(begin))
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < end && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				d := q.held(i)
				if _, err := q.s.DownloadTask(ctx, d.Request, d.Destination); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// round runs count more tasks to their end, before those that are queued, which stay. They wait with them at first, as
// the connections are held.
func (q *queued) round(ctx context.Context, count int) (usage, error) {
	if err := q.origin.busy(ctx, connections); err != nil {
		return usage{}, err
	}
	info, err := q.s.Info(ctx)
	if err != nil {
		return usage{}, err
	}
	first, err := enqueue(ctx, q.s, count, func(i int) urlsession.Download {
		d := q.download(atOncePath, q.passed+i)
		d.Request.Priority = urlsession.PriorityHigh
		return d
	})
	if err != nil {
		return usage{}, err
	}
	q.passed += count
	before, err := cpu(q.pid())
	if err != nil {
		return usage{}, err
	}
	begin := time.Now()
	q.origin.release()
	if err := ended(ctx, q.s, info.Last, first, count); err != nil {
		return usage{}, err
	}
	wall := time.Since(begin)
	after, err := cpu(q.pid())
	return usage{Wall: wall.Seconds(), CPU: after - before}, err
}

// ended waits until count tasks from first on have ended, all well, by the events after number after.
func ended(ctx context.Context, s *urlsession.Session, after uint64, first urlsession.TaskID, count int) error {
	for ev, err := range s.Observe(ctx, &after) {
		if err != nil {
			return err
		}
		end, ok := ev.(urlsession.Completed)
		if !ok || end.Task() < first {
			continue
		}
		if end.Err != nil {
			return fmt.Errorf("task %d: %w", end.Task(), end.Err)
		}
		if count--; count == 0 {
			return nil
		}
	}
	return errors.New("the session's events have ended before its tasks")
}
