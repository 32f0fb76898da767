package urlsession

import (
	"net/http"
	"net/url"
	"sync"

	"github.com/urlsession/urlsession/internal/cookie"
)

// processCookies is what all default sessions share.
var processCookies = sync.OnceValue(cookie.New)

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
