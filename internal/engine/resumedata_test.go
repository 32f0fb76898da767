package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// known is an upload of a file whose identity is known.
func known(s *task.Spec) {
	upload(s)
	s.Request.Body.Source = &task.Source{Size: 100, Inode: 1}
}

func from(state *task.UploadState) func(*task.Spec) {
	return func(s *task.Spec) { s.Upload = &task.UploadSpec{Resume: state} }
}

// What becomes of what the server holds of an upload, however its task ends.
func TestUploadLeavesResumeData(t *testing.T) {
	cancel := func(e *engine.Engine, id task.ID) error { return e.Cancel(context.Background(), id) }
	keep := func(e *engine.Engine, id task.ID) error { return e.CancelForResumeData(context.Background(), id) }
	for name, c := range map[string]struct {
		run    runFunc
		change func(*task.Spec)
		do     []func(*engine.Engine, task.ID) error
		leaves bool
		drops  int
	}{
		"it fails":                           {run: named(40, fail(lost(false))), leaves: true},
		"it is answered 503":                 {run: named(40, answer(503)), leaves: true},
		"it succeeds":                        {run: named(40, answer(201))},
		"it fails, and has no name":          {run: fail(lost(false))},
		"it fails, of bytes":                 {run: named(40, fail(lost(false))), change: upload},
		"it is cancelled":                    {run: named(40, hang), do: []func(*engine.Engine, task.ID) error{cancel}, drops: 1},
		"it is cancelled for that":           {run: named(40, hang), do: []func(*engine.Engine, task.ID) error{keep}, leaves: true},
		"it is cancelled for that, and more": {run: named(40, hang), do: []func(*engine.Engine, task.ID) error{keep, cancel}, leaves: true},
		"it is cancelled before for all":     {run: named(40, hang), do: []func(*engine.Engine, task.ID) error{cancel, keep}, drops: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told deletions
				e := start(t, c.run, func(o *engine.Options) { o.RoundTripper = &told })
				change := known
				if c.change != nil {
					change = c.change
				}
				id := create(t, e, get("http://h/", change))
				synctest.Wait()
				for _, do := range c.do {
					if err := do(e, id); err != nil {
						t.Fatal(err)
					}
				}
				rec := end(t, e, id)
				synctest.Wait()
				if (rec.ResumeData != nil) != c.leaves || rec.Upload != nil {
					t.Fatalf("it left %+v, and %+v", rec.ResumeData, rec.Upload)
				}
				if d := rec.ResumeData; d != nil && (d.Upload.State.URL != resource || d.Upload.State.Offset != 40 || d.URL != "http://h/") {
					t.Errorf("it left %s", d.Encode())
				}
				if told.count() != c.drops {
					t.Errorf("the server was told %d times to drop it", told.count())
				}
			})
		})
	}
}

// What has succeeded at the moment of its cancellation is not dropped, be it in parts or not; what was refused is.
func TestCancelledAsItArrives(t *testing.T) {
	parts := func(s *task.Spec) {
		known(s)
		multipart(s)
		s.Upload.Multipart.Abort = "http://h/abort?secret"
	}
	for _, c := range []struct {
		change func(*task.Spec)
		state  *task.UploadState
		status int
		drops  int
	}{{known, uploadOf(40), 201, 0}, {parts, partsOf(1), 200, 0}, {known, uploadOf(40), 403, 1}, {parts, partsOf(1), 403, 1}} {
		synctest.Test(t, func(t *testing.T) {
			var told deletions
			e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
				a.Observer.(transfer.Resumer).Resumable(c.state)
				<-ctx.Done()
				return transfer.Result{Response: &task.Response{Status: c.status}}, nil
			}, func(o *engine.Options) { o.RoundTripper = &told })
			id := create(t, e, get("http://h/", c.change))
			synctest.Wait()
			if err := e.Cancel(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			rec := end(t, e, id)
			synctest.Wait()
			if rec.Failure == nil || rec.Failure.Code != task.Cancelled || rec.ResumeData != nil || told.count() != c.drops {
				t.Errorf("%s answered %d: dropped %d times, %+v", c.state.Protocol, c.status, told.count(), rec.Failure)
			}
		})
	}
}

// A task of resume data has what the server holds from its first attempt on, and where none begins, leaves it as it was.
func TestUploadFromResumeData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l attempts
		e := start(t, l.run(answer(201)))
		held := uploadOf(40)
		spec := get("http://h/", known, from(held))
		rec := end(t, e, create(t, e, spec))
		if a := l.list(); rec.Failure != nil || len(a) != 1 || a[0].Upload == nil || a[0].Upload.URL != resource || a[0].Spec.Upload.Resume != nil {
			t.Errorf("%+v", rec)
		}
		if spec.Upload.Resume != held {
			t.Error("the caller's spec was changed")
		}
		id := create(t, e, get("http://h/", known, from(held), func(s *task.Spec) { s.Suspended = true }))
		if rec, err := e.Task(t.Context(), id); err != nil || rec.Counts.Sent != 40 {
			t.Errorf("%+v, %v", rec.Counts, err)
		}
		e.CancelForResumeData(t.Context(), id)
		if d := end(t, e, id).ResumeData; d == nil || d.Upload.State.Offset != 40 || d.Upload.State.Whole {
			t.Errorf("it left %+v", d)
		}
	})
}

// Resume data of an upload under way are for who may be killed: all of it may have left then. Those of one that waits are as they are.
func TestResumeDataOfAnUploadUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, named(40, hang))
		id := create(t, e, get("http://h/", known))
		synctest.Wait()
		for _, whole := range []bool{true, false} {
			rec, err := e.Task(t.Context(), id)
			if d := rec.ResumeData; err != nil || d == nil || d.Upload.State.URL != resource || d.Upload.State.Whole != whole || rec.Upload != nil {
				t.Errorf("%+v, %v", rec.ResumeData, err)
			}
			for rec := range e.Tasks(t.Context()) {
				if rec.ResumeData != nil {
					t.Error("a list has them")
				}
			}
			e.Suspend(t.Context(), id)
			synctest.Wait()
		}
	})
}

// A cancellation for resume data is that also where its process ends before the task does. All of the body may have left then.
func TestCancelForResumeDataOutlivesItsProcess(t *testing.T) {
	for name, keep := range map[string]bool{"for resume data": true, "for good": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk()
				var told deletions
				p := d.boot(t, named(40, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
					time.Sleep(time.Minute)
					return hang(ctx, a)
				}))
				id := create(t, p.Engine, get("http://h/", known))
				time.Sleep(time.Second)
				if keep {
					p.CancelForResumeData(t.Context(), id)
				} else {
					p.Cancel(t.Context(), id)
				}
				p.crash()

				var l attempts
				p = d.boot(t, l.run(answer(201)), func(o *engine.Options) { o.RoundTripper = &told })
				rec := end(t, p.Engine, id)
				synctest.Wait()
				if left := rec.ResumeData; len(l.list()) != 0 || (left != nil) != keep || keep && !left.Upload.State.Whole {
					t.Errorf("%d attempts; left %+v", len(l.list()), left)
				}
				if (told.count() == 0) != keep {
					t.Errorf("the server was told %d times to drop it", told.count())
				}
				if rec := d.record(t, id); (rec.ResumeData != nil) != keep || rec.Upload != nil {
					t.Errorf("stored: %+v, %+v", rec.ResumeData, rec.Upload)
				}
			})
		})
	}
}
