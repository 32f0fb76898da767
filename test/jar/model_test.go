package jar

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/urlsession/urlsession"
)

// model keeps cookies as sections 5.1 to 5.8 of draft-ietf-httpbis-rfc6265bis say, word by word, in a list, for hosts and
// attributes that mean one thing: what is lax in reading them the vectors of package cookie judge.
type model struct {
	cookies []modelCookie
	made    int // cookies so far, which orders them
}

type modelCookie struct {
	name, value, domain, path    string
	hostOnly, secure, persistent bool
	expires, updated             time.Time
	made                         int
}

// publicSuffixes are those of the hosts of the test. By the list's last rule a single label is one.
var publicSuffixes = []string{"org", "com", "uk", "co.uk", "localhost"}

// setCookie is a Set-Cookie field. Empty attributes are not in it.
type setCookie struct {
	name, value, domain, path, sameSite string
	maxAge                              *int64
	secure                              bool
}

func (f setCookie) String() string {
	s := f.name + "=" + f.value
	if f.domain != "" {
		s += "; Domain=" + f.domain
	}
	if f.path != "" {
		s += "; Path=" + f.path
	}
	if f.maxAge != nil {
		s += fmt.Sprintf("; Max-Age=%d", *f.maxAge)
	}
	if f.secure {
		s += "; Secure"
	}
	if f.sameSite != "" {
		s += "; SameSite=" + f.sameSite
	}
	return s
}

func isAddress(host string) bool { return host == "127.0.0.1" || host == "192.0.2.1" }

// secure says whether a connection counts as secure (5.7, step 8: "secure protocol" is the user agent's to define).
func secure(u *url.URL) bool {
	return u.Scheme == "https" || u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1"
}

// domainMatch is 5.1.3.
func domainMatch(s, domain string) bool {
	return s == domain || strings.HasSuffix(s, "."+domain) && !isAddress(s)
}

// defaultPath is 5.1.4.
func defaultPath(uri string) string {
	if uri == "" || uri[0] != '/' || strings.Count(uri, "/") == 1 {
		return "/"
	}
	return uri[:strings.LastIndex(uri, "/")]
}

// pathMatch is 5.1.4.
func pathMatch(request, cookie string) bool {
	return request == cookie || strings.HasPrefix(request, cookie) && (strings.HasSuffix(cookie, "/") || request[len(cookie)] == '/')
}

// receive is 5.7.
func (m *model) receive(u *url.URL, f setCookie, now time.Time) {
	host := u.Hostname()
	c := modelCookie{name: f.name, value: f.value, secure: f.secure, updated: now, path: f.path}
	if f.maxAge != nil { // 5.6.2: at most 400 days
		c.persistent = true
		c.expires = now.Add(time.Duration(min(*f.maxAge, 400*24*3600)) * time.Second)
	}
	domain := strings.ToLower(strings.TrimPrefix(f.domain, "."))
	if slices.Contains(publicSuffixes, domain) {
		if domain != host {
			return
		}
		domain = ""
	}
	switch {
	case domain == "":
		c.hostOnly, c.domain = true, host
	case !domainMatch(host, domain):
		return
	default:
		c.hostOnly, c.domain = isAddress(domain), domain // 5.1.3: nothing is below an address
	}
	if !strings.HasPrefix(c.path, "/") {
		c.path = defaultPath(u.EscapedPath())
	}
	if c.secure && !secure(u) {
		return
	}
	if !c.secure && !secure(u) && slices.ContainsFunc(m.cookies, func(old modelCookie) bool {
		return old.name == c.name && old.secure && (domainMatch(old.domain, c.domain) || domainMatch(c.domain, old.domain)) && pathMatch(c.path, old.path)
	}) {
		return
	}
	if f.sameSite == "None" && !c.secure {
		return
	}
	if strings.HasPrefix(c.name, "__Secure-") && !c.secure || strings.HasPrefix(c.name, "__Host-") && (!c.secure || !c.hostOnly || f.path == "" || c.path != "/") {
		return
	}
	m.put(c, now)
}

// put is steps 23 to 25 of 5.7, and the removal of what has expired.
func (m *model) put(c modelCookie, now time.Time) {
	m.made++
	c.made = m.made
	m.cookies = slices.DeleteFunc(m.cookies, func(old modelCookie) bool {
		same := old.name == c.name && old.domain == c.domain && old.hostOnly == c.hostOnly && old.path == c.path
		if same {
			c.made = old.made
		}
		return same
	})
	m.cookies = append(m.cookies, c)
	m.expire(now)
}

func (m *model) expire(now time.Time) {
	m.cookies = slices.DeleteFunc(m.cookies, func(c modelCookie) bool { return c.persistent && !c.expires.After(now) })
}

func (m *model) removeAll(which func(modelCookie) bool) int {
	before := len(m.cookies)
	m.cookies = slices.DeleteFunc(m.cookies, which)
	return before - len(m.cookies)
}

// field is 5.8.3.
func (m *model) field(u *url.URL) string {
	var found []modelCookie
	for _, c := range m.cookies {
		if (c.hostOnly && u.Hostname() == c.domain || !c.hostOnly && domainMatch(u.Hostname(), c.domain)) &&
			pathMatch(u.EscapedPath(), c.path) && (!c.secure || secure(u)) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b modelCookie) int {
		return cmp.Or(cmp.Compare(len(b.path), len(a.path)), cmp.Compare(a.made, b.made))
	})
	var parts []string
	for _, c := range found {
		parts = append(parts, c.name+"="+c.value)
	}
	return strings.Join(parts, "; ")
}

// The storage's answers in the same form.

func listed(cookies []urlsession.Cookie) string {
	var parts []string
	for _, c := range cookies {
		parts = append(parts, c.Name+"="+c.Value)
	}
	return strings.Join(parts, "; ")
}

func sent(cookies []*http.Cookie) string {
	var parts []string
	for _, c := range cookies {
		parts = append(parts, c.Name+"="+c.Value)
	}
	return strings.Join(parts, "; ")
}
