package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// dialer connects to the daemon, and has it started where nobody listens.
type dialer struct {
	socket string // for errors
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	start  func(ctx context.Context) error // nil: it is not for us to start

	starting chan struct{} // holds a token while start is called; guards the next two
	started  time.Time     // when start was last called
	failed   error         // how that went

	reached atomic.Bool // a daemon was, once
}

// startEvery is the shortest time between two starts of the daemon.
const startEvery = 2 * time.Second

// unreachable is why there was no connection: nothing was asked of the daemon.
type unreachable struct{ err error }

func (u *unreachable) Error() string { return u.err.Error() }
func (u *unreachable) Unwrap() error { return u.err }

// connect is http.Transport.DialContext. Its errors are *unreachable, but for a peer that is not ours.
func (d *dialer) connect(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := d.dial(ctx, "unix", d.socket)
	if err != nil {
		return nil, &unreachable{err}
	}
	if err := CheckPeer(conn); err != nil {
		conn.Close()
		return nil, &task.Error{Op: "connect to the daemon", URL: d.socket, Code: task.NoPermission, Err: err}
	}
	d.reached.Store(true)
	return conn, nil
}

// startDaemon has the daemon started, unless that was tried a moment ago. Its error is start's, of then.
func (d *dialer) startDaemon(ctx context.Context) error {
	if d.start == nil {
		return nil
	}
	select {
	case d.starting <- struct{}{}:
		defer func() { <-d.starting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !d.started.IsZero() && time.Since(d.started) < startEvery {
		return d.failed
	}
	err := d.start(ctx)
	if ctx.Err() != nil {
		return ctx.Err() // and the start may go on
	}
	if err != nil {
		err = fmt.Errorf("it cannot be started: %w", err)
	}
	if err == nil || d.reached.Load() { // else the next call may have it tried at once
		d.started, d.failed = time.Now(), err
	}
	return err
}

// The pauses between attempts to reach a daemon that is away.
const (
	pauseFirst = 10 * time.Millisecond
	pauseMost  = time.Second
)

// outage is one stretch of time for which the daemon does not answer.
type outage struct {
	since  time.Time
	pause  time.Duration
	failed error // of the last start
}

// errOver is the end of the patience with an outage.
var errOver = errors.New("the daemon does not answer")

// wait waits before the next attempt, half of the time at random, so that a thousand clients do not come back at once.
// Its error is ctx's, or wraps errOver.
func (o *outage) wait(ctx context.Context, d *dialer, patience time.Duration, reason error) error {
	if o.since.IsZero() {
		o.since = time.Now()
	}
	if _, ok := errors.AsType[*unreachable](reason); ok {
		begun := time.Now()
		err := d.startDaemon(ctx)
		o.since = o.since.Add(time.Since(begun))
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case !d.reached.Load():
			return fmt.Errorf("%w; %w", errOver, err)
		default: // the daemon that there was may come back by other means, as systemd's
			o.failed = err
		}
	}
	if time.Since(o.since) >= patience {
		if o.failed != nil {
			return fmt.Errorf("%w: %w; %w", errOver, reason, o.failed)
		}
		return fmt.Errorf("%w: %w", errOver, reason)
	}
	o.pause = min(max(pauseFirst, 2*o.pause), pauseMost)
	t := time.NewTimer(o.pause/2 + rand.N(o.pause/2))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// over forgets the outage: the daemon has answered.
func (o *outage) over() { *o = outage{} }
