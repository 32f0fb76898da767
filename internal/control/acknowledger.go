package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// acknowledger sends the acknowledgements of one iteration as owner: one at a time, and of those that come meanwhile only
// the newest.
type acknowledger struct {
	ctx    context.Context // not ended by the loop's
	cancel context.CancelFunc
	send   func(ctx context.Context, sequence uint64) error

	sending sync.WaitGroup
	mu      sync.Mutex
	want    uint64 // the newest that was acknowledged
	busy    bool   // a goroutine sends
	over    bool
	err     error // of the last that was sent
}

// acknowledge has sequence sent, and returns the error of an earlier one. false: the iteration is over.
func (a *acknowledger) acknowledge(sequence uint64) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return false, nil
	}
	if err := a.err; err != nil {
		a.err = nil
		return true, err
	}
	if sequence <= a.want {
		return true, nil
	}
	a.want = sequence
	if !a.busy {
		a.busy = true
		a.sending.Go(a.run)
	}
	return true, nil
}

func (a *acknowledger) run() {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.busy = false }()
	for sent := uint64(0); sent != a.want; {
		sent = a.want
		a.mu.Unlock()
		err := a.send(a.ctx, sent)
		a.mu.Lock()
		if err != nil {
			a.err, a.want = err, 0 // whatever follows is newer
			return
		}
	}
}

// own begins an iteration as owner; another one of this client is SessionInUse.
func (c *Client) own(ctx context.Context) (*acknowledger, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owner != nil {
		return nil, &task.Error{Op: "listen to session as its owner", Code: task.SessionInUse,
			Err: errors.New("another loop over the session's events is under way; listen to its tasks instead")}
	}
	a := &acknowledger{send: c.acknowledge}
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.owner = a
	return a, nil
}

// finishFor is how long a loop that is left waits for its last acknowledgement, where the daemon is away.
const finishFor = 2 * time.Second

// finish waits until what was acknowledged is sent, or cannot be: it comes again then. Nothing more is taken.
func (a *acknowledger) finish() {
	a.mu.Lock()
	a.over = true
	a.mu.Unlock()
	late := time.AfterFunc(finishFor, a.cancel)
	a.sending.Wait()
	late.Stop()
	a.cancel()
}

// disown ends the iteration.
func (c *Client) disown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owner = nil
	if c.closed.Err() != nil { // the last acknowledgement may have left a connection
		c.transport.CloseIdleConnections()
	}
}
