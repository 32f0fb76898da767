package jar

import (
	"fmt"
	"net/url"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/urlsession/urlsession"
)

// step is what a server, an app or time does to a storage, and to the model.
type step interface {
	apply(s *urlsession.CookieStorage, m *model) error
}

type receive struct {
	url    string
	fields []setCookie
}

func (r receive) apply(s *urlsession.CookieStorage, m *model) error {
	u := parse(r.url)
	var lines []string
	for _, f := range r.fields {
		lines = append(lines, f.String())
		m.receive(u, f, time.Now())
	}
	_ = s.Receive(u, lines) // the refusals are seen by what is sent
	return nil
}

type wait time.Duration

func (w wait) apply(_ *urlsession.CookieStorage, m *model) error {
	time.Sleep(time.Duration(w))
	m.expire(time.Now())
	return nil
}

type set struct {
	cookie   urlsession.Cookie
	value    string        // which a Cookie that is printed does not show
	lifetime time.Duration // 0: until the process ends
}

func (p set) apply(s *urlsession.CookieStorage, m *model) error {
	c := p.cookie
	c.Value = p.value
	mc := modelCookie{name: c.Name, value: c.Value, domain: c.Domain, hostOnly: c.HostOnly, path: c.Path, secure: c.Secure, updated: time.Now()}
	if p.lifetime != 0 {
		c.Expires = time.Now().Add(p.lifetime)
		mc.persistent, mc.expires = true, time.Now().Add(min(p.lifetime, 400*24*time.Hour))
	}
	m.put(mc, time.Now())
	return s.Set(c)
}

type remove int // the cookie of that number, of those that there are

func (r remove) apply(s *urlsession.CookieStorage, m *model) error {
	all := s.All()
	if len(all) == 0 {
		return nil
	}
	c := all[int(r)%len(all)]
	if !s.Remove(c) || s.Remove(c) {
		return fmt.Errorf("%v is not removed once", c)
	}
	m.removeAll(func(mc modelCookie) bool {
		return mc.name == c.Name && mc.domain == c.Domain && mc.hostOnly == c.HostOnly && mc.path == c.Path
	})
	return nil
}

type removeDomain string

func (r removeDomain) apply(s *urlsession.CookieStorage, m *model) error {
	return same(s.RemoveDomain(string(r)), m.removeAll(func(c modelCookie) bool { return domainMatch(c.domain, string(r)) }))
}

type removeSince time.Duration // ago

func (r removeSince) apply(s *urlsession.CookieStorage, m *model) error {
	since := time.Now().Add(-time.Duration(r))
	return same(s.RemoveSince(since), m.removeAll(func(c modelCookie) bool { return !c.updated.Before(since) }))
}

func same(got, want int) error {
	if got != want {
		return fmt.Errorf("%d cookies, want %d", got, want)
	}
	return nil
}

var (
	hosts   = []string{"example.org", "a.example.org", "b.a.example.org", "notexample.org", "example.com", "shop.co.uk", "co.uk", "localhost", "127.0.0.1", "192.0.2.1"}
	asked   = append(slices.Repeat(hosts[:2], 5), hosts...) // few hosts more often, whose cookies meet
	paths   = []string{"/", "/a", "/a/", "/a/b", "/ab", "/a%2Fb"}
	domains = append([]string{"", "", "", "", "example.org", "org", ".example.org", "Example.ORG"}, hosts...)
	names   = []string{"k", "k", "l", "__Secure-k", "__Host-k"}
)

func parse(raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return u
}

// steps come mostly from servers.
func steps() *rapid.Generator[step] {
	received := as(rapid.Custom(func(t *rapid.T) receive {
		return receive{
			rapid.SampledFrom([]string{"http://", "https://"}).Draw(t, "scheme") + rapid.SampledFrom(asked).Draw(t, "host") + rapid.SampledFrom(paths).Draw(t, "path"),
			rapid.SliceOfN(fields, 1, 3).Draw(t, "fields"),
		}
	}))
	return rapid.OneOf(received, received, received,
		as(rapid.SampledFrom([]wait{wait(time.Second), wait(time.Minute), wait(time.Hour), wait(48 * time.Hour), wait(399 * 24 * time.Hour)})),
		as(rapid.Custom(func(t *rapid.T) set {
			return set{
				urlsession.Cookie{
					Name: rapid.SampledFrom(names[:3]).Draw(t, "name"), Domain: rapid.SampledFrom(hosts[:6]).Draw(t, "domain"), HostOnly: rapid.Bool().Draw(t, "host only"),
					Path: rapid.SampledFrom(paths).Draw(t, "path"), Secure: rapid.Bool().Draw(t, "secure"),
				},
				values.Draw(t, "value"),
				rapid.SampledFrom([]time.Duration{0, -time.Second, time.Minute, 500 * 24 * time.Hour}).Draw(t, "lifetime"),
			}
		})),
		as(rapid.Map(rapid.IntRange(0, 20), func(n int) remove { return remove(n) })),
		as(rapid.Map(rapid.SampledFrom(hosts), func(host string) removeDomain { return removeDomain(host) })),
		as(rapid.SampledFrom([]removeSince{0, removeSince(time.Second), removeSince(time.Hour)})),
	)
}

func as[S step](g *rapid.Generator[S]) *rapid.Generator[step] {
	return rapid.Map(g, func(s S) step { return s })
}

var values = rapid.StringMatching(`[a-z0-9]{1,3}`)

var fields = rapid.Custom(func(t *rapid.T) setCookie {
	return setCookie{
		name: rapid.SampledFrom(names).Draw(t, "name"), value: values.Draw(t, "value"),
		domain: rapid.SampledFrom(domains).Draw(t, "domain"), path: rapid.SampledFrom(append([]string{"", "", "relative"}, paths...)).Draw(t, "path"),
		sameSite: rapid.SampledFrom([]string{"", "", "Lax", "None"}).Draw(t, "SameSite"), secure: rapid.Bool().Draw(t, "Secure"),
		maxAge: rapid.Ptr(rapid.SampledFrom([]int64{-1, 0, 1, 60, 3600, 399 * 24 * 3600, 1 << 40}), true).Draw(t, "Max-Age"),
	}
})
