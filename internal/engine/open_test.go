package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

func TestOpenNeedsAStoreThatLasts(t *testing.T) {
	if _, err := engine.Open(t.Context(), engine.Options{Store: failingStore{Store: memstore.New("s")}.Store}); err != nil {
		t.Errorf("over a durable store: %v", err)
	}
	if _, err := engine.Open(t.Context(), engine.Options{Store: &failingStore{Store: memstore.New("s")}}); !errors.Is(err, task.NoSharedContainer) {
		t.Errorf("over a store in process: %v", err)
	}
}

func TestRunningTaskGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			answer(200)(ctx, a)
			return hang(ctx, a)
		})
		id := create(t, p.Engine, get("http://h/"))
		time.Sleep(time.Second) // what it notes is stored
		p.crash()
		time.Sleep(time.Hour)

		var l attempts
		p = d.boot(t, l.run(answer(200)))
		rec := end(t, p.Engine, id)
		if rec.Failure != nil || rec.Attempt != 2 || len(l.list()) != 1 || l.list()[0].Number != 2 {
			t.Errorf("%+v after %d attempts", rec, len(l.list()))
		}
		if s := names(d.log(t, 0)); s != "responsereceived responsereceived sessioncompleted" {
			t.Errorf("events: %s", s)
		}
	})
}

func TestSuspendedTaskStaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, hang)
		ctx := t.Context()
		id := create(t, p.Engine, get("http://h/", timeout(time.Hour)))
		time.Sleep(50 * time.Minute)
		p.Suspend(ctx, id)
		p.Suspend(ctx, id)
		synctest.Wait()
		p.crash()
		time.Sleep(24 * time.Hour)

		p = d.boot(t, hang)
		synctest.Wait()
		p.Resume(ctx, id)
		synctest.Wait()
		if rec, _ := p.Task(ctx, id); rec.State != task.Suspended || rec.SuspendCount != 1 || rec.Attempt != 1 {
			t.Fatalf("after one resume of two: %+v", rec)
		}
		p.Resume(ctx, id)
		begun := time.Now()
		rec := end(t, p.Engine, id)
		if rec.Attempt != 2 || !errors.Is(rec.Failure.Err(), task.TimedOut) {
			t.Errorf("it ended with %v after %d attempts", rec.Failure.Err(), rec.Attempt)
		}
		if d := time.Since(begun); d != 10*time.Minute {
			t.Errorf("of the hour that it may take were left %v", d)
		}
	})
}

func TestScheduleIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		begin := time.Now().Add(3 * time.Hour)
		p := d.boot(t, answer(200))
		id := create(t, p.Engine, get("http://h/", func(s *task.Spec) { s.EarliestBegin = begin }))
		p.crash()
		time.Sleep(time.Hour)
		p = d.boot(t, answer(200))
		if rec, _ := p.Task(t.Context(), id); rec.Waiting == nil || rec.Waiting.Reason != task.WaitSchedule || !rec.Waiting.Until.Equal(begin) {
			t.Errorf("waiting: %+v", rec.Waiting)
		}
		end(t, p.Engine, id)
		if !time.Now().Equal(begin) {
			t.Errorf("it began %v late", time.Since(begin))
		}
		if s := names(d.log(t, id)); s != "waiting responsereceived sessioncompleted" {
			t.Errorf("events: %s", s)
		}
	})
}

func TestRetriesAndTheirTimeAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, answer(503, "Retry-After", "7200"))
		begun := time.Now()
		id := create(t, p.Engine, get("http://h/", retries(2)))
		synctest.Wait()
		p.crash()
		time.Sleep(time.Hour)
		p = d.boot(t, answer(503, "Retry-After", "60"))
		rec, _ := p.Task(t.Context(), id)
		if w := rec.Waiting; w == nil || w.Reason != task.WaitRetry || w.Error == nil || w.Error.Status != 503 || rec.Retries != 1 {
			t.Errorf("waiting: %+v", w)
		}
		rec = end(t, p.Engine, id)
		if d := time.Since(begun); rec.Attempt != 3 || d != 2*time.Hour+time.Minute || rec.Response.Status != 503 {
			t.Errorf("it ended after %d attempts and %v", rec.Attempt, d)
		}
	})
}

func TestResourceTimeoutGoesOnWhileNobodyRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, answer(503, "Retry-After", "7200"))
		id := create(t, p.Engine, get("http://h/", retries(-1), timeout(3*time.Hour)))
		other := create(t, p.Engine, get("http://g/", timeout(3*time.Hour), func(s *task.Spec) { s.EarliestBegin = time.Now().Add(24 * time.Hour) }))
		synctest.Wait()
		p.crash()
		time.Sleep(4 * time.Hour)
		p = d.boot(t, answer(200))
		for _, id := range []task.ID{id, other} {
			if rec := end(t, p.Engine, id); !errors.Is(rec.Failure.Err(), task.TimedOut) {
				t.Errorf("task %d ended with %v", id, rec.Failure.Err())
			}
		}
	})
}

func TestCancelingTaskEnds(t *testing.T) {
	for _, kind := range []task.Kind{task.Data, task.Download} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			held := &task.ResumeData{Version: 1, URL: "http://h/", Total: 10, Part: "/p"}
			p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
				answer(200)(ctx, a)
				<-ctx.Done()
				time.Sleep(time.Hour) // it crashes meanwhile
				return transfer.Result{}, context.Cause(ctx)
			})
			id := create(t, p.Engine, get("http://h/", func(s *task.Spec) { s.Kind = kind }))
			synctest.Wait()
			p.Cancel(t.Context(), id)
			p.crash()

			p = d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
				if ctx.Err() == nil {
					t.Error("a task that was being cancelled ran")
				}
				return transfer.Result{ResumeData: held}, context.Cause(ctx)
			})
			rec := end(t, p.Engine, id)
			if !errors.Is(rec.Failure.Err(), task.Cancelled) {
				t.Errorf("it ended with %v", rec.Failure.Err())
			}
			if (rec.ResumeData != nil) != (kind == task.Download) {
				t.Errorf("%s: resume data %+v", kind, rec.ResumeData)
			}
			time.Sleep(2 * time.Hour)
			if n := strings.Count(names(d.log(t, id)), "sessioncompleted"); n != 1 {
				t.Errorf("it ended %d times", n)
			}
		})
	}
}

// What a download held when it was suspended, or when its process stopped, is known to a later one that cancels it.
func TestResumeDataOfAnEarlierProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		held := &task.ResumeData{Version: 1, URL: "http://h/", Total: 10, Part: "/p"}
		ctx := t.Context()
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			<-ctx.Done()
			return transfer.Result{ResumeData: held}, context.Cause(ctx)
		})
		id := create(t, p.Engine, get("http://h/", download))
		synctest.Wait()
		p.Suspend(ctx, id)
		synctest.Wait()
		p.crash()
		// The part file cannot be asked any more.
		p = d.boot(t, fail(&task.Error{Code: task.CannotOpenFile}))
		p.Cancel(ctx, id)
		if rec := end(t, p.Engine, id); rec.ResumeData == nil || rec.ResumeData.Part != "/p" || !errors.Is(rec.Failure.Err(), task.Cancelled) {
			t.Errorf("%+v, %v", rec.ResumeData, rec.Failure.Err())
		}
	})
}

func TestTaskWithoutItsBodyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, hang)
		spec := get("http://user:secret@h/?secret", method("PUT"), func(s *task.Spec) { s.Kind, s.Request.Body = task.Upload, &task.Body{Size: 3} })
		id, err := p.Create(t.Context(), spec, strings.NewReader("abc"))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.crash()
		var l attempts
		p = d.boot(t, l.run(answer(200)))
		rec := end(t, p.Engine, id)
		if !errors.Is(rec.Failure.Err(), task.BodyStreamExhausted) || len(l.list()) != 0 {
			t.Errorf("it ended with %v after %d attempts", rec.Failure.Err(), len(l.list()))
		}
		if strings.Contains(rec.Failure.Text(), "secret") {
			t.Errorf("a secret in %q", rec.Failure.Text())
		}
	})
}

// A request that may have been applied is not sent again by a process that does not know.
func TestUnsafeRequestOfAnEarlierProcess(t *testing.T) {
	for _, c := range []struct {
		name  string
		spec  task.Spec
		first runFunc
		code  task.Code
	}{
		{"under way", get("http://h/", method("POST")), hang, task.ConnectionLost},
		{"under way, GET", get("http://h/"), hang, 0},
		{"under way, with a key", get("http://h/", method("POST"), func(s *task.Spec) {
			s.Request.Header = map[string][]string{"Idempotency-Key": {"k"}}
		}), hang, 0},
		{"under way, allowed", get("http://h/", method("PATCH"), func(s *task.Spec) { s.Policy.RetryUnsafe = true }), hang, 0},
		{"not begun", get("http://h/", method("POST"), func(s *task.Spec) { s.EarliestBegin = time.Now().Add(time.Hour) }), hang, 0},
		{"refused, to be sent again", get("http://h/", method("POST"), retries(3)), answer(429, "Retry-After", "7200"), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk()
				p := d.boot(t, c.first)
				if !c.spec.EarliestBegin.IsZero() {
					c.spec.EarliestBegin = time.Now().Add(time.Hour)
				}
				id := create(t, p.Engine, c.spec)
				synctest.Wait()
				p.crash()
				var l attempts
				p = d.boot(t, l.run(answer(200)))
				rec := end(t, p.Engine, id)
				if got := task.CodeOf(rec.Failure.Err()); got != c.code {
					t.Errorf("it ended with %v", rec.Failure.Err())
				}
				if sent := len(l.list()) > 0; sent != (c.code == 0) {
					t.Errorf("it was sent again: %t", sent)
				}
			})
		})
	}
}

// Where the start of such a request cannot be recorded, it is not sent.
func TestUnsafeRequestIsRecordedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := &process{beforeSave: func(rec *task.Record) error {
			if rec.State == task.Running {
				return errors.New("broken")
			}
			return nil
		}}
		var l attempts
		d.start(t, p, l.run(answer(200)))
		id := create(t, p.Engine, get("http://h/", method("POST")))
		if rec := end(t, p.Engine, id); !errors.Is(rec.Failure.Err(), task.CannotWriteFile) || len(l.list()) != 0 {
			t.Errorf("it ended with %v after %d attempts", rec.Failure.Err(), len(l.list()))
		}
	})
}

func TestCursorAndHistoryAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, answer(200))
		ctx := t.Context()
		a := create(t, p.Engine, get("http://h/"))
		b := create(t, p.Engine, get("http://h/"))
		end(t, p.Engine, a)
		end(t, p.Engine, b)
		p.Acknowledge(ctx, 2)
		p.crash()

		p = d.boot(t, answer(200))
		if rec, err := p.Task(ctx, a); err != nil || rec.State != task.Completed {
			t.Errorf("history: %+v, %v", rec, err)
		}
		n := 0
		for range p.Tasks(ctx) {
			n++
		}
		if n != 2 {
			t.Errorf("%d tasks listed", n)
		}
		var evs []task.Event
		for ev, err := range p.Events(ctx, task.EventQuery{Own: true}) {
			if err != nil {
				t.Fatal(err)
			}
			evs = append(evs, ev)
			if _, ok := ev.Detail.(task.EventsCompleted); ok {
				break
			}
		}
		if s := names(evs); !strings.HasPrefix(s, "backgroundtransfer ") || !strings.HasSuffix(s, " sessioneventscompleted") || len(evs) != 4 || evs[1].Sequence != 3 {
			t.Errorf("an owner that comes back is told: %s", s)
		}
		if bt, ok := evs[0].Detail.(task.BackgroundTransfer); !ok || bt.SessionID != "s" {
			t.Errorf("%+v", evs[0])
		}
		p.Acknowledge(ctx, 4)
		for ev, err := range p.Events(ctx, task.EventQuery{Own: true}) {
			if _, ok := ev.Detail.(task.EventsCompleted); !ok || err != nil {
				t.Errorf("to an owner that missed nothing: %+v, %v", ev, err)
			}
			break
		}
		if id := create(t, p.Engine, get("http://h/")); id != 3 {
			t.Errorf("the next task has number %d", id)
		}
	})
}

func TestSessionGoesOnEnding(t *testing.T) {
	for _, cancel := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			p := d.boot(t, hang)
			ctx := t.Context()
			id := create(t, p.Engine, get("http://h/"))
			// The process crashes before the task has ended.
			p.beforeSave = func(rec *task.Record) error { return errDead }
			if cancel {
				create(t, p.Engine, get("http://h/", suspended))
				if err := p.Invalidate(ctx); err != nil {
					t.Fatal(err)
				}
			} else if err := p.Finish(ctx); err != nil {
				t.Fatal(err)
			}
			p.crash()

			p = d.boot(t, answer(200))
			if _, err := p.Create(ctx, get("http://h/"), nil); !errors.Is(err, task.SessionInvalidated) {
				t.Errorf("Create: %v", err)
			}
			var last task.Event
			for ev, err := range p.Events(ctx, task.EventQuery{}) {
				if err != nil {
					t.Fatal(err)
				}
				last = ev
			}
			if _, ok := last.Detail.(task.Invalidated); !ok {
				t.Errorf("the last event is %+v", last)
			}
			rec, _ := p.Task(ctx, id)
			if got := task.CodeOf(rec.Failure.Err()); cancel != (got == task.Cancelled) {
				t.Errorf("cancel %t: the task ended with %v", cancel, rec.Failure.Err())
			}
			if n := p.Alive(); n != 0 {
				t.Errorf("%d tasks are left", n)
			}
			p.crash()

			p = d.boot(t, answer(200))
			synctest.Wait()
			if n := strings.Count(names(d.log(t, 0)), "invalidated"); n != 1 {
				t.Errorf("invalidated %d times", n)
			}
			after := last.Sequence
			for ev, err := range p.Events(ctx, task.EventQuery{After: &after}) {
				if _, ok := ev.Detail.(task.EventsCompleted); !ok || err != nil {
					t.Errorf("after the last event: %+v, %v", ev, err)
				}
			}
		})
	}
}

func TestEndThatCannotBeStoredIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newDisk().boot(t, answer(200))
		p.crash()
		if err := p.Finish(t.Context()); err == nil {
			t.Error("Finish that was not stored gave no error")
		}
	})
}

// An engine that lives on beside the one that has opened its store after it changes nothing any more.
func TestLateWriterIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		ctx := t.Context()
		var cause atomic.Pointer[error]
		go1 := make(chan struct{})
		old := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			answer(200)(ctx, a)
			<-go1
			_, err := answer(201)(ctx, a)
			if err == nil {
				<-ctx.Done()
				err = context.Cause(ctx)
			}
			cause.Store(&err)
			return transfer.Result{Response: &task.Response{Status: 201}}, nil // it would have been a success
		})
		id := create(t, old.Engine, get("http://h/"))
		time.Sleep(time.Second)

		now := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			time.Sleep(time.Minute)
			return answer(200)(ctx, a)
		})
		time.Sleep(time.Second)
		var listened error
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, err := range old.Events(ctx, task.EventQuery{Task: id}) {
				listened = err
			}
		}()
		var waited error
		waiting := make(chan struct{})
		go func() {
			defer close(waiting)
			_, waited = old.Wait(ctx, id)
		}()
		time.Sleep(time.Millisecond)
		close(go1)
		time.Sleep(time.Second)
		if cause.Load() == nil {
			t.Error("the attempt of the late engine was not stopped")
		}
		<-done
		if listened == nil {
			t.Error("a listener of the late engine was told of no error")
		}
		if <-waiting; waited == nil {
			t.Error("who waits for a task of the late engine was told of no error")
		}
		if err := old.Suspend(ctx, id); err == nil {
			t.Error("the late engine suspends the task")
		}
		rec := end(t, now.Engine, id)
		if rec.Response.Status != 200 || rec.Attempt != 2 {
			t.Errorf("%+v", rec)
		}
		if s := names(d.log(t, id)); s != "responsereceived responsereceived sessioncompleted" {
			t.Errorf("events: %s", s)
		}
	})
}

func TestStopLeavesTasksToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		ctx := t.Context()
		var l attempts
		p := d.boot(t, l.run(func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if a.Spec.Request.Method == "POST" {
				time.Sleep(10 * time.Second)
				if ctx.Err() != nil {
					return transfer.Result{}, context.Cause(ctx)
				}
				return answer(200)(ctx, a)
			}
			<-ctx.Done()
			return transfer.Result{ResumeData: &task.ResumeData{Version: 1}}, context.Cause(ctx)
		}))
		var gets []task.ID
		for range 10 {
			gets = append(gets, create(t, p.Engine, get("http://h/", download)))
		}
		post := create(t, p.Engine, get("http://g/", method("POST")))
		create(t, p.Engine, get("http://i/", func(s *task.Spec) { s.EarliestBegin = time.Now().Add(time.Hour) }))
		synctest.Wait()
		begun := time.Now()
		if err := p.Stop(ctx); err != nil {
			t.Error(err)
		}
		if d := time.Since(begun); d != 10*time.Second {
			t.Errorf("it stopped after %v", d)
		}
		if _, err := p.Create(ctx, get("http://h/"), nil); !errors.Is(err, task.DaemonLost) {
			t.Errorf("Create after Stop: %v", err)
		}
		if rec := d.record(t, post); rec.State != task.Completed {
			t.Errorf("a POST that was under way was not let to end: %+v", rec)
		}
		if rec := d.record(t, gets[0]); rec.State != task.Running || rec.ResumeData == nil || rec.UnderWay {
			t.Errorf("a stopped download: %+v", rec)
		}
		time.Sleep(2 * time.Hour)
		if n := len(l.list()); n != 7 {
			t.Errorf("%d attempts", n)
		}
		p.crash()
		p = d.boot(t, answer(200))
		for _, id := range gets {
			end(t, p.Engine, id)
		}
	})
}

func TestStopHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, hang)
		id := create(t, p.Engine, get("http://h/", method("POST")))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop: %v", err)
		}
		p = d.boot(t, answer(200))
		if rec := end(t, p.Engine, id); !errors.Is(rec.Failure.Err(), task.ConnectionLost) {
			t.Errorf("a POST that was stopped ended with %v", rec.Failure.Err())
		}
	})
}

func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, answer(200), resident(10))
		ctx := t.Context()
		specs := make([]task.Spec, 1000)
		for i := range specs {
			specs[i] = get("http://h/")
		}
		ids, err := p.CreateBatch(ctx, specs)
		if err != nil || len(ids) != 1000 || ids[0] != 1 || ids[999] != 1000 {
			t.Fatalf("%d tasks, %v", len(ids), err)
		}
		for _, id := range ids {
			end(t, p.Engine, id)
		}
		specs[500].Request.Body = &task.Body{Size: 5}
		if _, err := p.CreateBatch(ctx, specs); !errors.Is(err, task.BodyStreamExhausted) {
			t.Errorf("a batch with a stream: %v", err)
		}
		if n := p.Alive(); n != 0 {
			t.Errorf("%d tasks of a refused batch", n)
		}
		p.crash()
		if _, err := p.CreateBatch(ctx, specs[:10]); err == nil || p.Alive() != 0 {
			t.Errorf("a batch that was not stored: %v, %d tasks", err, p.Alive())
		}
	})
}

func TestCloseEndsASessionThatLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, hang, resident(1))
		for range 20 {
			create(t, p.Engine, get("http://h/"))
		}
		synctest.Wait()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if s := names(d.log(t, 0)); strings.Count(s, "sessioncompleted") != 20 || !strings.HasSuffix(s, " invalidated") {
			t.Errorf("events: %s", s)
		}
		p = newDisk().boot(t, hang)
		create(t, p.Engine, get("http://h/"))
		synctest.Wait()
		p.crash()
		if err := p.Close(); err == nil {
			t.Error("Close that could not be stored gave no error")
		}
	})
}

func TestLateWriterDoesNotTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		var late attempts
		old := d.boot(t, late.run(func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			answer(200)(ctx, a)
			time.Sleep(time.Minute)
			return transfer.Result{}, lost(false)
		}))
		id := create(t, old.Engine, get("http://h/", retries(-1)))
		time.Sleep(time.Second) // what it notes is stored
		now := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			time.Sleep(24 * time.Hour)
			return answer(200)(ctx, a)
		})
		if rec := end(t, now.Engine, id); rec.Attempt != 2 || rec.Retries != 0 {
			t.Errorf("%+v", rec)
		}
		if n := len(late.list()); n != 1 {
			t.Errorf("the late engine has made %d attempts", n)
		}
		if n := old.Alive(); n != 0 {
			t.Errorf("the late engine counts %d tasks", n)
		}
	})
}

// The network may be there by now: a task that waited for it tries at once.
func TestWaitForConnectivityEndsWithItsProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, unreachable)
		id := create(t, p.Engine, get("http://h/", func(s *task.Spec) { s.Policy.WaitsForConnectivity = true }))
		time.Sleep(10 * time.Minute)
		if rec := d.record(t, id); rec.Waiting == nil || rec.Waiting.Reason != task.WaitConnectivity {
			t.Fatalf("waiting: %+v", rec.Waiting)
		}
		// A look at the task in between stores when it is to be tried again.
		p.SetPriority(t.Context(), id, task.PriorityHigh)
		p.crash()
		p = d.boot(t, answer(200))
		begun := time.Now()
		end(t, p.Engine, id)
		if d := time.Since(begun); d != 0 {
			t.Errorf("it waited %v", d)
		}
	})
}

// What an earlier process has stored is not told with the progress of this one.
func TestProgressIsNotToldWithEventsOfAnEarlierProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			a.Observer.Sent(500, 1000)
			answer(200)(ctx, a)
			return hang(ctx, a)
		})
		id := create(t, p.Engine, get("http://h/", method("PUT")))
		time.Sleep(time.Second) // what it notes is stored
		p.crash()
		p = d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			a.Observer.Sent(10, 1000)
			time.Sleep(10 * time.Second)
			return answer(200)(ctx, a)
		})
		synctest.Wait()
		if s := names(collect(t, p.Engine, id)); s != "responsereceived sessioneventscompleted uploadprogress responsereceived sessioncompleted" {
			t.Errorf("events: %s", s)
		}
	})
}
