package engine_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// A listener tells what tasks have moved before their ends, and reads no record for it.
func TestLastProgressIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if _, err := answer(200)(ctx, a); err != nil {
				return transfer.Result{}, err
			}
			a.Observer.Received(100, 100)
			return transfer.Result{Path: "/f"}, nil
		})
		const n = 3
		told := make(map[task.ID]int64)
		ended := 0
		for ev, err := range p.Events(t.Context(), task.EventQuery{}) {
			if err != nil {
				t.Fatal(err)
			}
			switch detail := ev.Detail.(type) {
			case task.EventsCompleted:
				for range n {
					create(t, p.Engine, get("http://h/", download))
				}
				synctest.Wait() // they have ended, and the listener knows nothing of it
				p.unreadable.Store(true)
			case task.DownloadProgress:
				told[ev.Task] = detail.Total
			case task.DownloadCompleted:
				if told[ev.Task] != 100 {
					t.Errorf("task %d has ended, and %d bytes of it were told", ev.Task, told[ev.Task])
				}
			case task.SessionCompleted:
				ended++
			}
			if ended == n {
				break
			}
		}
	})
}

func TestLatelyDoesNotGrow(t *testing.T) {
	if few, many := engine.Lately(10), engine.Lately(5000); few != 10 || many != 1024 {
		t.Errorf("of 10 tasks that have ended %d are known, and of 5,000 %d", few, many)
	}
}
