package transfer

import "time"

// When a file is spread over further connections. Each limit has its reason: see also docs/downloads.md.
const (
	// spreadLeast is the least number of missing bytes that is ever spread: below it the handshakes of the further
	// connections, and their slow start, take about as long as the bytes.
	spreadLeast = 4 << 20
	// spreadTime is how long the rest has to take at the present rate.
	spreadTime = time.Second
	// spreadRate is the rate, in bytes a second, from which on none is added, lately or on average: a connection that
	// brings as much is not held back by its server, but by this machine or its network, which further ones would share.
	spreadRate = 256 << 20

	// settleLeast and settleMost bound the time for which a rate is measured. In between it is twice what a connection
	// took to bring its first byte: that many round trips are needed to get up to speed.
	settleLeast = 100 * time.Millisecond
	settleMost  = time.Second
	// settleBytes is how many bytes have to come in it, unless it lasts doubtTime.
	settleBytes = 1 << 20
	// doubtTime is over which a rate is known well: so long a step that seems to be of no use is watched before it is taken
	// back, and what it is compared with is measured, where there is time. What was measured over settleLeast may be off by
	// much.
	doubtTime = 250 * time.Millisecond

	// hurry is for how long after the beginning less will do.
	hurry = 1500 * time.Millisecond

	// A step of connections gains 1 if each of them brings as much as each of those before. From leastGain on it is kept.
	leastGain = 0.5

	// firstRest follows a step without gain. Each further one doubles it, up to longestRest.
	firstRest   = time.Second
	longestRest = time.Minute
)

// A ramp says how many connections a file has, by what each step of further ones brought: 1, 2, 4 and so on. It has no
// clock of its own: times are since any moment that its user chooses.
type ramp struct {
	most int // connections in all; 0: as many as there are to be had

	from   int     // how many there were before the step that is watched; 0: none is
	before float64 // bytes a second, then

	// The step that was taken back last, and what it brought. The first one without gain is taken again at once where without
	// it that is far less: what it was compared with was too much then, as of a server that lets a burst pass first.
	tried, triedBy int     // to how many connections, by how many; 0: none was
	triedRate      float64 // bytes a second

	since   time.Duration // a rate is measured from here on
	bytes   int64         // that had come by then
	settled bool          // the first rate was measured, and nothing is under way

	excused bool // a step failed by its own connections, and none has gained since

	rest  time.Duration // the next pause; 0: firstRest
	until time.Duration // no step before
}

// A glance is what a ramp is told.
type glance struct {
	now         time.Duration
	connections int           // that there are, but for the late ones
	fresh       int           // of them, have not brought a byte yet
	late        int           // others, which should have brought one by now, or crawl
	disturbed   bool          // one has ended a request, or given up, since the last glance
	reply       time.Duration // how long the newest took to bring its first
	bytes       int64         // that have come over all of them, ever, again or not
	missing     int64         // that have not
}

// busy reports whether a step is watched, or the first rate is measured: then it wants to look often.
func (r *ramp) busy() bool { return r.from > 0 || r.tried > 0 || !r.settled }

// look says how many connections are to be added (> 0), or given up, the youngest (< 0).
func (r *ramp) look(g glance) int {
	switch {
	case r.from == 0 || g.connections > r.from:
	case g.late > 0 && !r.excused: // nothing can be said of the step, and others may do better
		r.from, r.excused = 0, true
		r.mark(g)
	default: // those of the step have gone
		r.fail(g.now)
	}
	if g.disturbed || r.from > 0 && g.fresh > 0 {
		r.mark(g)
		return 0
	}
	window := g.now - r.since
	least := min(max(settleLeast, 2*g.reply), settleMost)
	if g.now >= hurry || r.from == 0 && r.rest > 0 {
		least = max(least, doubtTime)
	}
	if window < least || window < doubtTime && g.bytes-r.bytes < settleBytes || window < settleMost && g.bytes == 0 {
		return 0
	}
	rate := float64(g.bytes-r.bytes) / window.Seconds()
	if r.from > 0 {
		switch gain := gain(r.before, r.from, rate, g.connections); {
		case gain >= leastGain:
			r.from, r.rest, r.excused = 0, 0, false
		case window < doubtTime:
			return 0
		default:
			back := r.from - g.connections
			r.fail(g.now)
			r.tried, r.triedBy, r.triedRate = g.connections, -back, rate
			r.mark(g)
			return back
		}
	}
	r.mark(g)
	r.settled = true
	if r.tried == g.connections+r.triedBy && r.rest == firstRest &&
		gain(rate, g.connections, r.triedRate, r.tried) >= leastGain {
		r.until = g.now
	}
	r.tried = 0
	more := g.connections
	if r.most > 0 {
		more = min(more, r.most-g.connections-g.late)
	}
	if more <= 0 || g.now < r.until || g.missing < spreadLeast ||
		max(rate, float64(g.bytes)/g.now.Seconds()) >= spreadRate || float64(g.missing) <= rate*spreadTime.Seconds() {
		return 0
	}
	r.from, r.before = g.connections, rate
	return more
}

// gain is what each connection of a step brought, in parts of what each before had brought: of rates before and after, in bytes a
// second, of so many connections.
func gain(before float64, from int, after float64, to int) float64 {
	if before == 0 {
		if after == 0 {
			return 0
		}
		return 1
	}
	return (after - before) / (before / float64(from) * float64(to-from))
}

func (r *ramp) mark(g glance) { r.since, r.bytes = g.now, g.bytes }

// fail ends a step without gain.
func (r *ramp) fail(now time.Duration) {
	r.from, r.tried = 0, 0
	if now >= r.until { // else it is one of several that fail
		r.rest = min(max(firstRest, 2*r.rest), longestRest)
		r.until = now + r.rest
	}
}

// stop says that no more are tried.
func (r *ramp) stop() { r.from, r.tried, r.settled = 0, 0, true }

// refused says that no more connections than these were to be had, or that others want some: more are tried later.
func (r *ramp) refused(now time.Duration, connections int) {
	if r.from >= connections {
		r.from = 0
	}
	r.until = max(r.until, now+firstRest)
}
