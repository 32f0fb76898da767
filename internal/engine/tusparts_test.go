package engine_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// partialsOf is three partial uploads, n of which have a name.
func partialsOf(n int) *task.UploadState {
	s := &task.UploadState{Protocol: task.ResumableTus}
	for i := range 3 {
		s.Parts = append(s.Parts, task.Part{Number: i + 1, Length: 10})
		if i < n {
			s.Parts[i].URL = "../uploads/secret"
		}
	}
	return s
}

// Each partial upload is stored as soon as it has a name, and the next process goes on from all of them.
func TestPartialUploadsAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		next := make(chan int)
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if a.Connections == nil {
				t.Error("no connections beside its own")
			}
			for n := range next {
				a.Observer.(transfer.Resumer).Resumable(partialsOf(n))
			}
			return hang(ctx, a)
		})
		id := create(t, p.Engine, get("http://h/", upload))
		for n := range 4 {
			next <- n
			synctest.Wait()
			got := 0
			for _, part := range d.record(t, id).Upload.Parts {
				if part.URL != "" {
					got++
				}
			}
			if got != n {
				t.Errorf("%d names are stored of %d", got, n)
			}
		}
		close(next)
		if rec, _ := p.Task(t.Context(), id); rec.Upload != nil {
			t.Error("they are told to who asks for the task")
		}
		p.crash()

		var l attempts
		p = d.boot(t, l.run(answer(201)))
		if rec := end(t, p.Engine, id); rec.Failure != nil {
			t.Fatalf("%+v", rec)
		}
		if u := l.list()[0].Upload; u == nil || len(u.Parts) != 3 || u.Parts[2].URL != "../uploads/secret" || !u.Whole {
			t.Errorf("it went on from %+v", u)
		}
		if rec := d.record(t, id); rec.Upload != nil {
			t.Errorf("left: %+v", rec.Upload)
		}
	})
}
