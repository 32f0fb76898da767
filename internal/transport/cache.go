package transport

import (
	"context"
	"net/http"
	"time"

	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/task"
)

// newCache makes the cache over the base. It sees requests with their cookies and credentials, and responses as they came.
func (t *Transport) newCache() *httpcache.Cache {
	storage := t.opts.Cache
	if storage == nil {
		storage = httpcache.InMemory(0)
	}
	return httpcache.New(wire{t}, storage, httpcache.Options{WillCache: t.opts.WillCache})
}

// through is what a request of ctx is given to, and its context there. Without a storage only a policy is obeyed: one that
// asks for what is stored finds nothing, and one that speaks to the caches on the way does so.
func (t *Transport) through(ctx context.Context, m *Metrics, x *transaction) (context.Context, http.RoundTripper) {
	if t.opts.Cache == nil && httpcache.PolicyOf(ctx) == httpcache.UseProtocol {
		return ctx, t.base
	}
	return httpcache.WithReport(ctx, func(s httpcache.Source) { m.fetched(x, s) }), t.cache
}

// wire is the base as the cache has it. A renewal, which goes on behind an answer, has nothing of that one's context: no
// Metrics, which kept connections rely on, and no Transport above it that keeps its cookies.
type wire struct{ t *Transport }

func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if metricsOf(req.Context()) != nil {
		return w.t.base.RoundTrip(req)
	}
	ctx, _ := Trace(req.Context(), nil)
	resp, err := w.t.base.RoundTrip(req.WithContext(ctx))
	if err == nil {
		w.t.keepCookies(req, resp)
	}
	return resp, err
}

var fetchTypes = map[httpcache.Source]task.FetchType{
	httpcache.FromNetwork: task.FetchNetwork, httpcache.FromCache: task.FetchCache, httpcache.FromValidated: task.FetchValidated,
}

// fetched notes where the response comes from.
func (m *Metrics) fetched(x *transaction, s httpcache.Source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x.fetch = fetchTypes[s]; x.firstByte == 0 {
		x.firstByte = time.Since(x.start)
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
