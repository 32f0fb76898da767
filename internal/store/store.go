// Package store says how the tasks and events of one session are kept. memstore keeps them in memory, for sessions in
// process; a database keeps them for the daemon. storetest is what each of them must pass.
package store

import (
	"context"
	"errors"

	"github.com/urlsession/urlsession/internal/task"
)

var (
	// ErrNotFound: no such task.
	ErrNotFound = errors.New("no such task")
	// ErrConflict: the record was written by somebody else since it was loaded, or by a later attempt.
	ErrConflict = errors.New("the record has changed since it was read")
	// ErrFull: there was no room for a write. The store works on, and takes writes again when there is room.
	ErrFull = errors.New("the disk is full; make room on it")
)

// Store keeps one session. Its methods may be called from any goroutine. A call that has returned nil is as durable as
// the store is; one that has returned an error has changed nothing.
//
// Records and events are values, but for their maps, slices and pointers: those are shared, and nobody changes them.
//
// Details given to Create and Save become durable events in the same transaction as the record, numbered from 1
// without gaps in the order in which the transactions commit, stamped with the record's task.
type Store interface {
	// Create stores new tasks, all or none. It sets each one's ID, to a number never used before, and Version, to 1.
	Create(ctx context.Context, recs ...*task.Record) error

	// Load is a copy of the newest record; ErrNotFound.
	Load(ctx context.Context, id task.ID) (task.Record, error)

	// Save replaces a record if the stored one still has rec.Version and no later Attempt, and appends events. It
	// advances rec.Version and returns the number of the newest event. ErrConflict, ErrNotFound.
	Save(ctx context.Context, rec *task.Record, events ...task.Detail) (uint64, error)

	// Tasks is up to limit records with numbers after the given one, in order.
	Tasks(ctx context.Context, after task.ID, limit int) ([]task.Record, error)

	// Append stores events of the session itself.
	Append(ctx context.Context, events ...task.Detail) error

	// Events is up to limit events with numbers after the given one, in order; of one task unless id is 0. With id 0,
	// a Gap without a number stands in the place of events that are no longer kept.
	Events(ctx context.Context, after uint64, id task.ID, limit int) ([]task.Event, error)

	// Last is the number of the newest durable event, and Acknowledged the cursor; 0 before the first.
	Last(ctx context.Context) (uint64, error)
	Acknowledged(ctx context.Context) (uint64, error)

	// Acknowledge moves the cursor forward, at most to Last; a smaller sequence is no error and changes nothing.
	Acknowledge(ctx context.Context, sequence uint64) error

	// Forget removes tasks that have ended, and their events. Unknown ones are no error.
	Forget(ctx context.Context, ids ...task.ID) error
}
