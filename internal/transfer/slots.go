package transfer

// A slot is a connection that a spread may use: the attempt's own, or one that was taken, and is given back once the segment
// that uses it has ended.

// add takes n more connections, as far as they are to be had and there is work for them.
func (s *spread) add(n int) {
	taken := 0
	for taken < n && s.d.Connections.Take(s.resp.Request.URL.String()) {
		taken++
		s.slots++
	}
	s.assign(nil)
	for ; taken > 0 && s.slots > len(s.live); taken-- {
		s.drop()
	}
	if taken < n {
		s.ramp.refused(s.now(), s.slots)
	}
}

// drop gives a connection back that no segment uses, unless it is the attempt's own.
func (s *spread) drop() {
	if s.slots > 1 {
		s.slots--
		s.d.Connections.Give()
	}
}

// giveBack gives up a connection for another task: one that brings nothing, or the youngest.
func (s *spread) giveBack() {
	now := s.now()
	s.ramp.refused(now, s.slots)
	if s.slots > len(s.live) {
		s.drop()
		return
	}
	s.shed(1)
}

// shed gives up the n youngest connections.
func (s *spread) shed(n int) {
	for i := len(s.live) - 1; i > 0 && n > 0; i-- {
		if g := s.live[i]; !g.drop {
			g.drop = true
			s.cut(g)
			n--
		}
	}
}
