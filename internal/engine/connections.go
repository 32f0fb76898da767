package engine

import (
	"slices"

	"github.com/urlsession/urlsession/internal/transfer"
)

// connections are those that a download or an upload takes beyond its first, all to one host: its transfer.Connections. Engine.mu guards
// them.
type connections struct {
	run    *run
	home   *host         // whose slot the attempt has
	host   *host         // that they go to, which is another after a redirect; nil: none was wanted yet
	most   int           // that may be taken
	taken  int           // those that are
	asked  int           // how many of those are to come back, and have not yet
	wanted chan struct{} // nil: none was asked back yet, and nobody listens; never full
	over   bool          // the attempt has ended
}

// mayTake lets an attempt that begins have further connections, as many as its host may have now: more than that its
// RoundTripper may not make. Engine.mu is held.
func (r *run) mayTake(a *transfer.Attempt) {
	c, ok := a.Connections.(*connections)
	if !ok {
		return
	}
	if c.most = min(c.most, r.e.perHost-1); c.most <= 0 {
		a.Connections = nil
		return
	}
	r.further = c
}

// Take takes one more while no task waits for it: what an attempt has beyond its slot is what nobody else has a use for. Of
// a multiplexed host, whose tasks share a connection, one is left for them.
func (c *connections) Take(url string) bool {
	e := c.run.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.over || c.taken >= c.most {
		return false
	}
	h := e.host(originOf(url))
	defer e.dispatch(h)
	if c.host != h {
		if c.taken > 0 {
			return false
		}
		c.leave()
		c.host = h
		if h != c.home {
			h.visitors++
		}
	}
	switch {
	case e.held(h), len(h.queue) > 0, e.spare(h) <= 0, h.share != nil && !h.share.take():
		return false
	}
	if c.taken == 0 {
		h.splits = append(h.splits, c)
	}
	c.taken++
	h.further++
	return true
}

// Give gives one back.
func (c *connections) Give() {
	e := c.run.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.taken > 0 {
		c.give(1)
		e.dispatch(c.host)
	}
}

// Wanted receives once for each that is to come back.
func (c *connections) Wanted() <-chan struct{} {
	e := c.run.e
	e.mu.Lock()
	defer e.mu.Unlock()
	return c.signal()
}

func (c *connections) signal() chan struct{} {
	if c.wanted == nil {
		c.wanted = make(chan struct{}, c.most)
	}
	return c.wanted
}

// end gives all back, whatever the attempt has done. Engine.mu is held, as for all that follows.
func (c *connections) end() {
	c.over = true
	if c.taken > 0 {
		c.give(c.taken)
	}
	c.leave()
}

func (c *connections) give(n int) {
	h := c.host
	c.taken -= n
	h.further -= n
	if c.taken == 0 {
		h.splits = slices.DeleteFunc(h.splits, func(o *connections) bool { return o == c })
	}
	c.asked = max(0, c.asked-n)
	for len(c.wanted) > c.asked { // nobody has seen that it is wanted, and it is back
		<-c.wanted
	}
}

// leave ends the visit of a host that a redirect has led to.
func (c *connections) leave() {
	if h := c.host; h != nil {
		c.host = nil
		if h != c.home {
			h.visitors--
			c.run.e.dispatch(h)
		}
	}
}

// spare is how many more further connections a host may have; below 0 is how many it has too many. One is left for attempts'
// first ones, which of a multiplexed host share it.
func (e *Engine) spare(h *host) int {
	n := e.perHost - 1 - h.further
	if !h.multiplexed {
		n = min(n, e.perHost-h.running-h.visitors-h.further)
	}
	return n
}

// askBack asks for as many further connections of a host as there are too many, as its tasks wait for, and as other engines
// wait for: always the attempt that has most of them left.
func (e *Engine) askBack(h *host, owed int) {
	if len(h.splits) == 0 {
		return
	}
	n := -e.spare(h)
	if !h.multiplexed && !e.held(h) {
		n += len(h.queue)
	}
	n = max(0, n) + owed
	for _, c := range h.splits {
		n -= c.asked
	}
	for ; n > 0; n-- {
		c := slices.MaxFunc(h.splits, func(x, y *connections) int { return (x.taken - x.asked) - (y.taken - y.asked) })
		if c.asked == c.taken {
			break
		}
		c.asked++
		c.signal() <- struct{}{}
	}
}
