package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/urlsession/urlsession/internal/task"
)

const (
	// ahead is how many durable events a listener that is slow lets come in before it stops reading.
	ahead = 256
	// silence is for how long a stream may bring nothing, no heartbeat either, before it counts as broken.
	silence = 3 * HeartbeatEvery
)

// Events is Service.Events. Where the connection breaks it goes on with the event after the last one, so that the loop
// sees one stream, with each durable event once; only when the daemon is away for longer than Options.Patience it ends
// with DaemonLost.
//
// With q.Own the claim ends with the connection: when the loop is left, the process ends, or the daemon does. It is taken
// again when the daemon is back, and the loop fails with SessionInUse if somebody else was faster.
func (c *Client) Events(ctx context.Context, q task.EventQuery) iter.Seq2[task.Event, error] {
	return func(yield func(task.Event, error) bool) {
		ctx, done := c.use(ctx)
		defer done()
		var owner *acknowledger
		if q.Own {
			var err error
			if owner, err = c.own(ctx); err != nil {
				yield(task.Event{}, err)
				return
			}
			defer c.disown()
		}
		l := &listening{c: c, q: q, changed: make(chan struct{}, 1), room: make(chan struct{}, 1)}
		if q.After != nil {
			l.cursor, l.begun = *q.After, true
		}
		reading, stop := context.WithCancel(ctx)
		var reader sync.WaitGroup
		reader.Go(func() { l.read(reading) })
		defer reader.Wait()
		defer stop()
		if owner != nil {
			defer owner.finish() // while the claim holds
		}
		l.yield(ctx, yield)
	}
}

// Wait is Service.Wait.
func (c *Client) Wait(ctx context.Context, id task.ID) (task.Record, error) {
	for _, err := range c.Events(ctx, task.EventQuery{Task: id, After: new(uint64), DurableOnly: true}) {
		if err != nil {
			return task.Record{}, err
		}
	}
	return c.Task(ctx, id)
}

// listening is one iteration of Events: a goroutine reads, and the caller's loop takes.
type listening struct {
	c *Client
	q task.EventQuery

	// Of the reader.
	cursor    uint64 // number of the last durable event that was read, or where the stream began
	begun     bool   // cursor is known
	completed bool   // EventsCompleted was read
	told      bool   // an event was handed to the loop

	changed chan struct{} // holds a token after the backlog has changed
	room    chan struct{} // holds a token after something was taken from it
	mu      sync.Mutex
	backlog Backlog[task.Event]
	ended   bool
	err     error // why; nil: the last event was read
}

// yield tells the caller's loop, until the end or until it is left.
func (l *listening) yield(ctx context.Context, yield func(task.Event, error) bool) {
	var deltas Deltas
	for {
		if ctx.Err() != nil {
			yield(task.Event{}, l.c.ended(ctx, listenOp))
			return
		}
		l.mu.Lock()
		ev, ok := l.backlog.Pop()
		ended, err := l.ended, l.err
		l.mu.Unlock()
		switch {
		case ok:
			signal(l.room)
			if ev, _, tell := deltas.Adjust(ev); tell && !yield(ev, nil) {
				return
			}
		case ended:
			if ctx.Err() != nil {
				continue // which says why
			}
			if err != nil {
				yield(task.Event{}, err)
			}
			return
		default:
			select {
			case <-l.changed:
			case <-ctx.Done():
			}
		}
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// put hands an event to the loop, once there is room for it.
func (l *listening) put(ctx context.Context, ev task.Event) error {
	for {
		l.mu.Lock()
		if l.backlog.Durable() < ahead {
			l.backlog.Add(ev.Task, ProgressOf(&ev), ev)
			l.mu.Unlock()
			signal(l.changed)
			return nil
		}
		l.mu.Unlock()
		select {
		case <-l.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read reads streams, one after the other, until there is nothing more to come.
func (l *listening) read(ctx context.Context) {
	err := l.streams(ctx)
	l.mu.Lock()
	l.ended, l.err = true, err
	l.mu.Unlock()
	signal(l.changed)
}

func (l *listening) streams(ctx context.Context) error {
	var o outage
	for {
		err := l.stream(ctx, &o)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, ok := errors.AsType[*task.Error](err); ok {
			return err
		}
		if err := o.wait(ctx, l.c.dialer, l.c.patience, err); err != nil {
			return l.c.fail(ctx, listenOp, err)
		}
	}
}

const listenOp = "listen to events"

// stream reads one stream. nil: it was the last; a *task.Error: so it was, and that is why; else it broke.
func (l *listening) stream(ctx context.Context, o *outage) error {
	resp, err := l.c.open(ctx, request{op: listenOp, method: http.MethodGet, path: l.path(), silence: silence})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	in := newFrames(resp.Body)
	for {
		f, err := in.next()
		if err == nil {
			o.over()
			var last bool
			if last, err = l.take(ctx, f); last && err == nil {
				return nil
			}
		}
		if errors.Is(err, errFrame) {
			return &task.Error{Op: listenOp, URL: l.c.dialer.socket, Code: task.CannotParseResponse, Err: err}
		}
		if err != nil {
			return err
		}
	}
}

func (l *listening) path() string {
	v := url.Values{}
	if l.q.Task != 0 {
		v.Set("task", strconv.FormatUint(uint64(l.q.Task), 10))
	}
	if l.begun {
		v.Set("after", strconv.FormatUint(l.cursor, 10))
	}
	if l.q.Own {
		v.Set("own", "true")
	}
	if l.q.DurableOnly {
		v.Set("durable", "true")
	}
	return sessionPath(l.c.session, "events") + "?" + v.Encode()
}

// take hands over what a frame says. last: nothing follows.
func (l *listening) take(ctx context.Context, f frame) (last bool, err error) {
	switch {
	case f.name == StreamEnd:
		return true, nil
	case f.name == StreamFailure:
		var failure task.Failure
		if err := json.Unmarshal(f.data, &failure); err != nil || failure.Code == 0 {
			return false, fmt.Errorf("%w: a failure that says nothing", errFrame)
		}
		if failure.Code == task.DaemonLost {
			return false, &unreachable{errors.New(failure.Text())}
		}
		return true, failure.Err()
	case f.name != "":
		return false, nil // of a later version
	case len(f.data) == 0:
		if f.hasID && !l.begun {
			l.cursor, l.begun = f.id, true
		}
		return false, nil
	}
	var ev task.Event
	if err := json.Unmarshal(f.data, &ev); errors.Is(err, task.ErrUnknownEvent) {
		l.seen(f.id)
		return false, nil // of a later version
	} else if err != nil {
		return false, fmt.Errorf("%w: %w", errFrame, err)
	}
	switch d := ev.Detail.(type) {
	case task.BackgroundTransfer:
		if l.told { // the loop was there; it was the daemon that was away
			return false, nil
		}
	case task.EventsCompleted:
		if l.completed {
			return false, nil
		}
		l.completed = true
	case task.Gap:
		if d.To == math.MaxUint64 || l.begun && d.To <= l.cursor {
			return false, nil
		}
		l.seen(d.To)
	}
	if ev.Sequence != 0 {
		if l.begun && ev.Sequence <= l.cursor {
			return false, nil
		}
		l.seen(ev.Sequence)
	}
	if err := l.put(ctx, ev); err != nil {
		return false, err
	}
	l.told = true
	switch ev.Detail.(type) {
	case task.SessionCompleted:
		return l.q.Task != 0, nil
	case task.Invalidated:
		return l.q.Task == 0, nil
	}
	return false, nil
}

func (l *listening) seen(sequence uint64) {
	if sequence != 0 {
		l.cursor, l.begun = max(l.cursor, sequence), true
	}
}
