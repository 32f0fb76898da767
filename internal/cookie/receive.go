package cookie

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Receive takes the cookies of a response to a request for u: fields are the values of its Set-Cookie fields, as they came.
// The error, for a log, joins a *Refusal for each that was not taken.
func (s *Storage) Receive(u *url.URL, fields []string) error {
	if len(fields) == 0 {
		return nil
	}
	now := time.Now()
	var refused []error
	set := make([]received, 0, len(fields))
	for _, field := range fields {
		r, err := parse(field, now)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		set = append(set, r)
	}
	return errors.Join(append(refused, s.take(u, set, now)...)...)
}

// SetCookies takes cookies that a response to a request for u has set. It is http.CookieJar's. What net/http does not
// parse never gets here: Receive does it all.
func (s *Storage) SetCookies(u *url.URL, cookies []*http.Cookie) {
	if len(cookies) == 0 {
		return
	}
	now := time.Now()
	set := make([]received, 0, len(cookies))
	for _, c := range cookies {
		if c != nil {
			set = append(set, fromHTTP(c, now))
		}
	}
	s.take(u, set, now)
}

func (s *Storage) take(u *url.URL, set []received, now time.Time) (refused []error) {
	s.refresh()
	o := originOf(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range set {
		if err := s.takeOne(o, r, now); err != nil {
			refused = append(refused, err)
		}
	}
	return refused
}

// takeOne is the draft's storage model, section 5.7.
func (s *Storage) takeOne(o origin, r received, now time.Time) error {
	c, err := admit(o, r, now)
	if err != nil {
		return err
	}
	if !c.Secure && !o.secure && s.shadowsSecure(&c, now) {
		return refuse(c.Name, "a secure cookie of this name stands, and this connection is not secure")
	}
	old := s.find(c.key())
	if c.expired(now) { // the way in which a server removes a cookie
		if old != nil {
			s.remove(old, now)
		}
		return nil
	}
	if c.Created = s.newCreated(now); old != nil && !old.expired(now) {
		c.Created = old.Created
	}
	s.put(c)
	return nil
}

// admit is the cookie that r makes for o, or why it may not.
func admit(o origin, r received, now time.Time) (Cookie, error) {
	c := Cookie{
		Name: r.name, Value: r.value, Path: r.path, Secure: r.secure, HTTPOnly: r.httpOnly, SameSite: r.sameSite,
		Updated: now, Accessed: now, Expires: capExpires(r.expires, now),
	}
	if o.host == "" {
		return c, refuse(c.Name, "the URL that set it has no cookies: it needs http or https, and a host")
	}
	domain := strings.ToLower(r.domain)
	for i := 0; i < len(domain); i++ {
		if domain[i] >= 0x80 {
			return c, refuse(c.Name, "its Domain is not ASCII")
		}
	}
	switch {
	case domain == "", domain == o.host && (isPublicSuffix(domain) || isAddress(domain)):
		c.Domain, c.HostOnly = o.host, true
	case isPublicSuffix(domain):
		return c, refuse(c.Name, "Domain=%q is a public suffix", domain)
	case !domainMatch(o.host, domain):
		return c, refuse(c.Name, "Domain=%q is not the domain of %s", domain, o.host)
	default:
		c.Domain = domain
	}
	if c.Path == "" {
		c.Path = defaultPath(o.path)
	}
	if c.Secure && !o.secure {
		return c, refuse(c.Name, "it is Secure, and this connection is not")
	}
	if foldPrefix(c.Name, "__Host-") && !r.hasPath {
		return c, refuse(c.Name, "its prefix needs Secure, Path=/ and no Domain")
	}
	return c, c.check()
}

// capExpires ends a cookie after maxAge at the latest.
func capExpires(expires, now time.Time) time.Time {
	if latest := now.Add(maxAge); expires.After(latest) {
		expires = latest
	}
	return expires.Round(0)
}

// shadowsSecure tells whether c, which came without TLS, would hide a secure cookie from its server ("leave secure
// cookies alone", step 16).
func (s *Storage) shadowsSecure(c *Cookie, now time.Time) bool {
	for domain, list := range s.domains {
		if !domainMatch(domain, c.Domain) && !domainMatch(c.Domain, domain) {
			continue
		}
		for _, e := range list {
			if e.Secure && e.Name == c.Name && pathMatch(c.Path, e.Path) && !e.expired(now) {
				return true
			}
		}
	}
	return false
}
