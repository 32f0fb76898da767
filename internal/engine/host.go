package engine

import (
	"container/heap"
	"strings"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// host is one origin and the tasks that want a connection to it. Engine.mu guards it.
type host struct {
	key         string
	running     int       // attempts that hold a slot
	queue       hostQueue // tasks that wait for one
	hold        time.Time // the server asked (Retry-After) to be left alone until then
	holdTimer   *time.Timer
	multiplexed bool // it speaks HTTP/2: its requests share a connection
}

// streams is how many requests at once a multiplexed host gets: what an HTTP/2 client may have open before the server
// has said its limit, which RFC 9113 §6.5.2 recommends to be no smaller.
const streams = 100

func (e *Engine) host(key string) *host {
	h := e.hosts[key]
	if h == nil {
		h = &host{key: key}
		e.hosts[key] = h
	}
	return h
}

func (e *Engine) enqueue(r *run) {
	h := e.host(r.origin)
	if r.queue == 0 {
		heap.Push(&h.queue, r)
	}
	e.dispatch(h)
}

func (e *Engine) dequeue(r *run) {
	if r.queue != 0 {
		h := e.hosts[r.origin]
		heap.Remove(&h.queue, r.queue-1)
		e.drop(h)
	}
}

// requeue moves a waiting run to the place of its new priority.
func (e *Engine) requeue(r *run) {
	r.priority = r.rec.Spec.Priority
	if r.queue != 0 {
		heap.Fix(&e.hosts[r.origin].queue, r.queue-1)
	}
}

// dispatch starts as many attempts as the host has slots for.
func (e *Engine) dispatch(h *host) {
	slots := e.perHost
	if h.multiplexed {
		slots = max(slots, streams)
	}
	if time.Now().Before(h.hold) {
		slots = 0
	}
	for h.running < slots && len(h.queue) > 0 {
		r := heap.Pop(&h.queue).(*run)
		h.running++
		e.attempts.Add(1)
		go r.attempt(h)
	}
	e.drop(h)
}

// release gives back the slot of an attempt.
func (e *Engine) release(h *host) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h.running--
	e.dispatch(h)
}

// drop forgets a host that nothing is known or wanted of.
func (e *Engine) drop(h *host) {
	if h.running == 0 && len(h.queue) == 0 && h.holdTimer == nil && e.hosts[h.key] == h {
		delete(e.hosts, h.key)
	}
}

// multiplexes notes whether a host speaks HTTP/2. It is forgotten with the host: the next first response tells again.
func (e *Engine) multiplexes(h *host, yes bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if h.multiplexed != yes {
		h.multiplexed = yes
		e.dispatch(h)
	}
}

// holdHost keeps every task from a host until a time.
func (e *Engine) holdHost(key string, until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.host(key)
	if !until.After(h.hold) {
		return
	}
	h.hold = until
	if h.holdTimer != nil {
		h.holdTimer.Stop()
	}
	h.holdTimer = time.AfterFunc(time.Until(until), func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !time.Now().Before(h.hold) {
			h.holdTimer = nil
			e.dispatch(h)
		}
	})
}

// releaseHosts ends the holds of a session that has ended, and their timers.
func (e *Engine) releaseHosts() {
	for _, h := range e.hosts {
		if h.holdTimer != nil {
			h.holdTimer.Stop()
			h.holdTimer = nil
			e.drop(h)
		}
	}
}

// hostWait is what a queued run waits for.
func (e *Engine) hostWait(r *run) *task.Wait {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := &task.Wait{Reason: task.WaitHostLimit, Since: r.queuedAt}
	if h := e.hosts[r.origin]; h != nil && time.Now().Before(h.hold) {
		w.Reason, w.Until = task.WaitRetry, h.hold
	}
	return w
}

// hostQueue is a heap of runs: higher priority first, then older.
type hostQueue []*run

func (q hostQueue) Len() int { return len(q) }
func (q hostQueue) Less(i, j int) bool {
	a, b := q[i].priority, q[j].priority
	if a != b {
		return a > b
	}
	return q[i].id < q[j].id
}
func (q hostQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].queue, q[j].queue = i+1, j+1
}
func (q *hostQueue) Push(x any) {
	r := x.(*run)
	*q = append(*q, r)
	r.queue = len(*q)
}
func (q *hostQueue) Pop() any {
	old := *q
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	r.queue = 0
	return r
}

// originOf is the scheme, host and port of a URL: what the limit of connections is counted by. The default port may be
// said or not.
func originOf(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	scheme, rest = strings.ToLower(scheme), strings.ToLower(rest)
	switch scheme {
	case "http":
		rest = strings.TrimSuffix(rest, ":80")
	case "https":
		rest = strings.TrimSuffix(rest, ":443")
	}
	return scheme + "://" + rest
}
