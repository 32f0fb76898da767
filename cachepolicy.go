package urlsession

import (
	"fmt"
	"net/http"

	"github.com/urlsession/urlsession/internal/task"
)

// CachePolicy says how a request uses the session's URLCache: NSURLRequest.CachePolicy.
//
// What a request's own Cache-Control says holds beside it: with CacheUseProtocol "only-if-cached" gets what may be used, or
// a 504 (RFC 9111 §5.2.1.7), and the other directives are obeyed as docs/cache.md lists them.
type CachePolicy int

const (
	// CachePolicyDefault of a request is the session's; of a session it is CacheUseProtocol.
	CachePolicyDefault CachePolicy = iota
	// CacheUseProtocol does what RFC 9111 says.
	CacheUseProtocol
	// CacheReloadIgnoringLocal asks the server whatever is stored, and stores what it answers.
	CacheReloadIgnoringLocal
	// CacheReturnElseLoad uses what is stored, however old, and asks the server where nothing is.
	CacheReturnElseLoad
	// CacheReturnDontLoad uses what is stored, however old. Where nothing is, it is ErrCannotLoadFromNetwork.
	CacheReturnDontLoad
	// CacheReloadIgnoringLocalAndRemote is CacheReloadIgnoringLocal, and tells the caches on the way to do so too.
	CacheReloadIgnoringLocalAndRemote
	// CacheReloadRevalidating uses what is stored only if the server, beyond the caches on the way, says that it is still right.
	CacheReloadRevalidating
)

var cachePolicies = [...]task.CachePolicy{
	CachePolicyDefault:                task.CacheUseProtocol,
	CacheUseProtocol:                  task.CacheUseProtocol,
	CacheReloadIgnoringLocal:          task.CacheReloadIgnoringLocal,
	CacheReturnElseLoad:               task.CacheReturnElseLoad,
	CacheReturnDontLoad:               task.CacheReturnDontLoad,
	CacheReloadIgnoringLocalAndRemote: task.CacheReloadIgnoringLocalAndRemote,
	CacheReloadRevalidating:           task.CacheReloadRevalidating,
}

// check says what is wrong with a policy; "": nothing.
func (p CachePolicy) check() string {
	if p < CachePolicyDefault || p > CacheReloadRevalidating {
		return fmt.Sprintf("is %d; use one of the constants of CachePolicy", p)
	}
	return ""
}

// refusePolicy says why a task of this kind cannot have a policy of its own; "": it can.
func (s *Session) refusePolicy(kind task.Kind, p CachePolicy) string {
	switch why := p.check(); {
	case why != "":
		return why
	case p == CachePolicyDefault:
	case kind == task.Download:
		return "is set, and a download has no cache: its file is what it keeps"
	case s.config.kind == kindBackground:
		return "is set, and a background session has no cache"
	}
	return ""
}

// checkCache refuses what a session of this kind cannot do with a cache.
func (c *Configuration) checkCache() error {
	const background = "is set, and a background session has no cache; leave it at its zero value"
	if why := c.RequestCachePolicy.check(); why != "" {
		return badField("RequestCachePolicy", why)
	}
	switch {
	case c.URLCache != nil && c.URLCache.storage == nil:
		return badField("URLCache", "was not made by NewURLCache or OpenURLCache")
	case c.kind != kindBackground:
	case c.URLCache != nil:
		return badField("URLCache", background)
	case c.RequestCachePolicy != CachePolicyDefault:
		return badField("RequestCachePolicy", background)
	case c.WillCache != nil:
		return badField("WillCache", background)
	}
	return nil
}

// willCache is WillCache as the chain asks it; nil for nil.
func (c *Configuration) willCache() func(*http.Response) bool {
	if c.WillCache == nil {
		return nil
	}
	return func(resp *http.Response) bool {
		r := Response{URL: resp.Request.URL.String(), StatusCode: resp.StatusCode, Proto: resp.Proto, Header: resp.Header,
			ContentLength: resp.ContentLength, ContentEncoding: resp.Header.Get("Content-Encoding")}
		keep := c.WillCache(&r)
		if resp.Header = r.Header; r.Header == nil {
			resp.Header = make(http.Header)
		}
		return keep
	}
}
