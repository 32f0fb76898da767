package engine

import (
	"context"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/transfer"
)

const (
	// abandonAtOnce is how many servers are told at a time that an upload is given up: all tasks may be cancelled at once.
	abandonAtOnce = 8
	// abandonWithin is how long an engine that ends tells them, in all. Those that have not been told by then let what they
	// hold expire.
	abandonWithin = 5 * time.Second
)

// abandoned are the uploads that are given up, of tasks that have ended.
type abandoned struct {
	mu      sync.Mutex
	waiting []*transfer.Attempt
	tellers int
	ctx     context.Context // of those that are being told; nil: there were none yet
	stop    context.CancelFunc
	by      time.Time // when it ends; zero: not before all were told
}

// abandon has the server of an upload told that it is given up, when its turn comes. The attempt's RoundTripper is found then.
func (e *Engine) abandon(a *transfer.Attempt) {
	d := &e.abandoned
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.ctx != nil:
	case d.by.IsZero():
		d.ctx, d.stop = context.WithCancel(context.Background())
	default:
		d.ctx, d.stop = context.WithDeadline(context.Background(), d.by)
	}
	d.waiting = append(d.waiting, a)
	if d.tellers < abandonAtOnce {
		d.tellers++
		e.attempts.Go(e.tellAbandoned)
	}
}

// tellAbandoned tells servers until nothing waits, or the time that hurry has set is over.
func (e *Engine) tellAbandoned() {
	for a := e.abandoned.next(); a != nil; a = e.abandoned.next() {
		if a.RoundTripper = e.rt; e.chain != nil {
			var err error
			if a.RoundTripper, err = e.chain(a.Spec); err != nil {
				continue
			}
		}
		if a.RoundTripper != nil {
			transfer.Abandon(e.abandoned.ctx, a)
		}
	}
}

// next is the attempt to tell of; nil: there is none, and the teller is one no more.
func (d *abandoned) next() *transfer.Attempt {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) == 0 || d.ctx.Err() != nil {
		d.waiting = nil
		d.tellers--
		return nil
	}
	a := d.waiting[0]
	d.waiting[0] = nil
	d.waiting = d.waiting[1:]
	return a
}

// hurry bounds what is still to be told, and what comes, to abandonWithin from when it is called first.
func (d *abandoned) hurry() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.by.IsZero() {
		return
	}
	d.by = time.Now().Add(abandonWithin)
	if d.ctx != nil {
		time.AfterFunc(abandonWithin, d.stop)
	}
}
