package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

func TestNumbersAndOrderOfEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			a.Observer.Sent(5, 5)
			resp := &task.Response{URL: a.Spec.Request.URL, Status: 200, ContentLength: 7}
			if err := a.Observer.Response(ctx, resp); err != nil {
				return transfer.Result{}, err
			}
			a.Observer.Received(7, 7)
			return transfer.Result{Response: resp, Path: "/f", Transactions: []task.Transaction{{}}}, nil
		})
		spec := get("http://h/f", download)
		for want := range 3 {
			if id := create(t, e, spec); id != task.ID(want+1) {
				t.Errorf("task %d has number %d", want+1, id)
			}
		}
		const want = "uploadprogress responsereceived metrics downloadprogress downloadcompleted sessioncompleted"
		for _, id := range []task.ID{2, 2, 3} { // the listener's EventsCompleted may fall anywhere
			got := strings.Join(strings.Fields(strings.Replace(names(collect(t, e, id)), "sessioneventscompleted", "", 1)), " ")
			if got != want {
				t.Errorf("events: %s", got)
			}
		}
	})
}

func TestProgressIsCoalescedAndItsLastIsNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pieces = 1000
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			for i := range int64(pieces) {
				a.Observer.Received(i+1, pieces)
				time.Sleep(time.Millisecond)
			}
			a.Observer.Received(2*pieces, 2*pieces)
			return transfer.Result{Path: "/f"}, nil
		})
		id := create(t, e, get("http://h/", download))
		var n int
		var sum, last int64
		var at time.Time
		for _, ev := range collect(t, e, id) {
			if p, ok := ev.Detail.(task.DownloadProgress); ok {
				if ev.Sequence != 0 {
					t.Error("a live event with a number")
				}
				if !at.IsZero() && ev.Time.Sub(at) < 100*time.Millisecond && p.Total != 2*pieces {
					t.Errorf("two progress events within %v", ev.Time.Sub(at))
				}
				n, sum, last, at = n+1, sum+p.Written, p.Total, ev.Time
			}
		}
		if n < 8 || n > 12 || sum != 2*pieces || last != 2*pieces {
			t.Errorf("%d events in a second, %d bytes in all, the last at %d", n, sum, last)
		}
		// A listener that comes late gets the newest one.
		evs := collect(t, e, id)
		if names(evs) != "downloadprogress downloadcompleted sessioncompleted" {
			t.Errorf("late listener: %s", names(evs))
		}
	})
}

func TestSlowListenerSkipsToTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			for i := range int64(100) {
				a.Observer.Received(i+1, 100)
				time.Sleep(100 * time.Millisecond)
			}
			return transfer.Result{Path: "/f"}, nil
		})
		id := create(t, e, get("http://h/", download))
		var n int
		for ev, err := range e.Events(t.Context(), task.EventQuery{Task: id}) {
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := ev.Detail.(task.DownloadProgress); ok {
				n++
				time.Sleep(5 * time.Second)
			}
		}
		if n > 4 {
			t.Errorf("a slow listener got %d progress events", n)
		}
	})
}

func TestOneOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, answer(200))
		end(t, e, create(t, e, get("http://h/")))
		for _, err := range e.Events(t.Context(), task.EventQuery{Own: true}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range e.Events(t.Context(), task.EventQuery{Own: true}) {
				if !errors.Is(err, task.SessionInUse) {
					t.Errorf("a second owner: %v", err)
				}
			}
			break
		}
		for _, err := range e.Events(t.Context(), task.EventQuery{Own: true}) {
			if err != nil {
				t.Errorf("after the first has left: %v", err)
			}
			break
		}
	})
}

// totals are the downloads' progress events.
func totals(evs []task.Event) (written, total []int64) {
	for _, ev := range evs {
		if p, ok := ev.Detail.(task.DownloadProgress); ok {
			written, total = append(written, p.Written), append(total, p.Total)
		}
	}
	return written, total
}

func TestProgressComesAfterItsResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			time.Sleep(1500 * time.Millisecond) // the listener has looked for events, and will look at the progress
			res, err := answer(200)(ctx, a)
			a.Observer.Received(10, 20)
			time.Sleep(10 * time.Second)
			return res, err
		}, withStore(slowStore{Store: memstore.New("s"), after: true}))
		s := names(collect(t, e, create(t, e, get("http://h/", download))))
		if !strings.Contains(s, "responsereceived downloadprogress") || strings.HasPrefix(s, "sessioneventscompleted downloadprogress") {
			t.Errorf("events: %s", s)
		}
	})
}

func TestSlowListenerIsNotToldOfAnAttemptBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempt := func(bytes int64, err error) runFunc {
			return func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
				res, _ := answer(200)(ctx, a)
				a.Observer.Received(0, 1000)
				a.Observer.Sent(bytes, 1000)
				a.Observer.Received(bytes, 1000)
				time.Sleep(10 * time.Second)
				return res, err
			}
		}
		e := start(t, steps(attempt(500, lost(false)), attempt(10, nil)))
		id := create(t, e, get("http://h/", download, retries(1)))
		var retried, responses int
		for ev, err := range e.Events(t.Context(), task.EventQuery{Task: id}) {
			if err != nil {
				t.Fatal(err)
			}
			switch d := ev.Detail.(type) {
			case task.ResponseReceived:
				if responses++; responses == 1 {
					time.Sleep(15 * time.Second) // the second attempt is under way
				}
			case task.WillRetry:
				retried++
			case task.DownloadProgress:
				if d.Total == 10 && responses < 2 {
					t.Error("progress of the second attempt before its response")
				}
			case task.UploadProgress:
				if d.Total == 10 && retried == 0 {
					t.Error("progress of the second attempt before the end of the first")
				}
			}
		}
	})
}

func TestProgressOfADownloadThatGoesOn(t *testing.T) {
	attempt := func(from, to int64, err error) runFunc {
		return func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			time.Sleep(5 * time.Second) // it connects
			res, _ := answer(200)(ctx, a)
			a.Observer.Received(from, 2000)
			a.Observer.Received(to, 2000)
			time.Sleep(5 * time.Second)
			return res, err
		}
	}
	for _, c := range []struct {
		name           string
		second         runFunc
		written, total string
	}{
		{"from what is held", attempt(1000, 2000, nil), "[1000 1000]", "[1000 2000]"},
		{"from 0", attempt(0, 10, nil), "[1000 10]", "[1000 10]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := start(t, steps(attempt(0, 1000, lost(false)), c.second))
				id := create(t, e, get("http://h/", download, retries(1)))
				written, total := totals(collect(t, e, id))
				if fmt.Sprint(written) != c.written || fmt.Sprint(total) != c.total {
					t.Errorf("written %v of %v, want %s of %s", written, total, c.written, c.total)
				}
			})
		})
	}
}

func TestLateBytesOfAnEarlierAttemptDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first transfer.Observer
		e := start(t, steps(func(_ context.Context, a *transfer.Attempt) (transfer.Result, error) {
			first = a.Observer
			return transfer.Result{}, lost(false)
		}, func(_ context.Context, a *transfer.Attempt) (transfer.Result, error) {
			a.Observer.Sent(1, 100)
			first.Sent(99, 100) // a transport that has not noticed yet
			return transfer.Result{}, nil
		}))
		if rec := end(t, e, create(t, e, get("http://h/", retries(1)))); rec.Counts.Sent != 1 {
			t.Errorf("%d bytes sent", rec.Counts.Sent)
		}
	})
}

func TestListenerAfterTheLastEventEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, answer(200))
		id := create(t, e, get("http://h/"))
		var last uint64
		for _, ev := range collect(t, e, id) {
			last = max(last, ev.Sequence)
		}
		listen := func(q task.EventQuery) (string, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			var evs []task.Event
			for ev, err := range e.Events(ctx, q) {
				if err != nil {
					return names(evs), err
				}
				evs = append(evs, ev)
			}
			return names(evs), nil
		}
		if s, err := listen(task.EventQuery{Task: id, After: &last}); err != nil || s != "sessioneventscompleted" {
			t.Errorf("of the task: %s, %v", s, err)
		}
		e.Finish(t.Context())
		if s, err := listen(task.EventQuery{}); err != nil || !strings.HasSuffix(s, "invalidated") {
			t.Errorf("of the session: %s, %v", s, err)
		}
		e.Acknowledge(t.Context(), last+1)
		if s, err := listen(task.EventQuery{}); err != nil || s != "sessioneventscompleted" {
			t.Errorf("of the session, once all is acknowledged: %s, %v", s, err)
		}
	})
}

func TestListenerOfAForgottenTaskEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			<-release
			return answer(200)(ctx, a)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		id := create(t, e, get("http://h/"))
		var last error
		for ev, err := range e.Events(ctx, task.EventQuery{Task: id}) {
			if _, ok := ev.Detail.(task.EventsCompleted); ok { // the listener is slow
				close(release)
				synctest.Wait()
				e.Release(id)
				e.Acknowledge(ctx, 100)
			}
			last = err
		}
		if !errors.Is(last, task.ResourceUnavailable) {
			t.Errorf("it ended with %v", last)
		}
	})
}

// The loop's body may call whatever it likes of its task.
func TestListenerMayCommandItsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			a.Observer.Received(int64(a.Number), 10)
			return hang(ctx, a)
		})
		ctx := t.Context()
		id := create(t, e, get("http://h/", download))
		n := 0
		for ev, err := range e.Events(ctx, task.EventQuery{Task: id}) {
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := ev.Detail.(task.DownloadProgress); !ok {
				continue
			}
			if n++; n < 3 {
				e.Suspend(ctx, id)
				e.Resume(ctx, id)
			} else {
				e.Cancel(ctx, id)
				end(t, e, id) // waits for the end within the loop
			}
		}
		if n != 3 {
			t.Errorf("%d progress events", n)
		}
	})
}
