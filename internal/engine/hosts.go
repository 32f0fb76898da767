package engine

import (
	"slices"
	"sync"
)

// Hosts is the account of the connections that the engines of one process have to each host, so that all of them together
// keep to a maximum, and of one to spare the engines that wait for it take turns. An Engine's own limit is below that
// (Options.MaxPerHost). Use NewHosts; it is safe for concurrent use.
//
// Its mutex comes after every Engine.mu. So what it has for an engine other than the one that calls, that one fetches by
// itself: see poke.
type Hosts struct {
	mu      sync.Mutex
	maximum int // connections a host; 0: no limit
	hosts   map[string]*shared
}

// NewHosts makes an account with a maximum of connections a host; 0: no limit.
func NewHosts(maximum int) *Hosts {
	return &Hosts{maximum: max(0, maximum), hosts: make(map[string]*shared)}
}

// SetMaximum changes the maximum, at once: more begins where it is higher, and where it is lower nothing ends for it but
// downloads' further connections.
func (a *Hosts) SetMaximum(maximum int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.maximum = max(0, maximum)
	for _, sh := range a.hosts {
		a.balance(sh)
	}
}

// shared is one host in the account.
type shared struct {
	taken   int      // by all engines
	shares  []*share // in the order of their engines' coming
	waiting []*share // those that want more, the next first; there are none while one is to spare
	owing   bool     // some owe
}

// share is an engine's part of a host. Hosts.mu guards it.
type share struct {
	a    *Hosts
	of   *shared
	e    *Engine
	host *host // the engine's

	taken   int
	granted int  // of those, what the engine has waited for and not fetched yet
	wants   int  // how many more it waits for
	further int  // of those taken, downloads' further connections
	owed    int  // of the further ones, how many others wait for
	before  int  // owed, in the midst of spread
	poked   bool // a goroutine is on its way
}

// join makes an engine's share of a host. Engine.mu is held, as for all methods of a share.
func (a *Hosts) join(e *Engine, h *host) *share {
	s := &share{a: a, e: e, host: h}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.of = a.hosts[h.key]; s.of == nil {
		s.of = new(shared)
		a.hosts[h.key] = s.of
	}
	s.of.shares = append(s.of.shares, s)
	return s
}

// leave ends a share of which nothing is taken or wanted any more.
func (s *share) leave() {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.of.shares = without(s.of.shares, s)
	if len(s.of.shares) == 0 {
		delete(s.a.hosts, s.host.key)
	}
}

// use says how many connections the engine uses, and how many of those are further ones. They may be more than there is to
// spare. What is given back is its whose turn it is: where that is this engine, the next take has it.
func (s *share) use(n, further int) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.of.taken += n + s.granted - s.taken
	s.taken, s.further = n+s.granted, further
	poked := s.poked
	s.poked = true // it is looking
	s.a.balance(s.of)
	s.poked = poked
}

// take takes one more, if one is to spare.
func (s *share) take() bool {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	switch {
	case s.granted > 0:
		s.granted--
	case s.a.maximum == 0 || s.of.taken < s.a.maximum: // and so nobody waits
		s.taken++
		s.of.taken++
	default:
		return false
	}
	return true
}

// want says how many more the engine waits for, none of which take has given. What it was granted and has not taken is the
// next one's. owed is how many of its further connections others wait for.
func (s *share) want(n int) (owed int) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.taken -= s.granted
	s.of.taken -= s.granted
	s.granted = 0
	switch {
	case n > 0 && s.wants == 0:
		s.of.waiting = append(s.of.waiting, s)
	case n == 0 && s.wants > 0:
		s.of.waiting = without(s.of.waiting, s)
	}
	s.wants = n
	s.a.balance(s.of)
	return s.owed
}

// balance grants what is to spare of a host, one to each that waits in turn, and has those that have further connections owe
// what is missing. Hosts.mu is held.
func (a *Hosts) balance(sh *shared) {
	for len(sh.waiting) > 0 && (a.maximum == 0 || sh.taken < a.maximum) {
		s := sh.waiting[0]
		sh.waiting = without(sh.waiting, s)
		if s.wants--; s.wants > 0 {
			sh.waiting = append(sh.waiting, s)
		}
		s.taken++
		s.granted++
		sh.taken++
		s.poke()
	}
	missing := 0
	if a.maximum > 0 {
		missing = max(0, sh.taken-a.maximum)
		for _, s := range sh.waiting {
			missing += s.wants
		}
	}
	if missing > 0 || sh.owing {
		sh.spread(missing)
	}
}

// spread has the engines owe n of their further connections, or all: always the one that has most of them left.
func (sh *shared) spread(n int) {
	for _, s := range sh.shares {
		s.before, s.owed = s.owed, 0
	}
	for sh.owing = n > 0; n > 0; n-- {
		s := slices.MaxFunc(sh.shares, func(x, y *share) int { return (x.further - x.owed) - (y.further - y.owed) })
		if s.owed == s.further {
			break
		}
		s.owed++
	}
	for _, s := range sh.shares {
		if s.owed > s.before {
			s.poke()
		}
	}
}

// poke has the engine look at the host, in a goroutine, since its mutex is not to be waited for here. The engine waits for
// it before it ends: whoever is poked has tasks that wait for the host, or attempts under way. Hosts.mu is held.
func (s *share) poke() {
	if s.poked {
		return
	}
	s.poked = true
	s.e.attempts.Go(func() {
		s.a.mu.Lock()
		s.poked = false
		s.a.mu.Unlock()
		s.e.mu.Lock()
		defer s.e.mu.Unlock()
		if s.host.share == s { // it has not left
			s.e.dispatch(s.host)
		}
	})
}

func without(list []*share, s *share) []*share {
	return slices.DeleteFunc(list, func(o *share) bool { return o == s })
}
