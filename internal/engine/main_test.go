package engine_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

var _ control.Service = (*engine.Engine)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runFunc stands for the network: what one attempt does.
type runFunc func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error)

func start(t *testing.T, run runFunc, opts ...func(*engine.Options)) *engine.Engine {
	t.Helper()
	o := engine.Options{Store: memstore.New("s"), Session: "s", Run: run}
	for _, f := range opts {
		f(&o)
	}
	e := engine.New(o)
	t.Cleanup(func() { e.Close() })
	return e
}

func get(url string, change ...func(*task.Spec)) task.Spec {
	s := task.Spec{Kind: task.Data, Request: task.Request{Method: "GET", URL: url},
		Policy: task.Policy{ResourceTimeout: 7 * 24 * time.Hour, AllowsExpensive: true, AllowsConstrained: true}}
	for _, f := range change {
		f(&s)
	}
	return s
}

func retries(n int) func(*task.Spec) { return func(s *task.Spec) { s.Policy.Retries = n } }

func create(t *testing.T, e *engine.Engine, s task.Spec) task.ID {
	t.Helper()
	id, err := e.Create(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// collect gathers a task's events to its end.
func collect(t *testing.T, e *engine.Engine, id task.ID) []task.Event {
	t.Helper()
	var evs []task.Event
	for ev, err := range e.Events(t.Context(), task.EventQuery{Task: id}) {
		if err != nil {
			t.Fatal(err)
		}
		evs = append(evs, ev)
	}
	return evs
}

func names(evs []task.Event) string {
	var s []string
	for _, ev := range evs {
		s = append(s, ev.Detail.EventName())
	}
	return strings.Join(s, " ")
}

func end(t *testing.T, e *engine.Engine, id task.ID) task.Record {
	t.Helper()
	collect(t, e, id)
	rec, err := e.Task(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if rec.State != task.Completed {
		t.Fatalf("after its last event the task is %s", rec.State)
	}
	return rec
}

func lost(unsent bool) error {
	return &task.Error{Op: "data", Code: task.ConnectionLost, Unsent: unsent, Err: io.ErrUnexpectedEOF}
}

func answer(status int, header ...string) runFunc {
	return func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
		resp := &task.Response{URL: a.Spec.Request.URL, Status: status, Header: http.Header{}, ContentLength: -1}
		for i := 0; i+1 < len(header); i += 2 {
			resp.Header.Set(header[i], header[i+1])
		}
		res := transfer.Result{Response: resp, Body: []byte("body")}
		return res, a.Observer.Response(ctx, resp)
	}
}

func hang(ctx context.Context, _ *transfer.Attempt) (transfer.Result, error) {
	<-ctx.Done()
	return transfer.Result{}, context.Cause(ctx)
}

func download(s *task.Spec) { s.Kind = task.Download }

// steps runs one function an attempt, by its number.
func steps(fs ...runFunc) runFunc {
	return func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
		if a.Number > len(fs) {
			return transfer.Result{}, fmt.Errorf("attempt %d was not expected", a.Number)
		}
		return fs[a.Number-1](ctx, a)
	}
}

func fail(err error) runFunc {
	return func(context.Context, *transfer.Attempt) (transfer.Result, error) { return transfer.Result{}, err }
}

// slowStore takes a second to read events, before or after it has looked.
type slowStore struct {
	store.Store
	before, after bool
}

func (s slowStore) Events(ctx context.Context, after uint64, id task.ID, limit int) ([]task.Event, error) {
	if s.before {
		time.Sleep(time.Second)
	}
	evs, err := s.Store.Events(ctx, after, id, limit)
	if s.after {
		time.Sleep(time.Second)
	}
	return evs, err
}

func withStore(s store.Store) func(*engine.Options) { return func(o *engine.Options) { o.Store = s } }
