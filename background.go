package urlsession

import (
	"context"
	"errors"
	"iter"
)

// Info is what the daemon tells of a background session. In process it is ErrNoSharedContainer.
func (s *Session) Info(ctx context.Context) (SessionInfo, error) {
	return SessionInfo{}, errors.ErrUnsupported
}

// Download is one of DownloadTasks.
type Download struct {
	Request     Request
	Destination string
}

// DownloadTasks makes many downloads in one step of a background session: all of them, durably, or none with an error. At
// most 10,000 at once. In process it makes them one by one, and an error leaves those before.
func (s *Session) DownloadTasks(ctx context.Context, downloads []Download) ([]*Task, error) {
	return nil, errors.ErrUnsupported
}

// Observe yields the events of the session without owning them: it acknowledges nothing, and any number may listen. It
// begins after event number after; nil: after the last acknowledged one. Events that are not kept any more are told by a
// Gap. Else it is as Events.
func (s *Session) Observe(ctx context.Context, after *uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) { yield(nil, errors.ErrUnsupported) }
}

// Acknowledge moves the cursor of a background session forward to an event's number, for one who has dealt with events
// otherwise than by Events. While another process owns the session it is ErrSessionInUse.
func (s *Session) Acknowledge(ctx context.Context, sequence uint64) error {
	return errors.ErrUnsupported
}

// Statuses yields snapshots of the tasks after number after, with one question for many, as Tasks yields their handles.
func (s *Session) Statuses(ctx context.Context, after TaskID) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) { yield(Status{}, errors.ErrUnsupported) }
}

// ReplaceURL moves a task of a background session that has not ended to another URL, in place of one that has expired.
// What a download holds is kept, and gone on from where the new URL's validators are those of the old. On a task that has
// ended it does nothing. In process it does the same.
func (t *Task) ReplaceURL(ctx context.Context, url string) error { return errors.ErrUnsupported }
