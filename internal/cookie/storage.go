package cookie

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Storage keeps cookies. Make one with New, Open or Later. Its methods may be called from any goroutine.
type Storage struct {
	count atomic.Int64 // of cookies: an empty Storage is not locked to be asked

	mu      sync.RWMutex
	domains map[string][]*entry // by Domain
	sites   map[string]int      // how many cookies each site has
	last    time.Time           // the newest Created, which no two cookies share
	seq     uint64              // of the newest change

	file *file // nil: in memory alone. Set once
}

// entry is a cookie in a Storage. It is not changed once it is there, but for Accessed, which stands in accessed, and
// seq, under the lock.
type entry struct {
	Cookie
	accessed atomic.Int64 // Unix, ns
	site     string
	seq      uint64 // of the change that made it; 0: it was read from the file
}

// New is an empty Storage in memory.
func New() *Storage {
	s := &Storage{}
	s.clear()
	return s
}

func (s *Storage) clear() {
	s.domains, s.sites = make(map[string][]*entry), make(map[string]int)
	s.count.Store(0)
}

// Cookies are those to send with a request for u: longer paths first, then older ones first (the draft, section 5.8.3).
// It is http.CookieJar's. Only Name, Value and Quoted are set; FieldValue makes the Cookie field of them. Where there are
// none it allocates nothing.
//
// A Storage with a file looks, once a second at most, whether another process has changed it.
func (s *Storage) Cookies(u *url.URL) []*http.Cookie {
	now := time.Now()
	found := s.match(u, now)
	if len(found) == 0 {
		return nil
	}
	cookies, list := make([]http.Cookie, len(found)), make([]*http.Cookie, len(found))
	for i, e := range found {
		e.accessed.Store(now.UnixNano())
		c := &cookies[i]
		c.Name, c.Value = e.Name, e.Value
		if n := len(e.Value); n > 1 && e.Value[0] == '"' && e.Value[n-1] == '"' {
			c.Value, c.Quoted = e.Value[1:n-1], true
		}
		list[i] = c
	}
	return list
}

// match finds the cookies to send with a request for u, in the order in which they are sent.
func (s *Storage) match(u *url.URL, now time.Time) []*entry {
	s.refresh()
	if s.count.Load() == 0 {
		return nil
	}
	o := originOf(u)
	if o.host == "" {
		return nil
	}
	found := s.matching(o, now)
	slices.SortFunc(found, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(len(b.Path), len(a.Path)), a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	return found
}

func (s *Storage) matching(o origin, now time.Time) (found []*entry) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for domain := o.host; ; {
		for _, e := range s.domains[domain] {
			if (domain == o.host || !e.HostOnly) && (o.secure || !e.Secure) && pathMatch(o.path, e.Path) && !e.expired(now) {
				found = append(found, e)
			}
		}
		dot := strings.IndexByte(domain, '.')
		if dot < 0 || isAddress(domain) {
			return found
		}
		domain = domain[dot+1:]
	}
}

// FieldValue is the value of a Cookie field that says cookies, byte for byte as they were received (RFC 6265bis, section
// 5.8.3): http.Request.AddCookie leaves out bytes that it thinks invalid, and writes "=" before a value without a name.
func FieldValue(cookies []*http.Cookie) string {
	var b strings.Builder
	for i, c := range cookies {
		if i > 0 {
			b.WriteString("; ")
		}
		if c.Name != "" {
			b.WriteString(c.Name)
			b.WriteByte('=')
		}
		if c.Quoted {
			b.WriteByte('"')
		}
		b.WriteString(c.Value)
		if c.Quoted {
			b.WriteByte('"')
		}
	}
	return b.String()
}

// find is the entry of k, or nil.
func (s *Storage) find(k key) *entry {
	for _, e := range s.domains[k.domain] {
		if e.Name == k.name && e.Path == k.path && e.HostOnly == k.hostOnly {
			return e
		}
	}
	return nil
}

// insert puts e where no entry of its key is.
func (s *Storage) insert(e *entry) {
	e.site = siteOf(e.Domain)
	s.domains[e.Domain] = append(s.domains[e.Domain], e)
	s.sites[e.site]++
	s.count.Add(1)
	if e.Created.After(s.last) {
		s.last = e.Created
	}
}

// drop takes e out.
func (s *Storage) drop(e *entry) {
	list := s.domains[e.Domain]
	i := slices.Index(list, e)
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(s.domains, e.Domain)
	} else {
		s.domains[e.Domain] = list
	}
	if s.sites[e.site]--; s.sites[e.site] == 0 {
		delete(s.sites, e.site)
	}
	s.count.Add(-1)
}

// entries are all of them, in no order.
func (s *Storage) entries() []*entry {
	all := make([]*entry, 0, s.count.Load())
	for _, list := range s.domains {
		all = append(all, list...)
	}
	return all
}

// put is a change of ours: c is new, or takes the place of the one of its key. What is over the limits afterwards goes.
func (s *Storage) put(c Cookie) {
	c.Created, c.Updated, c.Accessed = c.Created.Round(0), c.Updated.Round(0), c.Accessed.Round(0)
	s.seq++
	old := s.find(c.key())
	if old != nil {
		s.drop(old)
	}
	e := &entry{Cookie: c, seq: s.seq}
	e.accessed.Store(c.Accessed.UnixNano())
	s.insert(e)
	if s.file != nil && s.file.noteSet(s.seq, e, old) {
		s.later(writeDelay)
	}
	s.evict(e, c.Updated)
}

// remove is a change of ours: e goes.
func (s *Storage) remove(e *entry, now time.Time) {
	s.drop(e)
	s.seq++
	if s.file != nil && !e.session() {
		s.file.noteRemoved(s.seq, e.key(), now)
		s.later(writeDelay)
	}
}

// evicted is remove for want of room: nobody decided against e, and where another process has more room it may stay.
func (s *Storage) evicted(e *entry) {
	s.drop(e)
	s.seq++
	if s.file != nil && !e.session() {
		s.file.changed = s.seq
		s.later(writeDelay)
	}
}

// newCreated is now, or as little later as makes it the newest creation: cookies of one response are sent in their order.
func (s *Storage) newCreated(now time.Time) time.Time {
	now = now.Round(0)
	if !now.After(s.last) {
		now = s.last.Add(1)
	}
	return now
}
