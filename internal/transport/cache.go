package transport

import (
	"net/http"
	"time"

	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/task"
)

// newCache makes the cache over the wire. It sees requests with their cookies and credentials, and responses as they came.
func (t *Transport) newCache() *httpcache.Cache {
	storage := t.opts.Cache
	if storage == nil {
		storage = httpcache.InMemory(0)
	}
	return httpcache.New(wire{t}, storage, httpcache.Options{WillCache: t.opts.WillCache})
}

// sender is what req is given to. Without a storage only a policy is obeyed: one that asks for what is stored finds nothing,
// and one that speaks to the caches on the way does so.
func (t *Transport) sender(req *http.Request) http.RoundTripper {
	if t.opts.Cache == nil && httpcache.PolicyOf(req.Context()) == httpcache.UseProtocol {
		return wire{t}
	}
	return t.cache
}

// wire sends each request, once.
type wire struct{ t *Transport }

// RoundTrip sends it by the connection that its context has leased, or by one of a pool. A renewal, which goes on behind an answer, has
// nothing of that one's context: no Metrics, which kept connections rely on, no tunnel, and no Transport above it that keeps
// its cookies.
func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	renewal := metricsOf(ctx) == nil
	if renewal {
		ctx, _ = Trace(ctx, nil)
		req = w.t.tunnelled(req.WithContext(ctx))
		ctx = req.Context()
	}
	if w.t.judge != nil {
		req = req.WithContext(w.t.judge.forRequest(ctx, req))
	}
	if l := leaseOf(ctx); l != nil {
		return l.RoundTrip(req)
	}
	resp, err := w.t.pool(req).RoundTrip(req)
	if err == nil && renewal {
		w.t.keepCookies(req, resp)
	}
	return resp, err
}

var fetchTypes = map[httpcache.Source]task.FetchType{
	httpcache.FromNetwork: task.FetchNetwork, httpcache.FromCache: task.FetchCache, httpcache.FromValidated: task.FetchValidated,
}

// Fetched is httpcache.Reporter: it notes where the newest response comes from.
func (m *Metrics) Fetched(s httpcache.Source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tx.fetch = fetchTypes[s]; m.tx.firstByte == 0 {
		m.tx.firstByte = time.Since(m.tx.start)
	}
}

// Fetch says where the last request's response came from.
func (m *Metrics) Fetch() task.FetchType {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tx == nil {
		return task.FetchNetwork
	}
	return m.tx.fetch
}
