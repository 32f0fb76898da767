// Package control is what a session asks of whoever runs its tasks: the Service.
//
// *engine.Engine is one, in the process of the app. A client of the daemon's socket is another: above this interface a
// default and a background session are the same code, so that drift between them fails to compile.
package control

import (
	"context"
	"io"
	"iter"

	"github.com/urlsession/urlsession/internal/task"
)

// Service runs the tasks of one session. Its methods may be called from any goroutine; ctx bounds the call, never the
// task. Errors are *task.Error.
type Service interface {
	// Create makes a task, which exists, and unless spec.Suspended has started, once Create has returned. body is the
	// request's body where spec.Request.Body names no file, else nil; it must stay readable until the task has ended, is
	// read from one goroutine, and is closed at the task's end where it is an io.Closer. To be sent again, for a retry
	// or a redirect that keeps the body, it must be an io.Seeker or have a method Rewind() (io.Reader, error); else
	// that fails with BodyStreamExhausted. In an invalidated session Create is SessionInvalidated.
	Create(ctx context.Context, spec task.Spec, body io.Reader) (task.ID, error)

	// Task is the newest record of a task; an unknown one is ResourceUnavailable.
	Task(ctx context.Context, id task.ID) (task.Record, error)

	// Tasks yields each task that has not ended, suspended ones too, and those ended ones that are still kept, in the
	// order of their numbers, without their resume data: those are capabilities, and for who asks for the one task.
	Tasks(ctx context.Context) iter.Seq2[task.Record, error]

	// Suspend and Resume nest. On a task that has ended they do nothing.
	Suspend(ctx context.Context, id task.ID) error
	Resume(ctx context.Context, id task.ID) error

	// Cancel returns at once; the task ends with Cancelled, after the events that are already on their way, and its
	// record then holds the resume data of what a download held. What a server holds of an upload is dropped there. On a task
	// that has ended it does nothing.
	Cancel(ctx context.Context, id task.ID) error

	// CancelForResumeData is Cancel, but that what a server holds of an upload stays there, and the record holds the resume
	// data of that. Of two cancellations the first decides.
	CancelForResumeData(ctx context.Context, id task.ID) error

	SetPriority(ctx context.Context, id task.ID, p task.Priority) error

	// SetRateLimit bounds the bytes of bodies that a task receives a second, and as many that it sends; 0 of them: no limit.
	// With id 0 it bounds the session's, all its tasks together, until it is opened with another configuration. It holds at
	// once, also for attempts under way. A negative one is an error, and on a task that has ended it does nothing.
	SetRateLimit(ctx context.Context, id task.ID, bytesPerSecond int64) error

	// Events yields the durable events that q asks for, in order, one EventsCompleted when those that were stored when
	// it began have been yielded, then durable and live ones as they come. It ends after the SessionCompleted of
	// q.Task or, where q names no task, after Invalidated; and with ctx's error.
	Events(ctx context.Context, q task.EventQuery) iter.Seq2[task.Event, error]

	// Wait waits until a task has ended, and returns its record. It reads no event.
	Wait(ctx context.Context, id task.ID) (task.Record, error)

	// Acknowledge moves the session's cursor to sequence; it never goes back. Events at or before it may be forgotten.
	Acknowledge(ctx context.Context, sequence uint64) error

	// Answer decides what a task asked for by an event with a ticket. An unknown or answered ticket is
	// ResourceUnavailable. In a session that outlives its process the answer to a challenge does too, once Answer has
	// returned nil.
	Answer(ctx context.Context, id task.ID, ticket string, d task.Decision) error

	// Body hands over the response body of a data or upload task that has ended. In process it does so once, and the
	// reader is a HeldBody.
	Body(ctx context.Context, id task.ID) (io.ReadCloser, error)

	// Release says that the caller will not ask for this task again: once it has ended, it may be forgotten earlier
	// than the session's retention says.
	Release(id task.ID)

	// Finish closes the session to new tasks; once its tasks have ended, Invalidated is its last event. Invalidate does
	// the same, but cancels the tasks first. Both return at once and may be called again.
	Finish(ctx context.Context) error
	Invalidate(ctx context.Context) error

	// Flush writes what the session remembers durably and drops idle connections. Reset empties it, then flushes.
	// Running tasks are not disturbed. Both return when it is done.
	Flush(ctx context.Context) error
	Reset(ctx context.Context) error
}

// HeldBody is a body in memory.
type HeldBody interface {
	// Bytes is all of it, and the caller's own from then on.
	Bytes() []byte
}

// Runner is a Service of a session that ends with its process. What waits there for a task may run it too.
type Runner interface {
	// Run makes a task whose request has no body but a file, waits until it has ended, and returns its record, which nobody
	// changes, and its response's body, which is the caller's. The end of ctx cancels the task, which is waited for all the same. The task is
	// pinned before it can end, and still is where Run returns no error.
	Run(ctx context.Context, spec task.Spec, pins Pins) (*task.Record, []byte, error)
}

// Pins keep tasks from being released.
type Pins = interface {
	Pin(id task.ID)
	Unpin(id task.ID)
}
