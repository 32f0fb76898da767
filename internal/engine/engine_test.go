package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

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

// What tasks do and what is done to them, in any order, keeps the promises to listeners.
func TestManyTasksFromManyGoroutines(t *testing.T) {
	e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
		if rand.N(3) == 0 {
			return unreachable(ctx, a)
		}
		a.Observer.Sent(1, 1)
		res, err := answer(200)(ctx, a)
		for n := range int64(5) {
			a.Observer.Received(n, 4)
			if ctx.Err() != nil {
				return res, context.Cause(ctx)
			}
			runtime.Gosched()
		}
		return res, err
	}, func(o *engine.Options) { o.MaxPerHost = 2 })
	ctx := t.Context()
	var next uint64
	var session, wg sync.WaitGroup
	session.Go(func() {
		for ev, err := range e.Events(ctx, task.EventQuery{Own: true, After: new(uint64)}) {
			if err != nil {
				t.Error(err)
			}
			if gap, ok := ev.Detail.(task.Gap); ok {
				next = gap.To
			} else if ev.Sequence != 0 {
				if next++; ev.Sequence != next {
					t.Errorf("event %d where %d was due", ev.Sequence, next)
				}
			}
		}
	})
	commands := []func(context.Context, task.ID) error{e.Suspend, e.Resume, e.Suspend, e.Resume, e.Cancel,
		func(ctx context.Context, id task.ID) error {
			return e.SetPriority(ctx, id, task.Priority(rand.Float64()))
		}}
	for range 8 {
		wg.Go(func() {
			for range 100 {
				id, err := e.Create(ctx, get(fmt.Sprintf("http://h%d/", rand.N(3)), download), nil)
				if err != nil {
					t.Error(err)
					return
				}
				if rand.N(2) == 0 {
					for range rand.N(8) {
						if err := commands[rand.N(len(commands))](ctx, id); err != nil {
							t.Error(err)
						}
					}
					e.Cancel(ctx, id)
				}
				answered, ends := false, 0
				for ev, err := range e.Events(ctx, task.EventQuery{Task: id}) {
					if err != nil {
						t.Error(err)
					}
					switch ev.Detail.(type) {
					case task.ResponseReceived:
						answered = true
					case task.DownloadProgress:
						if !answered {
							t.Error("progress before the response")
						}
					case task.SessionCompleted:
						ends++
					default:
						if ends > 0 {
							t.Errorf("%s after the end", ev.Detail.EventName())
						}
					}
				}
				if ends != 1 {
					t.Errorf("%d ends", ends)
				}
				e.Release(id)
			}
		})
	}
	wg.Wait()
	e.Finish(ctx)
	session.Wait()
	e.Close()
}

func TestCancelBeforeTheFirstAttemptKeepsResumeData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, hang)
		held := &task.ResumeData{Version: 1, URL: "http://h/", Total: 10}
		id := create(t, e, get("http://h/", download, func(s *task.Spec) {
			s.Suspended, s.Download = true, &task.DownloadSpec{Resume: held}
		}))
		e.Cancel(t.Context(), id)
		if rec := end(t, e, id); rec.ResumeData != held {
			t.Errorf("resume data: %+v", rec.ResumeData)
		}
	})
}

func TestCloseBesideCreate(t *testing.T) {
	for range 50 {
		e := start(t, answer(200))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					if _, err := e.Create(t.Context(), get("http://h/"), nil); err != nil {
						if !errors.Is(err, task.SessionInvalidated) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		e.Close()
		wg.Wait()
		var last task.Detail
		completed := 0
		for ev, err := range e.Events(t.Context(), task.EventQuery{DurableOnly: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if last = ev.Detail; last.EventName() == "sessioncompleted" {
				completed++
			}
		}
		tasks := 0
		for range e.Tasks(t.Context()) {
			tasks++
		}
		if _, ok := last.(task.Invalidated); !ok || completed != tasks {
			t.Fatalf("%d of %d tasks ended; the last event is %+v", completed, tasks, last)
		}
	}
}

// failingStore takes no records while it is full.
type failingStore struct {
	store.Store
	full atomic.Bool
}

func (s *failingStore) Save(ctx context.Context, rec *task.Record, events ...task.Detail) (uint64, error) {
	if s.full.Load() {
		return 0, errors.New("no space left on device")
	}
	return s.Store.Save(ctx, rec, events...)
}

func TestEndThatTheStoreCannotTakeIsStoredLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &failingStore{Store: memstore.New("s")}
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			st.full.Store(true)
			return answer(200)(ctx, a)
		}, withStore(st))
		ctx := t.Context()
		id := create(t, e, get("http://h/"))
		time.Sleep(time.Minute)
		if err := e.Cancel(ctx, id); err != nil {
			t.Error(err)
		}
		st.full.Store(false)
		if s := strings.Replace(names(collect(t, e, id)), "sessioneventscompleted ", "", 1); s != "responsereceived sessioncompleted" {
			t.Errorf("events: %s", s)
		}
		// Where it never can, the session ends all the same, and a listener is told.
		id = create(t, e, get("http://h/"))
		synctest.Wait()
		e.Close()
		var last error
		for _, err := range e.Events(ctx, task.EventQuery{Task: id}) {
			last = err
		}
		if last == nil {
			t.Error("a listener of a task whose end is lost was told of no error")
		}
	})
}

// A cancelled task ends with Cancelled also where its answer came at the same moment; but a file that has its final name
// is told of.
func TestCancelBesideTheAnswer(t *testing.T) {
	for path, code := range map[string]task.Code{"": task.Cancelled, "/f": 0} {
		synctest.Test(t, func(t *testing.T) {
			e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
				<-ctx.Done()
				return transfer.Result{Response: &task.Response{Status: 200}, Path: path}, nil
			})
			id := create(t, e, get("http://h/"))
			synctest.Wait()
			e.Cancel(t.Context(), id)
			rec := end(t, e, id)
			if got := task.CodeOf(rec.Failure.Err()); got != code {
				t.Errorf("with the file %q: code %d, want %d", path, got, code)
			}
		})
	}
}
