package engine

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// host is one origin and the tasks that want a connection to it. Engine.mu guards it.
type host struct {
	key         string
	running     int            // attempts that hold a slot
	further     int            // connections that downloads have beyond their slots
	splits      []*connections // of those that have some
	visitors    int            // attempts that a redirect has led here, and that would have further ones; their slots are other hosts'
	share       *share         // in the account of all engines; nil: there is none
	queue       heap[place]    // tasks that wait for one
	parked      int            // tasks that have had one, and wait for network or disk space, be it the store's
	hold        time.Time      // the server asked (Retry-After) to be left alone until then
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
		if e.account != nil {
			h.share = e.account.join(e, h)
		}
	}
	return h
}

// place is a task in its host's queue.
type place struct {
	id       task.ID
	priority task.Priority
	run      *run // nil: the task is in the store alone, and may have changed its mind
}

// before: higher priority first, then older.
func (p place) before(o place) bool {
	if p.priority != o.priority {
		return p.priority > o.priority
	}
	return p.id < o.id
}

func (p place) moved(to int) {
	if p.run != nil {
		p.run.queue = to
	}
}

func (e *Engine) enqueue(r *run) {
	h := e.host(r.origin)
	if r.queue == 0 {
		h.queue.push(place{r.id, r.priority, r})
	}
	e.dispatch(h)
}

func (e *Engine) dequeue(r *run) {
	if r.queue != 0 {
		h := e.hosts[r.origin]
		h.queue.remove(r.queue)
		e.dispatch(h)
	}
}

// requeue moves a waiting run to the place of its new priority.
func (e *Engine) requeue(r *run) {
	r.priority = r.rec.Spec.Priority
	if r.queue != 0 {
		h := e.hosts[r.origin]
		h.queue[r.queue-1].priority = r.priority
		h.queue.fix(r.queue)
	}
}

// parkedAtMost is how many tasks of a host wait in memory for network or disk space, in a session that outlives its
// process. The others stay queued: what those wait for they would too.
const parkedAtMost = 256

// held says whether no task of a host is to begin now, nor a further connection.
func (e *Engine) held(h *host) bool {
	return e.stopping || !h.hold.IsZero() && time.Now().Before(h.hold) || e.lasting != nil && h.parked >= parkedAtMost
}

// slots is how many attempts a host may have at once.
func (e *Engine) slots(h *host) int {
	switch {
	case e.held(h):
		return 0
	case h.multiplexed:
		return max(e.perHost, streams)
	}
	return e.perHost - h.further
}

// uses is how many connections a host's attempts have.
func (h *host) uses() int {
	if h.multiplexed {
		return min(h.running, 1) + h.further
	}
	return h.running + h.further
}

// dispatch starts as many attempts as the host has slots for, and asks for further connections back where those are too few.
// It follows each change of what a host has or wants.
func (e *Engine) dispatch(h *host) {
	if h.share != nil {
		h.share.use(h.uses(), h.further)
	}
	slots, wants := e.slots(h), 0
	for h.running < slots && len(h.queue) > 0 {
		if q := h.queue[0]; q.run == nil && e.runs[q.id] != nil {
			h.queue.pop() // it has a place of its own, or wants none
			continue
		}
		if alone := !h.multiplexed || h.running == 0; h.share != nil && alone && !h.share.take() {
			if wants = 1; !h.multiplexed {
				wants = min(slots-h.running, len(h.queue))
			}
			break
		}
		e.grant(h, h.queue.pop())
	}
	owed := 0
	if h.share != nil {
		owed = h.share.want(wants)
	}
	e.askBack(h, owed)
	e.drop(h)
}

func (e *Engine) dispatchAll() {
	for _, h := range slices.Collect(maps.Values(e.hosts)) { // some may be forgotten
		e.dispatch(h)
	}
}

// grant gives a slot to the task of a place, and has its attempt begin.
func (e *Engine) grant(h *host, q place) {
	h.running++
	e.attempts.Add(1)
	switch {
	case q.run == nil:
		go e.promote(h, q)
	case q.run.here && q.run.granted == nil:
		q.run.granted = h
		q.run.over.notify()
	default:
		go q.run.attemptAlone(h)
	}
}

// release gives back the slot of an attempt.
func (e *Engine) release(h *host) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.releaseLocked(h)
}

func (e *Engine) releaseLocked(h *host) {
	h.running--
	e.dispatch(h)
}

// drop forgets a host that nothing is known or wanted of.
func (e *Engine) drop(h *host) {
	if h.running == 0 && h.further == 0 && h.visitors == 0 && len(h.queue) == 0 && h.parked == 0 && h.holdTimer == nil && e.hosts[h.key] == h {
		delete(e.hosts, h.key)
		h.leave()
	}
}

// leave ends the host's share in the account.
func (h *host) leave() {
	if h.share != nil {
		h.share.leave()
		h.share = nil
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
	if !until.After(h.hold) || e.stopping {
		return
	}
	h.hold = until
	if h.holdTimer != nil {
		h.holdTimer.Stop()
	}
	h.holdTimer = time.AfterFunc(time.Until(until), func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if h.holdTimer != nil && !time.Now().Before(h.hold) {
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

// leaveHosts ends the part of an engine that has stopped in the account.
func (e *Engine) leaveHosts() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.hosts {
		h.leave()
	}
}

// park notes that a run waits for network or disk space, and unpark that it does so no more.
func (e *Engine) park(r *run) {
	if !r.parked {
		r.parked = true
		e.host(r.origin).parked++
	}
}

func (e *Engine) unpark(r *run) {
	if r.parked {
		r.parked = false
		h := e.hosts[r.origin]
		h.parked--
		e.drop(h)
	}
}

// leaveParking is unpark of a run that does not want a slot itself.
func (e *Engine) leaveParking(r *run) {
	if r.parked {
		h := e.hosts[r.origin]
		e.unpark(r)
		e.dispatch(h)
	}
}

// queueWait is what a task waits for that is queued since some time.
func (e *Engine) queueWait(rec *task.Record, origin string, since time.Time) *task.Wait {
	if w := e.discretionWait(&rec.Spec.Policy, since); w != nil {
		return w
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	w := &task.Wait{Reason: task.WaitHostLimit, Since: since}
	if h := e.hosts[origin]; h != nil && time.Now().Before(h.hold) {
		w.Reason, w.Until = task.WaitRetry, h.hold
	}
	return w
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
	if after := len(scheme) + len("://"); strings.HasPrefix(raw, scheme) && strings.HasPrefix(raw[after:], rest) {
		return raw[:after+len(rest)] // mostly, and without a copy
	}
	return scheme + "://" + rest
}

// hasOrigin is originOf(raw) == origin.
func hasOrigin(raw, origin string) bool {
	if path, ok := strings.CutPrefix(raw, origin); ok && strings.HasPrefix(path, "/") {
		return true // mostly
	}
	return originOf(raw) == origin
}
