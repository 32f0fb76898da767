package transfer

import (
	"math"
	"time"
)

const (
	// stallTime is how long a connection may bring nothing, or crawl, while others go on, before its rest is asked for
	// again. It doubles each time.
	stallTime = time.Second
	// crawlPart: one crawls that brings less than this part of what the others bring, on average.
	crawlPart = 1. / 8
	// replyTime is how long a further connection may take to its first byte at least; it may take replyTimes what the
	// download's own took.
	replyTime  = 2 * time.Second
	replyTimes = 5
	// momentLeast is over how long a connection's rate is measured at least.
	momentLeast = 50 * time.Millisecond
	// usualTime is in which what was usual is forgotten by half.
	usualTime = time.Second
	// lateTime is the same for when it is not waited for any more, though it may still come.
	lateTime = doubtTime
)

// look looks after the connections: it ends those that bring nothing, and has more of them where that helps.
func (s *spread) look() {
	g := s.survey()
	if s.closed {
		s.ramp.stop()
		s.assign(nil)
		return
	}
	switch n := s.ramp.look(g); {
	case n > 0:
		s.add(n)
	case n < 0:
		for ; n < 0 && s.slots > len(s.live); n++ {
			s.drop()
		}
		s.shed(-n)
	}
	s.assign(nil)
}

// survey measures, and cuts what brings nothing.
func (s *spread) survey() glance {
	now := s.now()
	since := now - s.looked
	s.looked = now
	var cut []*segment
	s.mu.Lock()
	for _, g := range s.live {
		if g.rate < 0 && g.begun() && g.resp == nil {
			s.reply = g.began - g.asked
		}
		g.sample(now, since, min(max(momentLeast, 2*s.reply), settleMost))
	}
	mean, n := s.others(nil)
	s.usual = max(mean/float64(max(n, 1)), s.usual*math.Exp2(-since.Seconds()/usualTime.Seconds()))
	v := glance{now: now, connections: s.slots, reply: s.reply, bytes: s.moved, missing: s.pieces.missing()}
	v.disturbed, s.disturbed = s.disturbed, false
	for _, g := range s.live {
		switch {
		case g.cut:
		case s.useless(g, now):
			cut = append(cut, g)
		case g.begun() && !s.crawls(g), g.resp != nil && !g.begun():
		case !g.begun() && now-g.asked < max(lateTime, replyTimes*s.own):
			v.fresh++
		default:
			v.late++
			v.connections--
		}
		if g.drop {
			v.connections--
		}
	}
	s.mu.Unlock()
	for _, g := range cut {
		s.cut(g)
	}
	return v
}

// useless reports whether a segment is to be ended: what it would bring is here, or it stands still or crawls while others
// go on. Called with mu.
func (s *spread) useless(g *segment, now time.Duration) bool {
	silent := now - max(g.last, g.asked, g.ready)
	if s.pieces.idle(g.stretch) { // at its end a response may take a moment to end too
		return g.at < g.limit || silent >= stallTime
	}
	if g.paced {
		return false
	}
	if !g.begun() && g.resp == nil {
		if silent < max(replyTime, replyTimes*s.own) || s.slots == 1 {
			return false
		}
		g.drop = true
		s.ramp.fail(now)
		return true
	}
	sum, _ := s.others(g)
	slow := s.crawls(g) && now-max(g.began, g.ready) >= s.patient &&
		float64(s.pieces.stop(g.stretch)-g.at) > g.rate*stallTime.Seconds()
	if sum == 0 || !slow && silent < s.patient {
		return false
	}
	s.patient *= 2
	return true
}

// crawls reports whether a segment brings far less than the others do. Called with mu.
func (s *spread) crawls(g *segment) bool {
	sum, n := s.others(g)
	return g.rate >= 0 && g.rate < sum*crawlPart/float64(max(n, 1))
}

// others is what the n segments but g that bring something bring together. Called with mu.
func (s *spread) others(g *segment) (sum float64, n int) {
	for _, other := range s.live {
		if other != g && other.rate > 0 {
			sum += other.rate
			n++
		}
	}
	return sum, n
}
