package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

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

// body is a request's body under a test's control; what Rewind returns is another.
type body struct {
	io.Reader
	closed  func()
	rewound func() *body // nil: it cannot be
}

func (b *body) Close() error { b.closed(); return nil }
func (b *body) Rewind() (io.Reader, error) {
	if b.rewound == nil {
		return nil, errors.New("no rewind")
	}
	return b.rewound(), nil
}

func put(s *task.Spec) { s.Request.Method, s.Request.Body = "PUT", &task.Body{Size: -1} }

func TestAllReadersOfABodyAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened, closed atomic.Int32
		var reader func() *body
		reader = func() *body {
			opened.Add(1)
			return &body{strings.NewReader("twice"), func() { closed.Add(1) }, reader}
		}
		e := start(t, steps(func(_ context.Context, a *transfer.Attempt) (transfer.Result, error) {
			b, err := a.Body()
			if err != nil {
				return transfer.Result{}, err
			}
			io.ReadAll(b) // the transport never closes it
			return transfer.Result{}, lost(false)
		}, func(_ context.Context, a *transfer.Attempt) (transfer.Result, error) {
			for range 2 { // a redirect that keeps the body
				b, err := a.Body()
				if err != nil {
					return transfer.Result{}, err
				}
				if s, err := io.ReadAll(b); string(s) != "twice" || err != nil {
					t.Errorf("body %q, %v", s, err)
				}
			}
			return transfer.Result{}, nil
		}))
		id, err := e.Create(t.Context(), get("http://h/", retries(1), put), reader())
		if err != nil {
			t.Fatal(err)
		}
		rec := end(t, e, id)
		synctest.Wait()
		if rec.Failure != nil || opened.Load() != 3 || closed.Load() != 3 {
			t.Errorf("%d readers, %d closed, %v", opened.Load(), closed.Load(), rec.Failure.Err())
		}
	})
}

func TestNewStartWaitsForAReadThatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		var reading atomic.Bool
		var rewound time.Time
		begun := time.Now()
		from := &body{in, func() { in.Close() }, func() *body {
			if reading.Load() {
				t.Error("rewound beside a Read")
			}
			rewound = time.Now()
			return &body{strings.NewReader("x"), func() {}, nil}
		}}
		e := start(t, steps(func(_ context.Context, a *transfer.Attempt) (transfer.Result, error) {
			b, err := a.Body()
			if err != nil {
				return transfer.Result{}, err
			}
			go func() {
				reading.Store(true)
				defer reading.Store(false)
				b.Read(make([]byte, 1))
			}()
			synctest.Wait()
			b.Close() // as HTTP/2 does, beside the Read
			return transfer.Result{}, lost(false)
		}, func(_ context.Context, a *transfer.Attempt) (transfer.Result, error) {
			b, err := a.Body()
			if err == nil {
				b.Close()
			}
			return transfer.Result{}, err
		}))
		id, err := e.Create(t.Context(), get("http://h/", retries(1), put), from)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Minute)
			out.Write([]byte("x"))
		}()
		if rec := end(t, e, id); rec.Failure != nil || rewound.Sub(begun) != time.Minute {
			t.Errorf("rewound after %v; ended with %v", rewound.Sub(begun), rec.Failure.Err())
		}
	})
}

func TestUnreadBodyNeedsNoRewind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, steps(func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			b, err := a.Body()
			if err != nil {
				return transfer.Result{}, err
			}
			b.Close() // it could not connect
			return unreachable(ctx, a)
		}, func(_ context.Context, a *transfer.Attempt) (transfer.Result, error) {
			b, err := a.Body()
			if err != nil {
				return transfer.Result{}, err
			}
			if s, _ := io.ReadAll(b); string(s) != "once" {
				t.Errorf("body %q", s)
			}
			return transfer.Result{}, nil
		}))
		spec := get("http://h/", put, func(s *task.Spec) { s.Policy.WaitsForConnectivity = true })
		id, err := e.Create(t.Context(), spec, io.MultiReader(strings.NewReader("once")))
		if err != nil {
			t.Fatal(err)
		}
		if rec := end(t, e, id); rec.Failure != nil {
			t.Error(rec.Failure.Err())
		}
	})
}

func TestBodyMayAskForItsTaskWhenItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, hang)
		closed := make(chan task.State, 1)
		from := &body{Reader: strings.NewReader(""), closed: func() {
			rec, _ := e.Task(t.Context(), 1)
			e.Cancel(t.Context(), 1)
			closed <- rec.State
		}}
		id, err := e.Create(t.Context(), get("http://h/", put, func(s *task.Spec) { s.Suspended = true }), from)
		if err != nil {
			t.Fatal(err)
		}
		e.Cancel(t.Context(), id)
		if state := <-closed; state != task.Completed {
			t.Errorf("closed while it was %s", state)
		}
	})
}
