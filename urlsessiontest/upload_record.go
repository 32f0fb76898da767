package urlsessiontest

import (
	"context"
	"crypto/sha256"
	"hash"
	"net/http"
	"slices"
	"time"
)

// uploadRecord is what an origin for uploads remembers; its host's mu guards it.
type uploadRecord struct {
	requests    []*Request
	connections int
	busy        int           // requests being answered
	received    int64         // bytes of all bodies
	changed     chan struct{} // closed and replaced at a change, for waiters
}

// arrived records req; sum digests its body as it is read.
func (h *uploadHost) arrived(req *http.Request) (rec *Request, sum hash.Hash) {
	rec = &Request{
		Time:       time.Now(),
		Method:     req.Method,
		Target:     req.RequestURI,
		Path:       req.URL.Path,
		Proto:      req.Proto,
		Host:       req.Host,
		Header:     req.Header.Clone(),
		TLS:        req.TLS,
		BodySHA256: sha256.Sum256(nil),
	}
	if c, ok := req.Context().Value(connKey{}).(numberedConn); ok {
		rec.Connection = c.number
	}
	h.changes(func() {
		h.record.requests = append(h.record.requests, rec)
		h.record.busy++
		rec.Number = len(h.record.requests)
	})
	return rec, sha256.New()
}

// changes runs change and wakes the waiters.
func (h *uploadHost) changes(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
	close(h.record.changed)
	h.record.changed = make(chan struct{})
}

// Requests is all that has arrived, oldest first. Body is never kept, nor Sent
// counted.
func (h *uploadHost) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]Request, len(h.record.requests))
	for i, r := range h.record.requests {
		list[i] = *r
	}
	return list
}

// RequestsBy is Requests of some methods.
func (h *uploadHost) RequestsBy(methods ...string) []Request {
	return slices.DeleteFunc(h.Requests(), func(r Request) bool { return !slices.Contains(methods, r.Method) })
}

// Received is the number of bytes of content that were read from all requests:
// less the size of what was uploaded, what was sent twice.
func (h *uploadHost) Received() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.record.received
}

// WaitRequests returns when n requests have arrived in all, or with ctx's error.
func (h *uploadHost) WaitRequests(ctx context.Context, n int) error {
	return h.wait(ctx, func() bool { return len(h.record.requests) >= n })
}

// WaitReceived returns when n bytes of content have been read in all, or with
// ctx's error.
func (h *uploadHost) WaitReceived(ctx context.Context, n int64) error {
	return h.wait(ctx, func() bool { return h.record.received >= n })
}

// WaitIdle returns when no request is being answered, or with ctx's error.
func (h *uploadHost) WaitIdle(ctx context.Context) error {
	return h.wait(ctx, func() bool { return h.record.busy == 0 })
}

func (h *uploadHost) wait(ctx context.Context, reached func() bool) error {
	return await(ctx, &h.mu, &h.record.changed, reached)
}
