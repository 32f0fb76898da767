package transport

import (
	"context"
	"net/http"
)

type apartKey struct{}

// Apart is ctx for a request that goes by a connection of HTTP/1.1 which no other request shares while its response lasts,
// also where the host speaks HTTP/2: what keeps one stream of a connection slow, as a window or a lost segment does, keeps
// all. It waits only where Options.MaxConnsPerHost of such are in use. A connection is kept for later requests of the
// kind; those to http, which are apart anyway, have the ones that all have.
//
// A host that has answered over HTTP/1.1 needs no Apart, and would have its kept connections in two places by it.
func Apart(ctx context.Context) context.Context { return context.WithValue(ctx, apartKey{}, true) }

// newApart is the pool of what goes Apart.
func (t *Transport) newApart() *http.Transport {
	a := t.newBase(t.dial, t.opts.MaxConnsPerHost)
	a.TLSClientConfig.NextProtos = []string{"http/1.1"}
	a.TLSClientConfig.ClientSessionCache = t.base.TLSClientConfig.ClientSessionCache // a further handshake is a short one
	return a
}

// pool has the connections that a request without a lease may go by.
func (t *Transport) pool(req *http.Request) *http.Transport {
	if req.URL.Scheme == "https" && req.Context().Value(apartKey{}) != nil {
		return t.apart
	}
	return t.base
}
