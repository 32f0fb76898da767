package cookie

import (
	"cmp"
	"time"
)

// How many cookies are kept. The draft asks for 50 a domain and 3,000 in all at least.
const (
	maxPerSite  = 180 // as browsers do. A site is counted, not a domain: one has as many subdomains as it likes
	keepPerSite = 50  // a site with no more loses none to another's while others have more
	maxInAll    = 3000
)

// evict removes what is over the limits now that e has come (the draft, section 5.7). e itself stays.
func (s *Storage) evict(e *entry, now time.Time) {
	for s.sites[e.site] > maxPerSite {
		s.evicted(s.leastWorthy(e, e.site, now))
	}
	for s.count.Load() > maxInAll {
		s.evicted(s.leastWorthy(e, "", now))
	}
}

// evictAll is evict for all sites: two processes' cookies together may be over the limits.
func (s *Storage) evictAll(now time.Time) {
	for site, n := range s.sites {
		for ; n > maxPerSite; n-- {
			s.evicted(s.leastWorthy(nil, site, now))
		}
	}
	for s.count.Load() > maxInAll {
		s.evicted(s.leastWorthy(nil, "", now))
	}
}

// leastWorthy is the entry to go first, of site or of all, and not keep: one that has expired; one of a site with more
// than its share, better without Secure; any. Among equals it is the one that was sent longest ago.
func (s *Storage) leastWorthy(keep *entry, site string, now time.Time) (worst *entry) {
	class := 0
	for _, list := range s.domains {
		for _, e := range list {
			if e == keep || site != "" && e.site != site {
				continue
			}
			c := 3
			switch crowded := s.sites[e.site] > keepPerSite; {
			case e.expired(now):
				c = 0
			case crowded && !e.Secure:
				c = 1
			case crowded:
				c = 2
			}
			if worst == nil || cmp.Or(cmp.Compare(c, class), cmp.Compare(e.accessed.Load(), worst.accessed.Load()),
				e.Created.Compare(worst.Created)) < 0 {
				worst, class = e, c
			}
		}
	}
	return worst
}
