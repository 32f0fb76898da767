package engine

import (
	"context"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// Resumable notes what the server holds of an upload. It is stored at once where the server has named the upload, before more
// than a little of it is there: a process that ends without notice leaves it to the next. The offset needs no write of its
// own, as the server is asked for it.
func (o *observer) Resumable(s *task.UploadState) {
	r := o.r
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.rec.Upload
	if before == nil && o.host.key != originOf(r.rec.Spec.Request.URL) {
		return // the task has moved to another server meanwhile
	}
	r.rec.Upload = s
	if r.e.lasting != nil && ((before == nil) != (s == nil) || s != nil && s.URL != before.URL) {
		r.rec.Counts = r.counts()
		r.save() // which comes again with the attempt's end
	}
}

// abandonUpload tells the server of a task that is cancelled that nothing more of its upload comes. r.mu is held.
func (r *run) abandonUpload() {
	if r.rec.Upload == nil {
		return
	}
	spec, rt := r.rec.Spec, r.e.rt
	if r.e.chain != nil {
		var err error
		if rt, err = r.e.chain(&spec); err != nil {
			return
		}
	}
	if rt == nil {
		return
	}
	a := &transfer.Attempt{ID: r.id, Number: r.rec.Attempt, Spec: &spec, Upload: r.rec.Upload, Answered: r.rec.Answered, RoundTripper: rt}
	r.e.attempts.Go(func() { transfer.Abandon(context.Background(), a) })
}
