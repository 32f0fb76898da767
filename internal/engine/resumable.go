package engine

import (
	"net/http"

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

// conceal takes out of a record what nobody but an attempt is told. What a server holds of an upload that has not ended is told as
// the resume data that it would leave if its process were killed now.
func conceal(rec *task.Record, underWay bool) {
	if rec.Upload != nil {
		killed := *rec
		killed.UnderWay = rec.UnderWay || underWay
		rec.ResumeData = task.UploadResumeData(&killed)
	}
	rec.Answered, rec.Upload = nil, nil
}

// leaves is the resume data of a task that ends. What a server holds of an upload that succeeded is of no account any more; that of
// a cancelled one is dropped there, unless it was cancelled for its resume data. r.mu is held.
func (r *run) leaves(res transfer.Result, err error) *task.ResumeData {
	switch {
	case r.kind != task.Upload && err != nil:
		return res.ResumeData
	case r.kind != task.Upload, err == nil && (res.Response == nil || res.Response.Status < http.StatusBadRequest):
		return nil
	case r.rec.State == task.Canceling && !r.rec.KeepUpload:
		r.abandonUpload()
		return nil
	}
	return task.UploadResumeData(&r.rec)
}

// abandonUpload tells the server of a task that is cancelled that nothing more of its upload comes. r.mu is held.
func (r *run) abandonUpload() {
	if r.rec.Upload == nil {
		return
	}
	spec := r.rec.Spec
	r.e.abandon(&transfer.Attempt{ID: r.id, Number: r.rec.Attempt, Spec: &spec, Upload: r.rec.Upload, Answered: r.rec.Answered})
}
