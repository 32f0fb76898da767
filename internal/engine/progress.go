package engine

import (
	"sync/atomic"

	"github.com/urlsession/urlsession/internal/task"
)

// progress is what one attempt has moved. The attempt writes it, and a transport that ends late; listeners read it
// without a lock.
type progress struct {
	after          uint64 // number of the task's newest event when the attempt began
	sent, received counter
	confirmed      atomic.Bool // sent is what the server has said it has
}

// counter is one body's progress.
type counter struct {
	total, expected atomic.Int64
	rate            meter
}

func (c *counter) set(total, expected int64) {
	c.expected.Store(expected)
	c.total.Store(total)
	c.rate.add(total)
}

// restore sets what an earlier process has moved.
func (c *counter) restore(total, expected int64) {
	c.total.Store(total)
	c.expected.Store(expected)
}

// begin makes a zero progress that of a task without an attempt.
func (p *progress) begin(body *task.Body) {
	if body != nil {
		p.sent.expected.Store(max(-1, body.Size))
	}
	p.received.expected.Store(-1)
}

// next is of an attempt that follows, of which nothing is known yet: the body is sent from its start, and a download
// has what it had until the attempt says otherwise. after is the number of the task's newest event.
func (p *progress) next(kind task.Kind, after uint64) *progress {
	n := &progress{after: after}
	n.sent.expected.Store(p.sent.expected.Load())
	n.received.expected.Store(-1)
	if kind == task.Download {
		n.received.total.Store(p.received.total.Load())
		n.received.expected.Store(p.received.expected.Load())
	}
	return n
}

func (p *progress) counts() task.Counts {
	return task.Counts{
		Sent: p.sent.total.Load(), ExpectedToSend: p.sent.expected.Load(),
		Received: p.received.total.Load(), ExpectedToReceive: p.received.expected.Load(),
		Confirmed: p.confirmed.Load(),
	}
}

// rate is that of the direction that moves.
func (p *progress) rate() float64 {
	if r := p.received.rate.now(); r != 0 {
		return r
	}
	return p.sent.rate.now()
}
