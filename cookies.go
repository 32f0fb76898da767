package urlsession

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync"
	"sync/atomic"

	"golang.org/x/net/publicsuffix"
)

// cookies is net/http's jar, in memory, with a way to empty it.
type cookies struct {
	jar  atomic.Pointer[cookiejar.Jar]
	used atomic.Bool // it may hold some: an empty jar is not looked at, which costs more than a task's own work
}

func newCookies() *cookies {
	c := new(cookies)
	c.Reset()
	return c
}

// processCookies is what all default sessions share.
var processCookies = sync.OnceValue(newCookies)

func (c *cookies) SetCookies(u *url.URL, set []*http.Cookie) {
	c.used.Store(true)
	c.jar.Load().SetCookies(u, set)
}

func (c *cookies) Cookies(u *url.URL) []*http.Cookie {
	if !c.used.Load() {
		return nil
	}
	return c.jar.Load().Cookies(u)
}

// Reset removes all cookies.
func (c *cookies) Reset() error {
	jar, err := cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List})
	if err != nil {
		return err
	}
	c.jar.Store(jar)
	return nil
}

// daemonCookies stands in the configuration of a background session for the storage that the daemon keeps for it.
type daemonCookies struct{}

func (daemonCookies) SetCookies(*url.URL, []*http.Cookie) {}
func (daemonCookies) Cookies(*url.URL) []*http.Cookie     { return nil }

// resetCookies empties a storage that can be emptied.
func resetCookies(jar http.CookieJar) error {
	if r, ok := jar.(interface{ Reset() error }); ok {
		return r.Reset()
	}
	return nil
}
