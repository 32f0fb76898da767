package engine_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

const resource = "http://h/uploads/secret"

func uploadOf(offset int64) *task.UploadState {
	return &task.UploadState{Protocol: task.ResumableIETF, Version: 8, URL: resource, Offset: offset}
}

// named is an attempt of an upload that the server has named, which then does as next.
func named(offset int64, next runFunc) runFunc {
	return func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
		o := a.Observer.(transfer.Resumer)
		o.Resumable(uploadOf(0))
		o.Confirmed(offset, 100)
		res, err := next(ctx, a)
		o.Resumable(uploadOf(offset))
		return res, err
	}
}

func upload(s *task.Spec) {
	s.Kind, s.Request.Method, s.Request.Body = task.Upload, "POST", &task.Body{Path: "/f", Size: 100}
}

// A POST is gone on with after an attempt that was cut, or answered 5xx, if the server has named the upload.
func TestUploadGoesOn(t *testing.T) {
	for name, cut := range map[string]runFunc{"cut": fail(lost(false)), "500": answer(500)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var had *task.UploadState
				e := start(t, steps(named(40, cut), func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
					had = a.Upload
					return answer(201)(ctx, a)
				}))
				id := create(t, e, get("http://h/", upload, retries(1)))
				if rec := end(t, e, id); rec.Failure != nil || rec.Attempt != 2 || rec.Upload != nil {
					t.Errorf("%+v", rec)
				}
				if had == nil || had.URL != resource || had.Offset != 40 || had.Whole {
					t.Errorf("the second attempt had %+v", had)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		e := start(t, steps(fail(lost(false))))
		rec := end(t, e, create(t, e, get("http://h/", upload, retries(1))))
		if rec.Failure == nil || !strings.Contains(rec.Failure.Text(), "may have been applied") {
			t.Errorf("without a name: %+v", rec.Failure)
		}
	})
}

// What the server holds is stored as soon as it has named it. A process that follows one that was killed goes on from it, and
// knows that all of the body may have left.
func TestUploadOutlivesItsProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, named(40, hang))
		id := create(t, p.Engine, get("http://h/", upload))
		time.Sleep(time.Second)
		if rec := d.record(t, id); rec.Upload == nil || rec.Upload.URL != resource || rec.Upload.Whole {
			t.Fatalf("stored: %+v", rec.Upload)
		}
		if rec, _ := p.Task(t.Context(), id); rec.Upload != nil {
			t.Error("it is told to who asks for the task")
		}
		p.crash()

		var l attempts
		p = d.boot(t, l.run(answer(201)))
		if rec := end(t, p.Engine, id); rec.Failure != nil || rec.Attempt != 2 {
			t.Fatalf("%+v", rec)
		}
		if u := l.list()[0].Upload; u == nil || u.URL != resource || !u.Whole {
			t.Errorf("it went on from %+v", u)
		}
		if rec := d.record(t, id); rec.Upload != nil {
			t.Errorf("left: %+v", rec.Upload)
		}
	})
}

// A process that is killed in a later attempt has told nothing of what that one sent, also where the request may be sent again.
func TestUploadIsUnderWayInEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, steps(named(40, fail(lost(false))), hang))
		id := create(t, p.Engine, get("http://h/", upload, retries(1), func(s *task.Spec) { s.Request.Method = "PUT" }))
		time.Sleep(time.Minute)
		if rec := d.record(t, id); rec.Attempt != 2 || !rec.UnderWay || rec.Upload == nil || rec.Upload.Whole {
			t.Fatalf("stored: %+v, %+v", rec, rec.Upload)
		}
		p.crash()

		var l attempts
		p = d.boot(t, l.run(answer(201)))
		if rec := end(t, p.Engine, id); rec.Failure != nil {
			t.Fatalf("%+v", rec)
		}
		if u := l.list()[0].Upload; u == nil || !u.Whole {
			t.Errorf("it went on from %+v", u)
		}
	})
}

// An upload that can be gone on from is stopped with its process, suspended and resumed as a download is.
func TestUploadIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, named(40, hang))
		id := create(t, p.Engine, get("http://h/", upload))
		synctest.Wait()
		begun := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if err := p.Stop(ctx); err != nil || time.Since(begun) > time.Second {
			t.Errorf("Stop took %v, %v", time.Since(begun), err)
		}
		p.crash()

		var l attempts
		p = d.boot(t, l.run(answer(201)))
		if rec := end(t, p.Engine, id); rec.Failure != nil {
			t.Fatalf("%+v", rec)
		}
		if u := l.list()[0].Upload; u == nil || u.Offset != 40 || u.Whole {
			t.Errorf("it went on from %+v", u)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var had *task.UploadState
		e := start(t, steps(named(40, hang), func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			had = a.Upload
			return answer(201)(ctx, a)
		}))
		id := create(t, e, get("http://h/", upload))
		synctest.Wait()
		e.Suspend(t.Context(), id)
		synctest.Wait()
		e.Resume(t.Context(), id)
		if rec := end(t, e, id); rec.Failure != nil || had == nil || had.Offset != 40 {
			t.Errorf("%+v; it went on from %+v", rec.Failure, had)
		}
	})
}

// Events say whether the server has said that it has what was sent.
func TestUploadProgressIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			time.Sleep(time.Second)
			a.Observer.Sent(30, 100)
			time.Sleep(time.Second)
			a.Observer.(transfer.Resumer).Confirmed(40, 100)
			time.Sleep(time.Second)
			a.Observer.Sent(50, 100)
			time.Sleep(time.Second)
			return answer(201)(ctx, a)
		})
		var told []task.UploadProgress
		for _, ev := range collect(t, e, create(t, e, get("http://h/", upload))) {
			if p, ok := ev.Detail.(task.UploadProgress); ok {
				told = append(told, p)
			}
		}
		want := []task.UploadProgress{{Sent: 30, Total: 30, Expected: 100}, {Sent: 10, Total: 40, Expected: 100, Confirmed: true}, {Sent: 10, Total: 50, Expected: 100}}
		if len(told) != 3 || told[0] != want[0] || told[1] != want[1] || told[2] != want[2] {
			t.Errorf("told %+v", told)
		}
	})
}

// A task that moves to another server does not go on at the old one.
func TestUploadMoves(t *testing.T) {
	for to, goesOn := range map[string]bool{"http://h/new": true, "http://g/": false} {
		synctest.Test(t, func(t *testing.T) {
			var had *task.UploadState
			e := start(t, steps(named(40, hang), func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
				had = a.Upload
				return answer(201)(ctx, a)
			}))
			id := create(t, e, get("http://h/", upload, func(s *task.Spec) { s.Request.Method = "PUT" }))
			synctest.Wait()
			e.ReplaceURL(t.Context(), id, to)
			if rec := end(t, e, id); rec.Failure != nil || (had != nil) != goesOn {
				t.Errorf("%s: %+v, from %+v", to, rec.Failure, had)
			}
		})
	}
}

// What a POST that goes on leaves at its old server counts also where its task has moved to another one meanwhile: all of it may
// have been applied there.
func TestUploadHasMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var had *task.UploadState
		e := start(t, steps(func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			o := a.Observer.(transfer.Resumer)
			o.Resumable(uploadOf(0))
			time.Sleep(time.Minute)
			s := uploadOf(100)
			s.Whole = true
			o.Resumable(s)
			return fail(lost(false))(ctx, a)
		}, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			had = a.Upload
			return answer(201)(ctx, a)
		}))
		id := create(t, e, get("http://h/", upload, retries(1)))
		time.Sleep(time.Second)
		e.ReplaceURL(t.Context(), id, "http://g/")
		if rec := end(t, e, id); rec.Failure != nil || had == nil || !had.Whole {
			t.Errorf("%+v, from %+v", rec.Failure, had)
		}
	})
}

// Nor is it forgotten where the process has ended in the midst, and the task moves before its next attempt.
func TestUploadMovesAfterAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		p := d.boot(t, named(40, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			time.Sleep(time.Minute)
			return fail(lost(false))(ctx, a)
		}))
		id := create(t, p.Engine, get("http://h/", upload))
		time.Sleep(time.Second)
		p.Suspend(t.Context(), id)
		p.crash()

		var l attempts
		p = d.boot(t, l.run(answer(201)))
		p.ReplaceURL(t.Context(), id, "http://g/")
		p.Resume(t.Context(), id)
		if rec := end(t, p.Engine, id); rec.Failure != nil {
			t.Fatalf("%+v", rec)
		}
		if u := l.list()[0].Upload; u == nil || !u.Whole {
			t.Errorf("it went on from %+v", u)
		}
	})
}
