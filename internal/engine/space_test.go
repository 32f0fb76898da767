package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

func diskFull(errno syscall.Errno) error {
	return &task.Error{Op: "write part file", URL: "/d/f.part", Code: task.CannotWriteFile, Err: errno}
}

func toFolder(s *task.Spec) {
	s.Kind, s.Download = task.Download, &task.DownloadSpec{Destination: "f", Path: "/d/f"}
	s.Policy.WaitsForSpace = true
}

func TestFullDiskPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Int64
		free.Store(1 << 30)
		var tries, looks atomic.Int32
		d := newDisk()
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			tries.Add(1)
			answer(200)(ctx, a)
			a.Observer.Received(10<<20, 100<<20)
			if free.Load() < 90<<20 {
				free.Store(0)
				return transfer.Result{}, diskFull(syscall.ENOSPC)
			}
			return answer(200)(ctx, a)
		}, func(o *engineOptions) {
			o.Space = func(folder string) (int64, error) {
				if looks.Add(1); folder != "/d" {
					t.Errorf("asked of %q", folder)
				}
				return free.Load(), nil
			}
		})
		ctx := t.Context()
		free.Store(20 << 20)
		id := create(t, p.Engine, get("http://h/", toFolder))
		synctest.Wait()
		begun := time.Now()
		rec, _ := p.Task(ctx, id)
		if w := rec.Waiting; rec.State != task.Running || w == nil || w.Reason != task.WaitSpace || w.Detail != "/d" || w.Error == nil || w.Error.Code != task.CannotWriteFile {
			t.Fatalf("waiting: %+v", w)
		}
		time.Sleep(time.Hour)
		free.Store(50 << 20) // not enough for what is missing
		time.Sleep(time.Hour)
		if n := tries.Load(); n != 1 {
			t.Errorf("%d attempts while there was no room", n)
		}
		if n := looks.Load(); n < 120 || n > 150 {
			t.Errorf("%d looks in two hours", n)
		}
		free.Store(200 << 20)
		freed := time.Now()
		if rec := end(t, p.Engine, id); rec.Failure != nil || rec.Attempt != 2 || rec.Retries != 0 {
			t.Errorf("%+v", rec)
		}
		if d := time.Since(freed); d > time.Minute {
			t.Errorf("it went on %v after there was room", d)
		}
		if rec, _ := p.Task(ctx, id); rec.Ended.Sub(begun) < 2*time.Hour {
			t.Errorf("ended at %v", rec.Ended)
		}
		evs := d.log(t, id)
		if s := names(evs); strings.Count(s, "waiting") != 1 || strings.Contains(s, "willretry") {
			t.Errorf("events: %s", s)
		}
	})
}

// A quota is not seen by a look: the attempts are what find out, less and less often.
func TestQuotaIsTriedLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		var room atomic.Bool
		p := newDisk().boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if tries.Add(1); !room.Load() {
				return transfer.Result{}, diskFull(syscall.EDQUOT)
			}
			return answer(200)(ctx, a)
		}, func(o *engineOptions) { o.Space = func(string) (int64, error) { return 1 << 40, nil } })
		id := create(t, p.Engine, get("http://h/", toFolder))
		time.Sleep(time.Hour)
		if n := tries.Load(); n < 55 || n > 70 {
			t.Errorf("%d attempts in an hour", n)
		}
		room.Store(true)
		end(t, p.Engine, id)
	})
}

// While the disk is known to be full, no request is made for more; a crash changes nothing about that.
func TestFullDiskIsLookedAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Int64
		var l attempts
		space := func(o *engineOptions) { o.Space = func(string) (int64, error) { return free.Load(), nil } }
		d := newDisk()
		ctx := t.Context()
		p := d.boot(t, l.run(answer(200)), space)
		for range 1000 {
			create(t, p.Engine, get("http://h/", toFolder))
		}
		other := create(t, p.Engine, get("http://g/", toFolder))
		data := create(t, p.Engine, get("http://g/"))
		end(t, p.Engine, data)
		time.Sleep(5 * time.Minute)
		parked := 0
		for _, ev := range d.log(t, 0) {
			if w, ok := ev.Detail.(task.Waiting); ok && w.Reason == task.WaitSpace {
				parked++
			}
		}
		if n := len(l.list()); n != 1 || parked < 100 || parked > 400 {
			t.Errorf("%d attempts; %d tasks were told to wait", n, parked)
		}
		p.Suspend(ctx, 1)
		p.Cancel(ctx, 2)
		p.crash()
		p = d.boot(t, l.run(answer(200)), space)
		time.Sleep(5 * time.Minute)
		if n := len(l.list()); n != 1 {
			t.Errorf("%d attempts", n)
		}
		free.Store(1 << 30)
		end(t, p.Engine, other)
		p.Resume(ctx, 1)
		time.Sleep(5 * time.Minute)
		if n := p.Alive(); n != 0 {
			t.Errorf("%d tasks are left", n)
		}
	})
}

func TestFullDiskFailsInProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, fail(diskFull(syscall.ENOSPC)), withStore(memstore.New("s")))
		rec := end(t, e, create(t, e, get("http://h/", toFolder, func(s *task.Spec) { s.Policy.WaitsForSpace = false })))
		if !errors.Is(rec.Failure.Err(), task.CannotWriteFile) || rec.Attempt != 1 {
			t.Errorf("%+v", rec.Failure)
		}
	})
}

func TestWaitForSpaceEndsWithTheResourceTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newDisk().boot(t, fail(diskFull(syscall.ENOSPC)), func(o *engineOptions) {
			o.Space = func(string) (int64, error) { return 0, errors.New("the folder is gone") }
		})
		rec := end(t, p.Engine, create(t, p.Engine, get("http://h/", toFolder, timeout(time.Hour))))
		if !errors.Is(rec.Failure.Err(), task.TimedOut) || !strings.Contains(rec.Failure.Text(), "no space left") {
			t.Errorf("%v", rec.Failure.Err())
		}
	})
}

func TestSuspendEndsTheWaitForSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l attempts
		p := newDisk().boot(t, l.run(steps(fail(diskFull(syscall.ENOSPC)), answer(200))), func(o *engineOptions) {
			o.Space = func(string) (int64, error) { return 1 << 40, nil }
		})
		ctx := t.Context()
		id := create(t, p.Engine, get("http://h/", toFolder))
		synctest.Wait()
		p.Suspend(ctx, id)
		time.Sleep(time.Hour)
		if n := len(l.list()); n != 1 {
			t.Errorf("%d attempts while it was suspended", n)
		}
		resumed := time.Now()
		p.Resume(ctx, id)
		end(t, p.Engine, id)
		if d := time.Since(resumed); d != 0 {
			t.Errorf("resumed it waited %v", d)
		}
	})
}
