package urlsession

import "github.com/urlsession/urlsession/internal/httpcache"

// URLCache keeps responses. It may be used by several sessions at once, and from any goroutine.
type URLCache struct{ storage *httpcache.Storage }
