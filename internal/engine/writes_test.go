package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// committing is answer of a download, which tells of its rename.
func committing(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
	if res, err := answer(200)(ctx, a); err != nil {
		return res, err
	}
	err := a.Observer.(transfer.Committer).Committing(&task.Commit{Path: "/f", Part: "/p"})
	return transfer.Result{Path: "/f", Transactions: []task.Transaction{{Method: "GET"}}}, err
}

func TestWritesOfASmallTask(t *testing.T) {
	for name, c := range map[string]struct {
		run    runFunc
		change func(*task.Spec)
		writes int32
		events string
	}{
		"data":     {answer(200), func(*task.Spec) {}, 1, "responsereceived sessioncompleted"},
		"download": {committing, download, 2, "responsereceived metrics downloadcompleted sessioncompleted"},
		"POST":     {answer(200), method("POST"), 2, "responsereceived sessioncompleted"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var writes atomic.Int32
			d := newDisk()
			p := d.start(t, &process{beforeSave: func(*task.Record) error { writes.Add(1); return nil }}, c.run)
			id := create(t, p.Engine, get("http://h/", c.change))
			synctest.Wait()
			if n := writes.Load(); n != c.writes {
				t.Errorf("%s: %d writes; want %d", name, n, c.writes)
			}
			if s := names(d.log(t, id)); s != c.events {
				t.Errorf("%s: events: %s", name, s)
			}
		})
	}
}

// An attempt that lasts stores its response before long, and no progress is told before it.
func TestResponseOfALongAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if _, err := answer(200)(ctx, a); err != nil {
				return transfer.Result{}, err
			}
			for n := int64(1); n <= 100; n++ {
				a.Observer.Received(n, 100)
				time.Sleep(20 * time.Millisecond)
			}
			return transfer.Result{Path: "/f"}, nil
		})
		id := create(t, p.Engine, get("http://h/", download))
		time.Sleep(time.Second)
		if s := names(d.log(t, id)); s != "responsereceived" {
			t.Errorf("after a second the disk has: %s", s)
		}
		other := create(t, p.Engine, get("http://h/", download))
		for i, ev := range collect(t, p.Engine, other) {
			if _, ok := ev.Detail.(task.DownloadProgress); ok {
				t.Errorf("event %d, before the response, is progress", i)
			}
			if _, ok := ev.Detail.(task.ResponseReceived); ok {
				break
			}
		}
	})
}

// A store that fails the late write gets the event with the next.
func TestNotedEventIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		var fails atomic.Bool
		fails.Store(true)
		p := d.start(t, &process{beforeSave: func(*task.Record) error {
			if fails.Load() {
				return errors.New("the disk fails")
			}
			return nil
		}}, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			defer time.Sleep(time.Second)
			return answer(200)(ctx, a)
		})
		id := create(t, p.Engine, get("http://h/"))
		time.Sleep(500 * time.Millisecond)
		fails.Store(false)
		end(t, p.Engine, id)
		if s := names(d.log(t, id)); s != "responsereceived sessioncompleted" {
			t.Errorf("events: %s", s)
		}
	})
}
