package engine_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

func TestStreamWaitsForItsListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handed atomic.Int32
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			resp := &task.Response{Status: 200}
			if err := a.Observer.Response(ctx, resp); err != nil {
				return transfer.Result{}, err
			}
			buf := make([]byte, 1)
			for i := range 5 {
				buf[0] = byte('a' + i)
				if err := a.Observer.Data(ctx, buf); err != nil {
					return transfer.Result{}, err
				}
				handed.Add(1)
			}
			return transfer.Result{Response: resp}, nil
		})
		id := create(t, e, get("http://h/", func(s *task.Spec) { s.Stream = true }))
		synctest.Wait()
		if handed.Load() != 0 {
			t.Errorf("%d pieces handed over to nobody", handed.Load())
		}
		var body strings.Builder
		var evs []task.Event
		for ev, err := range e.Events(t.Context(), task.EventQuery{Task: id}) {
			if err != nil {
				t.Fatal(err)
			}
			evs = append(evs, ev)
			if d, ok := ev.Detail.(task.DataReceived); ok {
				body.Write(d.Data)
				synctest.Wait()
				if int(handed.Load()) > body.Len() {
					t.Errorf("%d pieces handed over, %d taken", handed.Load(), body.Len())
				}
			}
		}
		if body.String() != "abcde" {
			t.Errorf("body %q", body.String())
		}
		if s := names(evs); strings.Index(s, "responsereceived") > strings.Index(s, "datareceived") {
			t.Errorf("events: %s", s)
		}
	})
}

func TestLastPieceOfAStreamIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			res, err := answer(200)(ctx, a)
			if err != nil {
				return res, err
			}
			return res, a.Observer.Data(ctx, []byte("last")) // and the task ends before the listener has looked
		}, withStore(slowStore{Store: memstore.New("s"), before: true}))
		id := create(t, e, get("http://h/", func(s *task.Spec) { s.Stream = true }))
		if s := names(collect(t, e, id)); !strings.HasSuffix(s, "responsereceived datareceived sessioncompleted") {
			t.Errorf("events: %s", s)
		}
	})
}

func TestStreamEndsWithoutAListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := func(s *task.Spec) { s.Stream, s.Policy.ResourceTimeout = true, time.Hour }
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			return transfer.Result{}, a.Observer.Data(ctx, []byte("x"))
		})
		cancelled, late := create(t, e, get("http://h/", stream)), create(t, e, get("http://h/", stream))
		synctest.Wait()
		e.Cancel(t.Context(), cancelled)
		synctest.Wait()
		if rec, _ := e.Task(t.Context(), cancelled); rec.State != task.Completed {
			t.Errorf("the cancelled one is %s", rec.State)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if rec, _ := e.Task(t.Context(), late); rec.State != task.Completed || rec.Failure.Code != task.TimedOut {
			t.Errorf("the other is %s: %v", rec.State, rec.Failure.Err())
		}
	})
}
