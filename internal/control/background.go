package control

import (
	"context"
	"fmt"
	"iter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/urlsession/urlsession/internal/task"
)

// What a session in the daemon can do beyond a Service. Each is an interface of its own, because a session in process
// needs none of them; *Client has them all.
type (
	// Batcher makes many tasks in one commit: all of them, or none with an error. The specs' bodies are files, or they
	// have none. The numbers are in the order of the specs.
	Batcher interface {
		CreateBatch(ctx context.Context, specs []task.Spec) ([]task.ID, error)
	}

	// Pager yields what Service.Tasks does, from the first number after the given one on, without looking at those
	// before.
	Pager interface {
		TasksAfter(ctx context.Context, after task.ID) iter.Seq2[task.Record, error]
	}

	// URLReplacer moves a task that has not ended to another URL, in place of one that has expired. Its bytes are kept,
	// where the new URL's validators say that they are of the same content. On a task that has ended it does nothing.
	URLReplacer interface {
		ReplaceURL(ctx context.Context, id task.ID, url string) error
	}
)

// SessionInfo is what the daemon tells of one of its sessions.
type SessionInfo struct {
	ID           string       `json:"sessionIdentifier"`
	State        SessionState `json:"state"`
	Last         uint64       `json:"lastSequence"`         // number of the newest durable event; 0: none yet
	Acknowledged uint64       `json:"acknowledgedSequence"` // the cursor; never above Last
	Tasks        int          `json:"tasks"`                // that have not ended
	Owned        bool         `json:"owned,omitempty"`      // somebody listens as the owner
	Created      time.Time    `json:"created,omitzero"`
	RateLimit    int64        `json:"rateLimit,omitempty"` // bytes a second of all its tasks together; 0: none
}

// SessionState is where a session is in its life.
type SessionState string

const (
	SessionOpen        SessionState = "open"
	SessionFinishing   SessionState = "finishing" // no new tasks; it is invalid once those that it has have ended
	SessionCanceling   SessionState = "canceling" // the same, and its tasks are being cancelled
	SessionInvalidated SessionState = "invalidated"
)

// Status is what the daemon tells of itself.
type Status struct {
	PID      int       `json:"pid"`
	Version  string    `json:"version"` // the program's
	State    string    `json:"state"`   // the folder
	Started  time.Time `json:"started"`
	Sessions int       `json:"sessions"`
	Tasks    int       `json:"tasks"` // that have not ended, of all sessions
	Used     int64     `json:"used"`  // bytes that the state folder takes on its disk
	Free     int64     `json:"free"`  // bytes that its disk has free; -1: not known

	RateLimit      int64     `json:"rateLimit,omitempty"`     // bytes a second of all sessions together; 0: none
	RateLimitUntil time.Time `json:"rateLimitUntil,omitzero"` // when it changes by schedule; zero: it does not
	SettingsError  string    `json:"settingsError,omitempty"` // why the newest settings do not hold
}

// MaxIdentifier is the most bytes of a session's identifier.
const MaxIdentifier = 255

// CheckIdentifier says what is wrong with a session's identifier: it is text that can be shown on a line and stand in a
// URL's path.
func CheckIdentifier(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("the session's identifier is empty; name it, such as com.example.sync")
	case len(id) > MaxIdentifier:
		return fmt.Errorf("the session's identifier is of %d bytes; at most %d are allowed", len(id), MaxIdentifier)
	case id == "." || id == "..":
		return fmt.Errorf("the session's identifier is %q; name it, such as com.example.sync", id)
	case !utf8.ValidString(id):
		return fmt.Errorf("the session's identifier %q is not UTF-8", id)
	}
	for _, r := range id {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("the session's identifier %q has a character that cannot be shown", id)
		}
	}
	return nil
}
