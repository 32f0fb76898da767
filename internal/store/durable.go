package store

import (
	"context"
	"slices"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// State is how far a session's end has come.
type State string

const (
	Open        State = "open"
	Finishing   State = "finishing"   // it takes no new tasks; once all have ended it is Invalidated
	Canceling   State = "canceling"   // the same, and its tasks are being cancelled
	Invalidated State = "invalidated" // its last event is stored
)

// Before says whether a session is in s earlier in its life than in o.
func (s State) Before(o State) bool {
	order := []State{Open, Finishing, Canceling, Invalidated}
	return slices.Index(order, s) < slices.Index(order, o)
}

// Pending is what a queue has to know of a task that has not ended.
type Pending struct {
	ID       task.ID
	State    task.State
	Priority task.Priority // never 0
	Due      time.Time     // Record.Waiting.Until, else Spec.EarliestBegin; zero or past: at once
	Asks     bool          // Record.AwaitsAnswer: Due says nothing
	Deadline time.Time     // Record.Deadline
	URL      string        // at least scheme, host and port of Spec.Request.URL
}

// Durable is a Store of a session that outlives its process: what is needed beyond to go on with it.
type Durable interface {
	Store

	// State is Open until SetState. Append of a task.Invalidated makes it Invalidated in the same transaction.
	// SetState never goes back: of two who end a session at once, or one and its last event, the further stands.
	State(ctx context.Context) (State, error)
	SetState(ctx context.Context, s State) error

	// Pending is up to limit of the tasks that have not ended, with numbers after the given one, in order. It is cheap:
	// a queue of a million is read by it.
	Pending(ctx context.Context, after task.ID, limit int) ([]Pending, error)

	// Amend is Save, but the details take the place of the task's newest events, as many, of which the first has the
	// number from. They get the numbers of those, and the time of now. It is ErrConflict where those are not its newest.
	Amend(ctx context.Context, rec *task.Record, from uint64, details ...task.Detail) error

	// Expired is up to limit tasks that may be forgotten, those that ended first first: they have ended, all of their
	// events are acknowledged, and either they ended before the given time, or at least keep such tasks ended later; a
	// negative keep: that is no reason.
	Expired(ctx context.Context, before time.Time, keep, limit int) ([]task.ID, error)
}
