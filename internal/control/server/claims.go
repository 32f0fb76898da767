package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// claims are the owners of sessions: who reads a session's events as its owner, and alone may acknowledge them. A claim
// is as long as its stream.
type claims struct {
	mu   sync.Mutex
	held map[string]*claim // by session
}

type claim struct {
	of    string        // ClaimHeader: one client's claims are the same, so that it can come back
	leave func()        // ends the stream
	done  chan struct{} // closed when it has ended
}

// claimGrace is how long a second owner is kept waiting: a connection that has just been closed at its other end has to be
// noticed here.
const claimGrace = 250 * time.Millisecond

var errOwned = errors.New("another process listens to the session as its owner; listen to its tasks, or without owning it")

// take claims a session, until release is called. Who has claimed it before, and comes back by another connection, takes
// the place of its old stream, once that has ended, however long it takes. Another's claim is SessionInUse.
func (c *claims) take(ctx context.Context, session, of string, leave func()) (release func(), err error) {
	grace := time.NewTimer(claimGrace)
	defer grace.Stop()
	for {
		c.mu.Lock()
		before := c.held[session]
		if before == nil {
			mine := &claim{of: of, leave: leave, done: make(chan struct{})}
			c.held[session] = mine
			c.mu.Unlock()
			return func() {
				c.mu.Lock()
				delete(c.held, session)
				c.mu.Unlock()
				close(mine.done)
			}, nil
		}
		c.mu.Unlock()
		late := grace.C
		if of != "" && before.of == of {
			before.leave()
			late = nil // an owner is not lost to itself
		}
		select {
		case <-before.done:
		case <-late:
			return nil, &task.Error{Op: "listen to session as its owner", Code: task.SessionInUse, Err: errOwned}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// mayAcknowledge reports whether nobody else owns the session.
func (c *claims) mayAcknowledge(session, of string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.held[session]
	return held == nil || of != "" && held.of == of
}
