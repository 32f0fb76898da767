package transfer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// phase is what an attempt waits for.
type phase int32

const (
	toConnect phase = iota
	toSend
	toRespond
	toReceive
)

func (p phase) String() string {
	return [...]string{"to connect", "to send the request", "for the response", "for more of the response's body"}[p]
}

// An idleTimer ends an attempt when no byte has arrived or left for a time (Policy.RequestTimeout).
//
// It costs a time stamp a byte's arrival and a single timer: when that fires, it is set again for what is left of the
// time since the newest stamp. While it is held, it does not run: nobody waits for the network then, but for a place
// among the connections to a host, for the rate limit or for whoever observes.
//
// Its methods but begin may be called from several goroutines.
type idleTimer struct {
	limit  time.Duration           // 0: never
	expire context.CancelCauseFunc // called once with errIdle, from a goroutine of its own

	start time.Time
	last  atomic.Int64 // since start: when the last byte moved
	holds atomic.Int32
	queue atomic.Bool // the request waits for its turn among the connections to its host
	phase atomic.Int32
	state atomic.Int32

	set   sync.Mutex  // held while timer is made: it may fire before
	timer *time.Timer // nil: it never runs
}

// States of an idleTimer.
const (
	idleRunning int32 = iota
	idleExpired
	idleStopped
)

// begin starts the time. It is called once, before all else.
func (t *idleTimer) begin(limit time.Duration, expire context.CancelCauseFunc) {
	if limit <= 0 {
		return
	}
	t.limit, t.expire, t.start = limit, expire, time.Now()
	t.set.Lock()
	t.timer = time.AfterFunc(limit, t.check)
	t.set.Unlock()
}

// stop ends it.
func (t *idleTimer) stop() {
	if t.timer != nil && t.state.CompareAndSwap(idleRunning, idleStopped) {
		t.timer.Stop()
	}
}

// touch says that a byte has arrived or left.
func (t *idleTimer) touch() {
	if t.timer != nil {
		t.last.Store(int64(time.Since(t.start)))
	}
}

// hold stops the time until release, from where it begins anew. Holds nest.
func (t *idleTimer) hold() { t.holds.Add(1) }

func (t *idleTimer) release() {
	t.touch()
	t.holds.Add(-1)
}

// Queued and Moved are transport.Activity.
func (t *idleTimer) Queued() {
	t.touch()
	t.queue.Store(true)
}

func (t *idleTimer) Moved() {
	t.touch()
	t.queue.Store(false)
}

// wait says what is waited for from now on.
func (t *idleTimer) wait(p phase) { t.phase.Store(int32(p)) }

// waitToSend is wait of a sender, which may go on beside a response that came early.
func (t *idleTimer) waitToSend(p phase) {
	if now := t.phase.Load(); now < int32(toReceive) {
		t.phase.CompareAndSwap(now, int32(p))
	}
}

// expired is the error that the attempt ends with; nil while its time is not over.
func (t *idleTimer) expired(op, url string) error {
	if t.state.Load() != idleExpired {
		return nil
	}
	return &task.Error{Op: op, URL: url, Code: task.TimedOut, Err: fmt.Errorf(
		"no byte moved for %v while it waited %v; try again, or raise the timeout for request", t.limit, phase(t.phase.Load()))}
}

func (t *idleTimer) check() {
	t.set.Lock()
	defer t.set.Unlock()
	left := t.limit
	if t.holds.Load() == 0 && !t.queue.Load() {
		left -= time.Since(t.start) - time.Duration(t.last.Load())
	}
	if left > 0 {
		t.timer.Reset(left)
		if t.state.Load() == idleStopped { // between check's begin and the Reset
			t.timer.Stop()
		}
		return
	}
	if t.state.CompareAndSwap(idleRunning, idleExpired) {
		t.expire(errIdle)
	}
}
