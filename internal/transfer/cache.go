package transfer

import (
	"context"

	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/task"
)

var cachePolicies = map[task.CachePolicy]httpcache.Policy{
	task.CacheReloadIgnoringLocal:          httpcache.ReloadIgnoringLocal,
	task.CacheReturnElseLoad:               httpcache.ReturnElseLoad,
	task.CacheReturnDontLoad:               httpcache.ReturnDontLoad,
	task.CacheReloadIgnoringLocalAndRemote: httpcache.ReloadIgnoringLocalAndRemote,
	task.CacheReloadRevalidating:           httpcache.ReloadRevalidating,
}

// Caching is ctx for requests that use the chain's cache as p says.
func Caching(ctx context.Context, p task.CachePolicy) context.Context {
	if p == task.CacheUseProtocol {
		return ctx
	}
	return httpcache.WithPolicy(ctx, cachePolicies[p])
}
