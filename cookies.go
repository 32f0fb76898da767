package urlsession

import (
	"net/http"
	"sync"

	"github.com/urlsession/urlsession/internal/cookie"
)

// processCookies is what all default sessions share.
var processCookies = sync.OnceValue(cookie.NewMemory)

// resetCookies empties a storage that can be emptied.
func resetCookies(jar http.CookieJar) error {
	if r, ok := jar.(interface{ Reset() error }); ok {
		return r.Reset()
	}
	return nil
}
