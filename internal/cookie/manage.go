package cookie

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"
)

// All are the cookies that have not expired, by domain, path and name.
func (s *Storage) All() []Cookie { return s.all(func(*entry) bool { return true }) }

// OfDomain are those of All that belong to domain and to all below it.
func (s *Storage) OfDomain(domain string) []Cookie {
	domain = canonicalHost(strings.TrimPrefix(domain, "."))
	return s.all(func(e *entry) bool { return domainMatch(e.Domain, domain) })
}

func (s *Storage) all(want func(*entry) bool) []Cookie {
	s.refresh()
	now := time.Now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.list(func(e *entry) bool { return !e.expired(now) && want(e) })
}

// For are the cookies that Cookies sends with a request for u, in that order. To look is no use of them.
func (s *Storage) For(u *url.URL) []Cookie {
	found := s.match(u, time.Now())
	cookies := make([]Cookie, len(found))
	for i, e := range found {
		cookies[i] = e.copy()
	}
	return cookies
}

// copy is the cookie as it is now.
func (e *entry) copy() Cookie {
	c := e.Cookie
	c.Accessed = time.Unix(0, e.accessed.Load())
	return c
}

// list is a copy of the cookies that want says, in a fixed order.
func (s *Storage) list(want func(*entry) bool) []Cookie {
	var all []Cookie
	for _, e := range s.entries() {
		if want(e) {
			all = append(all, e.copy())
		}
	}
	slices.SortFunc(all, func(a, b Cookie) int {
		return cmp.Or(strings.Compare(a.Domain, b.Domain), strings.Compare(a.Path, b.Path), strings.Compare(a.Name, b.Name), a.Created.Compare(b.Created))
	})
	return all
}

// Set keeps c, in the place of the one of the same name, domain and path. An empty Path is "/"; Expires is cut to 400 days
// from now, and one in the past removes the cookie; Created is now where it is zero and there was no such cookie; Updated
// is now. The error is a *Refusal: whoever calls speaks for all hosts, but what no server could set is not taken.
func (s *Storage) Set(c Cookie) error {
	now := time.Now()
	c.Domain = canonicalHost(strings.TrimPrefix(c.Domain, "."))
	if c.Path == "" {
		c.Path = "/"
	}
	if !c.HostOnly && (isAddress(c.Domain) || !strings.Contains(c.Domain, ".")) {
		c.HostOnly = true // there is nothing below it
	}
	if err := c.check(); err != nil {
		return err
	}
	c.Expires = capExpires(c.Expires, now)
	c.Updated = now
	if c.Accessed.IsZero() {
		c.Accessed = now
	}
	s.refresh()
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.find(c.key())
	switch {
	case c.expired(now):
		if old != nil {
			s.remove(old, now)
		}
		return nil
	case old != nil && !old.expired(now):
		c.Created = old.Created
	case c.Created.IsZero():
		c.Created = s.newCreated(now)
	}
	s.put(c)
	return nil
}

// Remove removes the cookie that has c's Name, Domain, HostOnly and Path, and reports whether there was one that had not
// expired.
func (s *Storage) Remove(c Cookie) bool {
	s.refresh()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(c.key())
	if e == nil {
		return false
	}
	now := time.Now()
	s.remove(e, now)
	return !e.expired(now)
}

// RemoveDomain removes the cookies of domain and of all below it, and reports how many there were that had not expired.
func (s *Storage) RemoveDomain(domain string) int {
	domain = canonicalHost(strings.TrimPrefix(domain, "."))
	return s.removeAll(func(e *entry) bool { return domainMatch(e.Domain, domain) })
}

// RemoveSince removes the cookies that were set, for the first time or anew, at t or later, and reports how many there were
// that had not expired.
func (s *Storage) RemoveSince(t time.Time) int {
	return s.removeAll(func(e *entry) bool { return !e.Updated.Before(t) })
}

func (s *Storage) removeAll(which func(*entry) bool) (n int) {
	s.refresh()
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries() {
		if which(e) {
			if !e.expired(now) {
				n++
			}
			s.remove(e, now)
		}
	}
	return n
}
