package urlsession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// TaskID numbers a task within its session, from 1. A number is never used again.
type TaskID uint64

// Task is a handle of a task of a session. There is one a task and session: the same pointer, whoever asks. Its methods
// may be called from any goroutine. Their ctx bounds the call, never the task: when it ends, the call fails with
// ErrCancelled or ErrTimedOut, and the task goes on.
//
// A task runs whether its handle is kept or not. What is known of one that has ended is kept for its handle; once that
// is dropped it may be forgotten. The daemon keeps what it knows of a task of a background session, for seven days after
// its events were acknowledged, unless it was told otherwise.
//
// A session makes tasks; the zero value is of no use.
type Task struct {
	s  *Session
	id task.ID

	mu   sync.Mutex
	body []byte
	read bool // body was fetched
}

// Identifier is the task's number.
func (t *Task) Identifier() TaskID { return TaskID(t.id) }

// Status is a snapshot of the task.
func (t *Task) Status(ctx context.Context) (Status, error) {
	rec, err := t.s.svc.Task(ctx, t.id)
	if err != nil {
		return Status{}, publicError("look up task", err)
	}
	return statusOf(&rec), nil
}

// Events yields the task's durable events from its creation on, then EventsCompleted, then those that come, with live
// ones among them. It ends after Completed, or with an error: ErrCancelled or ErrTimedOut when ctx ends. It acknowledges
// nothing, and any number may listen at once; but of a task with Request.Stream each piece of data goes to one.
func (t *Task) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for ev, err := range t.s.svc.Events(ctx, task.EventQuery{Task: t.id, After: new(uint64)}) {
			if err != nil {
				yield(nil, publicError("listen to task", err))
				return
			}
			if e := publicEvent(ev); e != nil && !yield(e, nil) {
				return
			}
		}
	}
}

// Wait waits until the task has ended, and returns its response. The error is the task's own, an *Error; the response is
// then what came of it, mostly nil. A task that is suspended does not end. Of a task with Request.Stream somebody must
// listen to Events.
func (t *Task) Wait(ctx context.Context) (*Response, error) {
	rec, err := t.s.wait(ctx, t.id)
	if err != nil {
		return nil, err
	}
	return responseOf(&rec), publicError("", rec.Failure.Err())
}

// Body waits until a data or upload task has ended, and returns the body of its response, decoded. The error is the
// task's own where it failed. The slice is the same at each call, and must not be changed; it is held as long as t is.
func (t *Task) Body(ctx context.Context) ([]byte, error) {
	rec, err := t.s.wait(ctx, t.id)
	if err != nil {
		return nil, err
	}
	if err := publicError("", rec.Failure.Err()); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.read {
		if t.body, err = t.s.body(ctx, &rec); err != nil {
			return nil, err
		}
		t.read = true
	}
	return t.body, nil
}

// Suspend stops the task, until as many calls of Resume: what a download has received is kept, an upload goes on from what its
// server has, where that can (Request.Resumable, Request.Multipart), and else starts over, as a data task does. Its timers stand
// still. On a task that has ended it does nothing.
//
// Of a background session, Suspend and Resume fail with ErrDaemonLost where the connection breaks before the answer has
// come, and may have been applied: since they count, they are not tried again. Status tells.
func (t *Task) Suspend(ctx context.Context) error {
	return publicError("suspend task", t.s.svc.Suspend(ctx, t.id))
}

// Resume undoes one Suspend, or Request.Suspended. On a task that is not suspended it does nothing. See Suspend for a
// background session.
func (t *Task) Resume(ctx context.Context) error {
	return publicError("resume task", t.s.svc.Resume(ctx, t.id))
}

// Cancel ends the task with ErrCancelled. It returns at once; Wait says when the task has ended. A download's part file
// is kept: the same download goes on from it. What the server holds of an upload is dropped there. On a task that has ended
// it does nothing.
func (t *Task) Cancel(ctx context.Context) error {
	return publicError("cancel task", t.s.svc.Cancel(ctx, t.id))
}

// CancelForResumeData cancels a download or the upload of a File, waits until it has ended, and returns what
// Session.DownloadTaskWithResumeData or UploadTaskWithResumeData goes on from. What the server holds of an upload stays
// there. A task that left nothing to go on from (it succeeded first, or holds no byte, or its server gives no means to go on
// safely, or it was cancelled already) is ErrResourceUnavailable.
func (t *Task) CancelForResumeData(ctx context.Context) ([]byte, error) {
	if err := t.s.svc.CancelForResumeData(ctx, t.id); err != nil {
		return nil, publicError("cancel task for resume data", err)
	}
	if _, err := t.s.wait(ctx, t.id); err != nil {
		return nil, err
	}
	return t.ResumeData(ctx)
}

// ResumeData is what a download or an upload that failed or was cancelled left to go on from; see CancelForResumeData. An upload
// leaves it where its body is a File and its server has named it, or has parts of it; one whose answer was an HTTP error does too. Of
// such an upload that is under way, but in parts (Request.Multipart), it is what a process that is killed would leave, to be kept
// before: it is used once the task is no more. It is JSON, which names the file and holds URLs and headers as they are, with any secret in them: whoever has that of an
// upload may go on with it.
func (t *Task) ResumeData(ctx context.Context) ([]byte, error) {
	rec, err := t.s.svc.Task(ctx, t.id)
	if err != nil {
		return nil, publicError("look up task", err)
	}
	if rec.ResumeData != nil {
		return rec.ResumeData.Encode(), nil
	}
	return nil, &Error{Op: "get resume data", URL: task.Redact(rec.Spec.Request.URL), Code: ErrResourceUnavailable, Err: errors.New(withoutResumeData(&rec))}
}

// withoutResumeData is why a task has no resume data.
func withoutResumeData(rec *task.Record) string {
	body := rec.Spec.Request.Body
	switch {
	case rec.Spec.Kind == task.Data:
		return "only a download or an upload leaves resume data"
	case rec.State != task.Completed:
		return "the " + string(rec.Spec.Kind) + " has not ended; use CancelForResumeData"
	case rec.Failure == nil:
		return "the " + string(rec.Spec.Kind) + " succeeded"
	case rec.Spec.Kind == task.Upload && (body == nil || body.Source == nil || body.Spooled):
		return "its body was no File, and is not there any more; start it anew"
	case rec.Spec.Kind == task.Upload && rec.Failure.Code == task.Cancelled && !rec.KeepUpload:
		return "it was cancelled, and what the server held of it dropped; use CancelForResumeData"
	case rec.Spec.Kind == task.Upload:
		return "the server holds nothing of it that can be gone on from; start it anew"
	}
	return "it held nothing that can be gone on from; start it anew"
}

// SetPriority changes the task's priority among those that wait for the same host; it is above 0, up to 1.
func (t *Task) SetPriority(ctx context.Context, p Priority) error {
	if !(p > 0 && p <= 1) {
		return &Error{Op: "set priority", Code: ErrUnknown, Err: fmt.Errorf("it is %v; it goes from above 0 to 1", float64(p))}
	}
	return publicError("set priority", t.s.svc.SetPriority(ctx, t.id, task.Priority(p)))
}

// SetRateLimit bounds the bytes of bodies that the task receives a second, and apart from those the ones that it sends, in
// place of Request.RateLimit; 0: no limit. It holds at once, beside the session's and the daemon's. On a task that has ended
// it does nothing.
func (t *Task) SetRateLimit(ctx context.Context, bytesPerSecond int64) error {
	return t.s.setRateLimit(ctx, t.id, bytesPerSecond)
}

// SetRateLimit is Task.SetRateLimit of all tasks of the session together, in place of Configuration.RateLimit. That of a
// background session is kept by the daemon until an app opens the session with New, whose Configuration then governs.
func (s *Session) SetRateLimit(ctx context.Context, bytesPerSecond int64) error {
	return s.setRateLimit(ctx, 0, bytesPerSecond)
}

func (s *Session) setRateLimit(ctx context.Context, id task.ID, bytesPerSecond int64) error {
	const op = "set rate limit"
	if bytesPerSecond < 0 {
		return &Error{Op: op, Code: ErrUnknown, Err: fmt.Errorf("it is %d bytes a second; 0 is none", bytesPerSecond)}
	}
	return publicError(op, s.svc.SetRateLimit(ctx, id, bytesPerSecond))
}

// wait waits until a task has ended, and returns its record.
func (s *Session) wait(ctx context.Context, id task.ID) (task.Record, error) {
	rec, err := s.svc.Wait(ctx, id)
	return rec, publicError("wait for task", err)
}

// body is the response body of a task that has succeeded.
func (s *Session) body(ctx context.Context, rec *task.Record) ([]byte, error) {
	refuse := func(why string) ([]byte, error) {
		return nil, &Error{Op: "read body of task", URL: task.Redact(rec.Spec.Request.URL), Code: ErrResourceUnavailable, Err: errors.New(why)}
	}
	switch {
	case rec.Spec.Kind == task.Download:
		return refuse("the body of a download is its file, at Response.Path")
	case rec.Spec.Stream:
		return refuse("the body of a task with Stream went to DataReceived events")
	}
	r, err := s.svc.Body(ctx, rec.ID)
	if err != nil {
		return nil, publicError("read body of task", err)
	}
	defer r.Close()
	if held, ok := r.(control.HeldBody); ok {
		return held.Bytes(), nil
	}
	b := bytes.NewBuffer(make([]byte, 0, max(0, rec.Counts.Received)))
	if _, err := io.Copy(b, r); err != nil {
		return nil, publicError("read body of task", err)
	}
	return b.Bytes(), nil
}
