package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/engine"
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
		spec := get("http://h/f", func(s *task.Spec) { s.Kind = task.Download })
		for want := range 3 {
			if id := create(t, e, spec); id != task.ID(want+1) {
				t.Errorf("task %d has number %d", want+1, id)
			}
		}
		got := names(collect(t, e, 2))
		// Each kind once and in this order; the listener's EventsCompleted may fall anywhere.
		got = strings.Join(strings.Fields(strings.Replace(got, "sessioneventscompleted", "", 1)), " ")
		want := "responsereceived metrics uploadprogress downloadprogress downloadcompleted sessioncompleted"
		wantLive := "uploadprogress responsereceived metrics downloadprogress downloadcompleted sessioncompleted"
		if got != want && got != wantLive {
			t.Errorf("events: %s", got)
		}
	})
}

func TestHostLimitAndPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, peak atomic.Int32
		var mu sync.Mutex
		var order []task.ID
		release := make(chan struct{})
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			peak.Store(max(peak.Load(), now.Add(1)))
			defer now.Add(-1)
			mu.Lock()
			order = append(order, a.ID)
			mu.Unlock()
			<-release
			return transfer.Result{}, nil
		}, func(o *engine.Options) { o.MaxPerHost = 2 })
		prio := func(p task.Priority) task.Spec {
			return get("http://h/", func(s *task.Spec) { s.Priority = p })
		}
		create(t, e, prio(0)) // 1 and 2 run at once
		create(t, e, prio(0))
		create(t, e, prio(task.PriorityLow))  // 3
		create(t, e, prio(0))                 // 4
		create(t, e, prio(task.PriorityHigh)) // 5
		last := create(t, e, prio(task.PriorityLow))
		other := create(t, e, get("http://other/"))
		synctest.Wait()
		if rec, _ := e.Task(t.Context(), 4); rec.State != task.Running || rec.Waiting == nil || rec.Waiting.Reason != task.WaitHostLimit {
			t.Errorf("a task above the limit: %s, waiting %+v", rec.State, rec.Waiting)
		}
		if now.Load() != 3 {
			t.Errorf("%d attempts at once, want 2 of a host and 1 of the other", now.Load())
		}
		if err := e.SetPriority(t.Context(), last, 1); err != nil {
			t.Error(err)
		}
		for range 7 {
			release <- struct{}{}
			synctest.Wait()
		}
		if i := slices.Index(order, other); i > 2 {
			t.Errorf("the other host's task waited for this one's: order %v", order)
		}
		order = slices.DeleteFunc(order, func(id task.ID) bool { return id <= 2 || id == other })
		if fmt.Sprint(order) != "[6 5 4 3]" {
			t.Errorf("order of the waiting ones: %v", order)
		}
		if peak.Load() != 3 {
			t.Errorf("peak %d", peak.Load())
		}
	})
}

func TestSuspendNestsAndStopsTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts atomic.Int32
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			attempts.Add(1)
			return hang(ctx, a)
		})
		ctx := t.Context()
		id := create(t, e, get("http://h/", func(s *task.Spec) {
			s.Suspended = true
			s.Policy.ResourceTimeout = time.Hour
		}))
		state := func(want task.State, wantAttempts int32) {
			t.Helper()
			synctest.Wait()
			rec, err := e.Task(ctx, id)
			if err != nil || rec.State != want || attempts.Load() != wantAttempts {
				t.Fatalf("state %s after %d attempts (%v); want %s after %d", rec.State, attempts.Load(), err, want, wantAttempts)
			}
		}
		state(task.Suspended, 0)
		time.Sleep(2 * time.Hour) // suspended time does not count
		e.Suspend(ctx, id)
		e.Resume(ctx, id)
		state(task.Suspended, 0)
		e.Resume(ctx, id)
		state(task.Running, 1)
		time.Sleep(59 * time.Minute)
		e.Suspend(ctx, id)
		state(task.Suspended, 1)
		time.Sleep(2 * time.Hour)
		e.Resume(ctx, id)
		e.Resume(ctx, id) // one too many does nothing
		state(task.Running, 2)
		time.Sleep(59 * time.Second)
		state(task.Running, 2)
		time.Sleep(2 * time.Second)
		state(task.Completed, 2)
		rec, _ := e.Task(ctx, id)
		if rec.Failure == nil || rec.Failure.Code != task.TimedOut {
			t.Errorf("ended with %+v", rec.Failure)
		}
	})
}

func TestSuspendAndResumeBeforeTheAttemptReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts atomic.Int32
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if attempts.Add(1) == 1 {
				<-ctx.Done()
				time.Sleep(time.Second) // a last checkpoint
				return transfer.Result{}, context.Cause(ctx)
			}
			return transfer.Result{}, nil
		})
		id := create(t, e, get("http://h/"))
		synctest.Wait()
		e.Suspend(t.Context(), id)
		e.Resume(t.Context(), id)
		if rec := end(t, e, id); rec.Failure != nil || attempts.Load() != 2 {
			t.Errorf("%d attempts, %+v", attempts.Load(), rec.Failure)
		}
	})
}

func TestEarliestBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, answer(200))
		begin := time.Now().Add(3 * time.Hour)
		id := create(t, e, get("http://h/", func(s *task.Spec) { s.EarliestBegin = begin }))
		rec, _ := e.Task(t.Context(), id)
		if rec.Waiting == nil || rec.Waiting.Reason != task.WaitSchedule || !rec.Waiting.Until.Equal(begin) {
			t.Errorf("waiting: %+v", rec.Waiting)
		}
		evs := collect(t, e, id)
		if !time.Now().Equal(begin) {
			t.Errorf("it began %v late", time.Since(begin))
		}
		if !strings.HasPrefix(names(evs), "waiting ") {
			t.Errorf("events: %s", names(evs))
		}
	})
}

func TestCancel(t *testing.T) {
	for _, c := range []struct {
		name string
		spec task.Spec
	}{
		{"running", get("http://h/")},
		{"suspended", get("http://h/", func(s *task.Spec) { s.Suspended = true })},
		{"scheduled", get("http://h/", func(s *task.Spec) { s.EarliestBegin = time.Now().Add(time.Hour) })},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := start(t, hang)
				id := create(t, e, c.spec)
				synctest.Wait()
				for range 2 {
					if err := e.Cancel(t.Context(), id); err != nil {
						t.Error(err)
					}
				}
				rec := end(t, e, id)
				if !errors.Is(rec.Failure.Err(), task.Cancelled) {
					t.Errorf("ended with %v", rec.Failure.Err())
				}
				evs := collect(t, e, id)
				if n := strings.Count(names(evs), "sessioncompleted"); n != 1 {
					t.Errorf("%d sessioncompleted in %s", n, names(evs))
				}
				if err := e.Cancel(t.Context(), id); err != nil {
					t.Errorf("Cancel of an ended task: %v", err)
				}
			})
		})
	}
}

func TestCancelKeepsResumeData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := &task.ResumeData{Version: 1, URL: "http://h/", Total: 10}
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			<-ctx.Done()
			return transfer.Result{ResumeData: held}, context.Cause(ctx)
		})
		id := create(t, e, get("http://h/", func(s *task.Spec) { s.Kind = task.Download }))
		synctest.Wait()
		e.Suspend(t.Context(), id) // the attempt ends; what it held is remembered
		synctest.Wait()
		e.Cancel(t.Context(), id)
		if rec := end(t, e, id); rec.ResumeData != held {
			t.Errorf("resume data: %+v", rec.ResumeData)
		}
	})
}

func TestRetries(t *testing.T) {
	script := func(steps ...runFunc) runFunc {
		var n atomic.Int32
		return func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			i := int(n.Add(1)) - 1
			if i >= len(steps) {
				return transfer.Result{}, fmt.Errorf("attempt %d was not expected", i+1)
			}
			return steps[i](ctx, a)
		}
	}
	fail := func(err error) runFunc {
		return func(context.Context, *transfer.Attempt) (transfer.Result, error) { return transfer.Result{}, err }
	}
	post := func(s *task.Spec) { s.Request.Method = "POST" }
	ok := answer(200)
	for _, c := range []struct {
		name   string
		spec   task.Spec
		run    runFunc
		code   task.Code // 0: success
		status int
		tries  int
	}{
		{"none by default", get("http://h/"), script(fail(lost(false)), ok), task.ConnectionLost, 0, 1},
		{"wire failures", get("http://h/", retries(2)), script(fail(lost(false)), fail(lost(false)), ok), 0, 200, 3},
		{"as often as allowed", get("http://h/", retries(2)), script(fail(lost(false)), fail(lost(false)), fail(lost(false)), ok), task.ConnectionLost, 0, 3},
		{"503 is delivered when retries end", get("http://h/", retries(1)), script(answer(503), answer(503), ok), 0, 503, 2},
		{"503 without retries is a response", get("http://h/"), script(answer(503), ok), 0, 503, 1},
		{"429", get("http://h/", retries(1)), script(answer(429), ok), 0, 200, 2},
		{"404 is final", get("http://h/", retries(5)), script(answer(404), ok), 0, 404, 1},
		{"a bad certificate is final", get("http://h/", retries(5)), script(fail(&task.Error{Code: task.CertificateUntrusted}), ok), task.CertificateUntrusted, 0, 1},
		{"a host that is not found is final", get("http://h/", retries(5)), script(fail(&task.Error{Code: task.CannotFindHost}), ok), task.CannotFindHost, 0, 1},
		{"but not to a patient task", get("http://h/", retries(-1)), script(fail(&task.Error{Code: task.CannotFindHost}), ok), 0, 200, 2},
		{"POST that may have been applied", get("http://h/", retries(5), post), script(fail(lost(false)), ok), task.ConnectionLost, 0, 1},
		{"POST that timed out may have been applied too", get("http://h/", retries(5), post), script(fail(&task.Error{Code: task.TimedOut}), ok), task.ConnectionLost, 0, 1},
		{"POST of which no byte had left", get("http://h/", retries(5), post), script(fail(lost(true)), ok), 0, 200, 2},
		{"POST answered 503", get("http://h/", retries(5), post), script(answer(503), ok), 0, 200, 2},
		{"POST answered 500", get("http://h/", retries(5), post), script(answer(500), ok), 0, 500, 1},
		{"POST with retryUnsafe", get("http://h/", retries(5), post, func(s *task.Spec) { s.Policy.RetryUnsafe = true }), script(fail(lost(false)), ok), 0, 200, 2},
		{"POST with an Idempotency-Key", get("http://h/", retries(5), post, func(s *task.Spec) { s.Request.Header = http.Header{"Idempotency-Key": {"k"}} }), script(fail(lost(false)), ok), 0, 200, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := start(t, c.run)
				id := create(t, e, c.spec)
				evs := collect(t, e, id)
				rec := end(t, e, id)
				code := task.Code(0)
				if rec.Failure != nil {
					code = rec.Failure.Code
				}
				if code != c.code || rec.Attempt != c.tries {
					t.Errorf("code %d after %d attempts, want %d after %d: %v", code, rec.Attempt, c.code, c.tries, rec.Failure.Err())
				}
				if c.status != 0 && (rec.Response == nil || rec.Response.Status != c.status) {
					t.Errorf("response %+v, want %d", rec.Response, c.status)
				}
				if n := strings.Count(names(evs), "willretry"); n != c.tries-1 {
					t.Errorf("%d willretry in %s", n, names(evs))
				}
			})
		})
	}
}

func TestRetryOfABodyThatCannotBeRewoundKeepsTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(_ context.Context, a *transfer.Attempt) (transfer.Result, error) {
			b, err := a.Body()
			if err != nil {
				return transfer.Result{}, err
			}
			io.Copy(io.Discard, b)
			b.Close()
			return transfer.Result{}, lost(false)
		})
		spec := get("http://h/", retries(5), func(s *task.Spec) {
			s.Request.Method, s.Request.Body = "PUT", &task.Body{Size: -1}
		})
		id, err := e.Create(t.Context(), spec, io.MultiReader(strings.NewReader("once")))
		if err != nil {
			t.Fatal(err)
		}
		if rec := end(t, e, id); rec.Failure.Code != task.ConnectionLost || rec.Attempt != 1 {
			t.Errorf("after %d attempts: %v", rec.Attempt, rec.Failure.Err())
		}
	})
}

func TestBodyRewinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		e := start(t, func(_ context.Context, a *transfer.Attempt) (transfer.Result, error) {
			b, err := a.Body()
			if err != nil {
				return transfer.Result{}, err
			}
			s, _ := io.ReadAll(b)
			got = append(got, string(s))
			go func() { // as net/http may
				time.Sleep(10 * time.Second)
				b.Close()
			}()
			return transfer.Result{}, lost(false)
		})
		spec := get("http://h/", retries(2), func(s *task.Spec) {
			s.Request.Method, s.Request.Body = "PUT", &task.Body{Size: 5}
		})
		id, err := e.Create(t.Context(), spec, strings.NewReader("twice"))
		if err != nil {
			t.Fatal(err)
		}
		end(t, e, id)
		if fmt.Sprint(got) != "[twice twice twice]" {
			t.Errorf("bodies: %q", got)
		}
		time.Sleep(time.Minute) // the last close
	})
}

func TestRetryAfterHoldsTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		begun := map[task.ID][]time.Duration{}
		from := time.Now()
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			mu.Lock()
			begun[a.ID] = append(begun[a.ID], time.Since(from))
			mu.Unlock()
			if a.ID == 1 && a.Number == 1 {
				return answer(503, "Retry-After", "120")(ctx, a)
			}
			return answer(200)(ctx, a)
		})
		one := create(t, e, get("http://h/", retries(1)))
		synctest.Wait()
		two := create(t, e, get("http://h/"))
		three := create(t, e, get("http://other/"))
		rec, _ := e.Task(t.Context(), two)
		if rec.Waiting == nil || rec.Waiting.Reason != task.WaitRetry || rec.Waiting.Until.IsZero() {
			t.Errorf("the host's other task waits for %+v", rec.Waiting)
		}
		end(t, e, one)
		end(t, e, two)
		end(t, e, three)
		if d := begun[one][1]; d < 120*time.Second {
			t.Errorf("retried after %v", d)
		}
		if d := begun[two][0]; d < 120*time.Second {
			t.Errorf("the host's other task began after %v", d)
		}
		if d := begun[three][0]; d != 0 {
			t.Errorf("another host's task began after %v", d)
		}
	})
}

func TestBackoffIsBoundedAndJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last time.Time
		var gaps []time.Duration
		e := start(t, func(context.Context, *transfer.Attempt) (transfer.Result, error) {
			if !last.IsZero() {
				gaps = append(gaps, time.Since(last))
			}
			last = time.Now()
			return transfer.Result{}, lost(false)
		})
		end(t, e, create(t, e, get("http://h/", retries(40))))
		if len(gaps) != 40 {
			t.Fatalf("%d retries", len(gaps))
		}
		seen := map[time.Duration]bool{}
		for i, d := range gaps {
			if limit := min(5*time.Minute, time.Second<<min(i, 20)); d > limit {
				t.Errorf("retry %d after %v, more than %v", i+1, d, limit)
			}
			seen[d] = true
		}
		if len(seen) < 35 {
			t.Errorf("only %d different delays of 40: no jitter", len(seen))
		}
	})
}

func TestResourceTimeoutBoundsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := time.Now()
		e := start(t, func(context.Context, *transfer.Attempt) (transfer.Result, error) {
			return transfer.Result{}, lost(false)
		})
		id := create(t, e, get("http://h/", retries(-1), func(s *task.Spec) { s.Policy.ResourceTimeout = time.Hour }))
		rec := end(t, e, id)
		if rec.Failure.Code != task.TimedOut || time.Since(from) != time.Hour {
			t.Errorf("after %v: %v", time.Since(from), rec.Failure.Err())
		}
	})
}

// network is an engine.Network under a test's control.
type network struct {
	changes            chan struct{}
	expensive, limited atomic.Bool
}

func (n *network) Online() bool                                { return true }
func (n *network) Changes(ctx context.Context) <-chan struct{} { return n.changes }
func (n *network) Metered() (bool, bool)                       { return n.expensive.Load(), n.limited.Load() }
func withNetwork(n *network) func(*engine.Options)             { return func(o *engine.Options) { o.Network = n } }
func unreachable(context.Context, *transfer.Attempt) (transfer.Result, error) {
	return transfer.Result{}, &task.Error{Op: "connect", Code: task.CannotConnect, Unsent: true}
}

func TestWaitsForConnectivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{changes: make(chan struct{})}
		var up atomic.Bool
		var tries atomic.Int32
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			tries.Add(1)
			if up.Load() {
				return answer(200)(ctx, a)
			}
			return unreachable(ctx, a)
		}, withNetwork(n))
		patient := func(s *task.Spec) { s.Policy.WaitsForConnectivity = true }
		id := create(t, e, get("http://h/", patient))
		time.Sleep(10 * time.Minute)
		rec, _ := e.Task(t.Context(), id)
		if rec.State != task.Running || rec.Waiting == nil || rec.Waiting.Reason != task.WaitConnectivity {
			t.Fatalf("%s, waiting %+v", rec.State, rec.Waiting)
		}
		if n := tries.Load(); n > 30 {
			t.Errorf("%d tries in ten minutes", n)
		}
		up.Store(true)
		before := time.Now()
		n.changes <- struct{}{}
		evs := collect(t, e, id)
		if time.Since(before) != 0 {
			t.Errorf("after the network came back it waited %v", time.Since(before))
		}
		if c := strings.Count(names(evs), "waiting"); c != 1 {
			t.Errorf("the wait was told %d times: %s", c, names(evs))
		}
	})
}

func TestMeteredNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{changes: make(chan struct{})}
		n.expensive.Store(true)
		e := start(t, answer(200), withNetwork(n))
		frugal := func(s *task.Spec) { s.Policy.AllowsExpensive = false }
		rec := end(t, e, create(t, e, get("http://h/", frugal)))
		if rec.Failure == nil || rec.Failure.Code != task.DataNotAllowed {
			t.Errorf("ended with %v", rec.Failure.Err())
		}
		waits := create(t, e, get("http://h/", frugal, func(s *task.Spec) { s.Policy.WaitsForConnectivity = true }))
		synctest.Wait()
		n.expensive.Store(false)
		if rec := end(t, e, waits); rec.Failure != nil {
			t.Errorf("ended with %v", rec.Failure.Err())
		}
	})
}

func TestFinishLetsTasksEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			<-release
			return answer(200)(ctx, a)
		})
		id := create(t, e, get("http://h/"))
		e.Finish(t.Context())
		if _, err := e.Create(t.Context(), get("http://user:secret@h/?token=secret"), nil); !errors.Is(err, task.SessionInvalidated) {
			t.Errorf("Create after Finish: %v", err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("a secret in %q", err)
		}
		close(release)
		var last task.Event
		for ev, err := range e.Events(t.Context(), task.EventQuery{}) {
			if err != nil {
				t.Fatal(err)
			}
			last = ev
		}
		if _, ok := last.Detail.(task.Invalidated); !ok {
			t.Errorf("last event %+v", last)
		}
		if rec := end(t, e, id); rec.Failure != nil {
			t.Errorf("the task ended with %v", rec.Failure.Err())
		}
	})
}

func TestInvalidateCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, hang)
		for range 20 {
			create(t, e, get("http://h/"))
		}
		create(t, e, get("http://h/", func(s *task.Spec) { s.Suspended = true }))
		e.Invalidate(t.Context())
		e.Invalidate(t.Context())
		var evs []task.Event
		for ev, err := range e.Events(t.Context(), task.EventQuery{}) {
			if err != nil {
				t.Fatal(err)
			}
			evs = append(evs, ev)
		}
		if n := strings.Count(names(evs), "sessioncompleted"); n != 21 {
			t.Errorf("%d tasks ended", n)
		}
		if !strings.HasSuffix(names(evs), " invalidated") || strings.Count(names(evs), "invalidated") != 1 {
			t.Errorf("events: %s", names(evs))
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
		download := func(s *task.Spec) { s.Kind = task.Download }
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
		id := create(t, e, get("http://h/", func(s *task.Spec) { s.Kind = task.Download }))
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

func TestHistoryIsBoundedForReleasedTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, answer(200))
		kept := create(t, e, get("http://h/"))
		end(t, e, kept)
		for range 3000 {
			id := create(t, e, get("http://h/"))
			end(t, e, id)
			e.Release(id)
		}
		n := 0
		for _, err := range e.Tasks(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 1025 {
			t.Errorf("%d tasks are known, want 1024 released ones and the one that is held", n)
		}
		// A listener of the session is told what it missed, without a hole.
		next := uint64(1)
		for ev, err := range e.Events(t.Context(), task.EventQuery{Own: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if gap, ok := ev.Detail.(task.Gap); ok {
				if gap.From != next {
					t.Fatalf("gap %+v where %d was due", gap, next)
				}
				next = gap.To + 1
			} else if ev.Sequence != 0 {
				if ev.Sequence != next {
					t.Fatalf("event %d where %d was due", ev.Sequence, next)
				}
				next++
				if err := e.Acknowledge(t.Context(), ev.Sequence); err != nil {
					t.Fatal(err)
				}
			} else {
				break
			}
		}
		n = 0
		for range e.Tasks(t.Context()) {
			n++
		}
		if n != 1 {
			t.Errorf("after all was acknowledged %d tasks are known, want the one that is held", n)
		}
		if b, err := e.Body(t.Context(), kept); err != nil {
			t.Error(err)
		} else if s, _ := io.ReadAll(b); string(s) != "body" {
			t.Errorf("body %q", s)
		}
	})
}

func TestDecisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			from, _ := http.NewRequest("GET", "http://h/a?token=secret", nil)
			to, _ := http.NewRequest("GET", "http://h/b?token=secret", nil)
			next, err := a.Observer.Redirect(ctx, 302, from, to)
			if err != nil {
				return transfer.Result{}, err
			}
			if next.URL.Path != "/c" || next.Header.Get("X") != "1" {
				t.Errorf("goes on to %v %v", next.URL, next.Header)
			}
			return answer(200)(ctx, a)
		})
		id := create(t, e, get("http://h/a", func(s *task.Spec) { s.Policy.Ask = task.Ask{Redirect: true, Response: true} }))
		for ev, err := range e.Events(t.Context(), task.EventQuery{Task: id}) {
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := ev.MarshalJSON(); strings.Contains(string(b), "secret") {
				t.Errorf("a secret in %s", b)
			}
			switch d := ev.Detail.(type) {
			case task.Redirected:
				if d.Request.URL != "http://h/b?token=secret" {
					t.Errorf("asked about %s", d.Request.URL)
				}
				ok := e.Answer(t.Context(), id, d.Ticket, task.Decision{Request: &task.Request{URL: "http://h/c", Header: http.Header{"X": {"1"}}}})
				again := e.Answer(t.Context(), id, d.Ticket, task.Decision{})
				if ok != nil || !errors.Is(again, task.ResourceUnavailable) {
					t.Errorf("answers: %v, %v", ok, again)
				}
			case task.ResponseReceived:
				e.Answer(t.Context(), id, d.Ticket, task.Decision{Cancel: true})
			}
		}
		if rec := end(t, e, id); rec.Failure == nil || rec.Failure.Code != task.Cancelled {
			t.Errorf("ended with %v", rec.Failure.Err())
		}
	})
}

func TestManyTasksFromManyGoroutines(t *testing.T) {
	e := start(t, answer(200))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				id, err := e.Create(t.Context(), get(fmt.Sprintf("http://h%d/", j%3)), nil)
				if err != nil {
					t.Error(err)
					return
				}
				switch (i + j) % 4 {
				case 0:
					e.Cancel(t.Context(), id)
				case 1:
					e.Suspend(t.Context(), id)
					e.Resume(t.Context(), id)
				}
				for _, err := range e.Events(t.Context(), task.EventQuery{Task: id, DurableOnly: true}) {
					if err != nil {
						t.Error(err)
					}
				}
				e.Release(id)
			}
		})
	}
	wg.Wait()
	e.Finish(t.Context())
	e.Close()
}
