package engine_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

type tripper struct{ configuration int }

func (tripper) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("not used") }

func TestChainOfATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("its configuration is gone")
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if a.RoundTripper != (tripper{a.Spec.Configuration}) {
				t.Errorf("the task of configuration %d has the chain %v", a.Spec.Configuration, a.RoundTripper)
			}
			return answer(200)(ctx, a)
		}, func(o *engine.Options) {
			o.Chain = func(s *task.Spec) (http.RoundTripper, error) {
				switch s.Configuration {
				case 3:
					return nil, gone
				case 4:
					return nil, &task.Error{Op: "x", Code: task.ClientCertRejected, Err: gone}
				}
				return tripper{s.Configuration}, nil
			}
		})
		of := func(n int) task.ID { return create(t, e, get("http://h/", func(s *task.Spec) { s.Configuration = n })) }
		for n, want := range map[int]task.Code{1: 0, 2: 0, 3: task.Unknown, 4: task.ClientCertRejected} {
			rec := end(t, e, of(n))
			if (rec.Failure != nil) != (want != 0) || want != 0 && rec.Failure.Code != want {
				t.Errorf("configuration %d: it ended with %v", n, rec.Failure.Err())
			}
		}
	})
}

func TestSetLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l attempts
		e := start(t, l.run(hang), func(o *engine.Options) { o.MaxPerHost = 2 })
		for range 12 {
			create(t, e, get("http://h/"))
		}
		running := func(want int) {
			t.Helper()
			synctest.Wait()
			if n := len(l.list()); n != want {
				t.Errorf("%d attempts; want %d", n, want)
			}
		}
		running(2)
		e.SetLimits(4, 0)
		running(4)
		limit := l.list()[0].Limits[1]
		if limit != l.list()[3].Limits[1] {
			t.Error("the attempts do not share a limit")
		}
		e.SetLimits(0, 1000)
		if limit.Rate() != 1000 {
			t.Errorf("attempts under way are under %d", limit.Rate())
		}
		running(6)
		e.SetLimits(1, 1<<30)
		for id := task.ID(1); id <= 5; id++ {
			if err := e.Cancel(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		running(6)
		e.Cancel(t.Context(), 6)
		running(7)
		time.Sleep(time.Second)
	})
}
