package engine

import (
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// partsWithin is how long a part of an upload that the server has may go without being stored.
const partsWithin = 2 * time.Second

// Resumable notes what the server holds of an upload. It is stored at once where the server has named the upload, before more
// than a little of it is there, and before it may be done: a process that ends without notice leaves it to the next. The offset needs no write of its
// own, as the server is asked for it. Of one in parts nobody can be asked which are there, so each is stored; several that come
// soon after one another, at once.
func (o *observer) Resumable(s *task.UploadState) {
	r := o.r
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.rec.Upload
	if before == nil && s != nil && s.Protocol != task.ResumableParts && o.host.key != originOf(r.rec.Spec.Request.URL) {
		return // the task has moved to another server meanwhile
	}
	r.rec.Upload = s
	switch {
	case r.e.lasting == nil:
	case (before == nil) != (s == nil), s != nil && (s.URL != before.URL || named(s) != named(before) || inParts(s) && s.Whole && !before.Whole):
		r.rec.Counts = r.counts()
		r.save() // which comes again with the attempt's end
		r.parts.stored = time.Now()
	case s != nil && inParts(s):
		r.storeSoon()
	}
}

// inParts says whether parts of an upload come side by side.
func inParts(s *task.UploadState) bool { return s.Protocol == task.ResumableParts || len(s.Parts) > 0 }

// named is how many parts of an upload have a name of their own at the server: they are few.
func named(s *task.UploadState) (n int) {
	for _, p := range s.Parts {
		if p.URL != "" {
			n++
		}
	}
	return n
}

// parts is when those of an upload are stored. run.mu guards it.
type parts struct {
	stored time.Time
	timer  *time.Timer // nil: it was never needed
	due    bool
}

// storeSoon stores the parts of the upload within partsWithin. r.mu is held.
func (r *run) storeSoon() {
	if r.parts.due {
		return
	}
	r.parts.due = true
	wait := max(0, time.Until(r.parts.stored.Add(partsWithin)))
	if r.parts.timer == nil {
		r.parts.timer = time.AfterFunc(wait, r.storeParts)
	} else {
		r.parts.timer.Reset(wait)
	}
}

func (r *run) storeParts() {
	leave, err := r.e.enter("store parts")
	if err != nil {
		return // the attempt is being stopped, and stores them
	}
	defer leave()
	r.mu.Lock()
	defer r.unlock()
	if r.parts.due && r.phase == attempting {
		r.rec.Counts = r.counts()
		r.save()
		r.parts.due, r.parts.stored = false, time.Now()
	}
}

// end ends that anything is stored between attempts.
func (p *parts) end() {
	if p.due = false; p.timer != nil {
		p.timer.Stop()
	}
}

// handedBack is what is known of an upload beyond its attempts, and to whoever asks: which parts are there, whose URLs are elsewhere.
func handedBack(s *task.UploadState) *task.UploadState {
	if s == nil || s.Protocol != task.ResumableParts {
		return nil
	}
	return &task.UploadState{Protocol: s.Protocol, Parts: s.Parts}
}

// withoutURLs takes out of a record that is told what nobody but an attempt needs: each URL of an upload's parts is a capability, and
// there are up to 10,000.
func withoutURLs(rec *task.Record) {
	rec.Upload = handedBack(rec.Upload)
	u := rec.Spec.Upload
	if u == nil || u.Multipart == nil {
		return
	}
	upload := *u
	upload.Multipart = &task.Multipart{PartSize: u.Multipart.PartSize, Completes: u.Multipart.Completes}
	rec.Spec.Upload = &upload
}

// conceal takes out of a record what nobody but an attempt is told. What a server holds of an upload that has not ended is told as
// the resume data that it would leave if its process were killed now, but for one in parts, whose plan may be of megabytes.
func conceal(rec *task.Record, underWay bool) {
	if u := rec.Upload; u != nil && u.Protocol != task.ResumableParts {
		killed := *rec
		killed.UnderWay = rec.UnderWay || underWay
		rec.ResumeData = task.UploadResumeData(&killed)
	}
	rec.Answered = nil
	withoutURLs(rec)
}

// leaves is the resume data of a task that ends. What a server holds of an upload that succeeded is of no account any more; that of
// a cancelled one is dropped there, unless it was cancelled for its resume data, or had succeeded at that moment. r.mu is held.
func (r *run) leaves(res transfer.Result, err error) *task.ResumeData {
	switch {
	case r.kind != task.Upload && err != nil:
		return res.ResumeData
	case r.kind != task.Upload, err == nil && r.arrived:
		return nil
	case r.rec.State == task.Canceling && !r.rec.KeepUpload:
		if !r.arrived {
			r.abandonUpload()
		}
		return nil
	}
	return task.UploadResumeData(&r.rec)
}

// abandonUpload tells the server of a task that is cancelled that nothing more of its upload comes. r.mu is held.
func (r *run) abandonUpload() {
	u := r.rec.Spec.Upload
	drops := u != nil && u.Multipart != nil && u.Multipart.Abort != ""
	if r.rec.Upload == nil && !drops {
		return
	}
	if drops {
		r.rec.Upload = nil
	}
	spec := r.rec.Spec
	r.e.abandon(&transfer.Attempt{ID: r.id, Number: r.rec.Attempt, Spec: &spec, Upload: r.rec.Upload, Answered: r.rec.Answered})
}
