package urlsession

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// Info is what the daemon tells of the session. In process it is ErrNoSharedContainer.
func (s *Session) Info(ctx context.Context) (SessionInfo, error) {
	const op = "look up session"
	c, ok := s.svc.(*control.Client)
	if !ok {
		return SessionInfo{}, &Error{Op: op, Code: ErrNoSharedContainer, Err: errors.New("the session is in this process, and has no daemon; make it by Background")}
	}
	info, err := c.Info(ctx)
	if err != nil {
		return SessionInfo{}, publicError(op, err)
	}
	return sessionInfo(info), nil
}

// Download is one of DownloadTasks.
type Download struct {
	Request     Request
	Destination string // as DownloadTask's
}

// MaximumDownloads is the most that DownloadTasks makes at once, MaximumUploads that UploadTasks does.
const (
	MaximumDownloads = control.MaxBatch
	MaximumUploads   = control.MaxBatch
)

// DownloadTasks makes many downloads in one step, in their order: all of them, in the background durably, or none with an
// error, which names the first that is refused. At most MaximumDownloads are made at once. A body of a request can only be a
// File.
func (s *Session) DownloadTasks(ctx context.Context, downloads []Download) ([]*Task, error) {
	return s.createTasks(ctx, task.Download, len(downloads), func(i int) (task.Spec, io.Reader, error) {
		return s.downloadSpec(downloads[i].Request, downloads[i].Destination)
	})
}

// UploadTasks makes many uploads in one step, as DownloadTasks makes downloads, at most MaximumUploads. Their bodies can only be
// Files.
func (s *Session) UploadTasks(ctx context.Context, requests []Request) ([]*Task, error) {
	return s.createTasks(ctx, task.Upload, len(requests), func(i int) (task.Spec, io.Reader, error) {
		return s.newSpec(task.Upload, requests[i])
	})
}

// createTasks makes n tasks of a kind in one step, of the specs that specOf has.
func (s *Session) createTasks(ctx context.Context, kind task.Kind, n int, specOf func(i int) (task.Spec, io.Reader, error)) ([]*Task, error) {
	op := "create " + string(kind) + " tasks"
	refuse := func(why string) ([]*Task, error) {
		return nil, &Error{Op: op, Code: ErrUnknown, Err: errors.New(why)}
	}
	if n > control.MaxBatch {
		return refuse(fmt.Sprintf("there are %d; at most %d are made at once: call it for each so many", n, control.MaxBatch))
	}
	specs := make([]task.Spec, n)
	for i := range specs {
		spec, body, err := specOf(i)
		if err != nil {
			e := *publicError(op, err).(*Error)
			e.Op = fmt.Sprintf("%s, number %d of %d", e.Op, i+1, n)
			return nil, &e
		}
		if body != nil {
			return refuse(fmt.Sprintf("number %d of %d has a Request.Body that is no File; make it by %s", i+1, n, taskMethod[kind]))
		}
		specs[i] = spec
	}
	ids, err := s.svc.CreateBatch(ctx, specs)
	if err != nil {
		return nil, publicError(op, err)
	}
	tasks := make([]*Task, len(ids))
	for i, id := range ids {
		tasks[i] = s.handles.handle(s, id)
	}
	return tasks, nil
}

// Observe yields the events of the session without owning them: it acknowledges nothing, and any number may listen. It
// begins after event number after; nil: after the last acknowledged one. Events that are not kept any more are told by a
// Gap. Else it is as Events.
func (s *Session) Observe(ctx context.Context, after *uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for ev, err := range s.svc.Events(ctx, task.EventQuery{After: after}) {
			if err != nil {
				yield(nil, publicError("listen to session", err))
				return
			}
			if e := publicEvent(ev); e != nil && !yield(e, nil) {
				return
			}
		}
	}
}

// Acknowledge moves the session's cursor forward to an event's number, for one who has dealt with events otherwise than
// by Events; it never goes back. While another process owns the session it is ErrSessionInUse.
func (s *Session) Acknowledge(ctx context.Context, sequence uint64) error {
	return publicError("acknowledge events", s.svc.Acknowledge(ctx, sequence))
}

// Statuses yields snapshots of the tasks that Tasks yields, from the first number after the given one on. Of a background
// session it asks one question for many. An error ends it.
func (s *Session) Statuses(ctx context.Context, after TaskID) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		for rec, err := range s.svc.TasksAfter(ctx, task.ID(after)) {
			if err != nil {
				yield(Status{}, publicError("list tasks", err))
				return
			}
			if !yield(statusOf(&rec), nil) {
				return
			}
		}
	}
}

// ReplaceURL moves a task that has not ended to another URL, in place of one that has expired. What a download holds is
// kept, and gone on from where the new URL's validators are those of the old. A request under way that must not be sent twice
// goes on. On a task that has ended it does nothing.
func (t *Task) ReplaceURL(ctx context.Context, url string) error {
	const op = "replace URL of task"
	if code, why := checkURL(url); why != "" {
		return &Error{Op: op, URL: redact(url), Code: code, Err: errors.New(why)}
	}
	return publicError(op, t.s.svc.ReplaceURL(ctx, t.id, url))
}
