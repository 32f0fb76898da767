package engine

import (
	"context"
	"errors"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// discretion is what holds discretionary tasks back (Policy.Discretionary): an attempt begins, and goes on, only while the
// machine is plugged in and its network is neither expensive nor constrained. One goroutine watches for all of them, while
// there are any that wait or have an attempt under way. Engine.mu guards it.
type discretion struct {
	runs    map[*run]struct{} // that wait, or have an attempt under way
	aside   []aside           // more that wait, in the store alone
	unwatch context.CancelFunc
	lacks   string // what was found missing last, "power" or "network"; empty: nothing
}

// aside is a task that waits beyond discreetAtMost.
type aside struct {
	host string
	place
}

const (
	// discreetAtMost is how many discretionary tasks wait in memory, and tell so, in a session that outlives its process.
	// Each of the others is found waiting when its turn comes, and costs a place until power or network change.
	discreetAtMost = 1024
	// discretionPoll bounds how long a change is not noticed of which the machine does not tell, as that of a network that
	// becomes metered.
	discretionPoll = time.Minute
)

var errDiscretion = errors.New("the task is discretionary, and power or network are not free any more")

// lacking asks the machine what discretionary tasks have to wait for; empty: nothing.
func (e *Engine) lacking() string {
	if e.power != nil && !e.power.Plugged() {
		return "power"
	}
	if e.network != nil {
		if expensive, constrained := e.network.Metered(); expensive || constrained {
			return "network"
		}
	}
	return ""
}

// discreet says whether a discretionary task may begin its attempt now; if not, it waits. r.mu is held.
func (r *run) discreet(h *host) bool {
	if !r.rec.Spec.Policy.Discretionary {
		return true
	}
	e := r.e
	e.mu.Lock()
	r.watchDiscretion() // before the look: what changes after it is noticed
	e.mu.Unlock()
	what := e.lacking()
	e.mu.Lock()
	e.discretion.lacks = what
	full := e.lasting != nil && len(e.discretion.runs) > discreetAtMost
	e.mu.Unlock()
	if what == "" {
		return true
	}
	if full && !r.needed() {
		r.setAside(h)
	} else {
		r.awaitDiscretion(what)
	}
	return false
}

// awaitDiscretion parks the task until power and network are free. It is told once a wait. r.mu is held.
func (r *run) awaitDiscretion(what string) {
	r.e.mu.Lock()
	r.watchDiscretion()
	r.e.mu.Unlock()
	r.rec.Next = time.Time{}
	r.wait(&task.Wait{Reason: task.WaitDiscretionary, Detail: what, Since: time.Now()})
	r.plan()
}

// setAside leaves the task to the store, until power or network change. r.mu is held.
func (r *run) setAside(h *host) {
	e := r.e
	e.mu.Lock()
	defer e.mu.Unlock()
	e.discretion.aside = append(e.discretion.aside, aside{h.key, place{id: r.id, priority: r.priority}})
	r.leaveDiscretion()
	r.phase = waiting
	e.evict(r)
}

// watchDiscretion notes that a run waits for power and network, or is about to use them; the first one starts the watch.
// Engine.mu is held.
func (r *run) watchDiscretion() {
	e := r.e
	d := &e.discretion
	d.runs[r] = struct{}{}
	if d.unwatch != nil || e.stopping {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.unwatch = cancel
	e.attempts.Go(func() { e.watchMachine(ctx) })
}

// leaveDiscretion notes that a run does so no more; the last one ends the watch. Engine.mu is held.
func (r *run) leaveDiscretion() {
	d := &r.e.discretion
	delete(d.runs, r)
	d.endWatch()
}

func (d *discretion) endWatch() {
	if len(d.runs)+len(d.aside) == 0 && d.unwatch != nil {
		d.unwatch()
		d.unwatch = nil
	}
}

// watchMachine looks at power and network whenever they may have changed, until ctx ends.
func (e *Engine) watchMachine(ctx context.Context) {
	var power, network <-chan struct{}
	if e.power != nil {
		power = e.power.Changes(ctx)
	}
	if e.network != nil {
		network = e.network.Changes(ctx)
	}
	ticker := time.NewTicker(discretionPoll)
	defer ticker.Stop()
	for {
		e.weigh() // at first too: they may have changed before they were watched
		var ok bool
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case _, ok = <-power:
			if !ok {
				power = nil
			}
		case _, ok = <-network:
			if !ok {
				network = nil
			}
		}
	}
}

// weigh lets what waits for power and network go on, or stops what uses them.
func (e *Engine) weigh() {
	what := e.lacking()
	e.mu.Lock()
	if e.stopping {
		e.mu.Unlock()
		return
	}
	d := &e.discretion
	d.lacks = what
	runs := make([]*run, 0, len(d.runs))
	for r := range d.runs {
		runs = append(runs, r)
	}
	if what == "" {
		for _, a := range d.aside {
			h := e.host(a.host)
			h.queue.push(a.place)
			e.dispatch(h)
		}
		d.aside = nil
		d.endWatch()
	}
	e.mu.Unlock()
	for _, r := range runs {
		r.mu.Lock()
		r.weigh(what)
		r.unlock()
	}
}

// weigh stops an attempt as a suspension does, and what it holds is kept. A request that must not be sent twice goes on:
// to have it applied twice is worse than to have it use what is not free. r.mu is held.
func (r *run) weigh(what string) {
	waits := r.phase == waiting && r.rec.Waiting != nil && r.rec.Waiting.Reason == task.WaitDiscretionary
	switch {
	case r.phase == attempting && what != "" && r.interruptible():
		r.stop(errDiscretion)
	case waits && what == "":
		r.schedule()
	case waits && what != r.rec.Waiting.Detail:
		w := *r.rec.Waiting
		w.Detail = what
		r.rec.Waiting = &w
	}
}

// discretionWait is what a task waits for that is queued since some time, or set aside; nil: something else.
func (e *Engine) discretionWait(p *task.Policy, since time.Time) *task.Wait {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := &e.discretion; p.Discretionary && d.unwatch != nil && d.lacks != "" {
		return &task.Wait{Reason: task.WaitDiscretionary, Detail: d.lacks, Since: since}
	}
	return nil
}
