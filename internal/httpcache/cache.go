package httpcache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// Options are those of New. The zero value is a cache that follows the protocol.
type Options struct {
	// WillCache is asked before a response is stored; false keeps it from that. It gets the status and the stored part of
	// the header, which it may change: what it leaves there is stored. The response has no body yet, and is not to be kept.
	// It is called from the goroutine of the request. Nil: all is stored that may be.
	WillCache func(*http.Response) bool
}

// Cache is a RoundTripper that answers from a Storage where it may, and stores what it may of what another one brings. It is
// safe for concurrent use. Of one Storage there may be several.
//
// Requests that several goroutines make at once for one URL are not joined: each goes its way.
type Cache struct {
	next    http.RoundTripper
	storage *Storage
	opts    Options

	ctx  context.Context // of renewals
	stop context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	renewing map[key]bool
}

// New makes a Cache over next, which sends requests. It is to be closed.
func New(next http.RoundTripper, storage *Storage, o Options) *Cache {
	c := &Cache{next: next, storage: storage, opts: o, renewing: make(map[key]bool)}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// Close ends what goes on behind the requests, and returns when it has ended. The Storage, and bodies that are being read,
// go on.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.done.Wait()
	return nil
}

// query is a request, and what it says of caching.
type query struct {
	req    *http.Request
	key    key
	url    string
	policy Policy
	cc     directives
}

func (c *Cache) query(req *http.Request) *query {
	q := &query{req: req, policy: PolicyOf(req.Context()), cc: requestDirectives(req.Header)}
	q.key, q.url = keyOf(req)
	return q
}

// lookup finds the stored response for q, which is to be closed or served; nil: there is none, or it is not wanted.
func (c *Cache) lookup(q *query) *stored {
	if q.policy == ReloadIgnoringLocal || q.policy == ReloadIgnoringLocalAndRemote {
		return nil
	}
	return c.storage.find(q.key, q.selected)
}

func (q *query) selected(h *head) bool { return h.URL == q.url && h.selects(q.req.Header) }

// RoundTrip answers req from the Storage, or sends it. A response that is stored while it is read becomes an entry when its
// body was read to the end; read it to the end or close it, as always. The error where ReturnDontLoad finds nothing is a
// *task.Error; all others are the next RoundTripper's.
func (c *Cache) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil || req.Context().Err() != nil {
		return c.next.RoundTrip(req) // it knows what to say of that
	}
	hasBody := req.Body != nil && req.Body != http.NoBody
	bypass, _ := req.Context().Value(bypassKey).(bool)
	switch {
	case (req.Method == http.MethodGet || req.Method == "") && !hasBody && !bypass:
		return c.get(c.query(req))
	case req.Method == http.MethodHead && !hasBody && !bypass:
		return c.head(c.query(req))
	}
	if PolicyOf(req.Context()) == ReturnDontLoad { // whatever it is, it needs the network
		if req.Body != nil {
			req.Body.Close()
		}
		return c.query(req).unanswered()
	}
	resp, err := c.next.RoundTrip(req)
	if err == nil {
		c.invalidate(req, resp)
		report(req.Context(), FromNetwork)
	}
	return resp, err
}

func (c *Cache) get(q *query) (*http.Response, error) {
	var s *stored
	if !q.forwarded() {
		s = c.lookup(q)
	}
	if s == nil {
		if resp, err := q.unanswered(); resp != nil || err != nil {
			return resp, err
		}
		return c.load(q, nil)
	}
	switch q.judge(s.head, time.Now()) {
	case serveAndRenew:
		c.renew(q)
		fallthrough
	case serve:
		return s.answer(q, FromCache), nil
	}
	if q.cc.has("only-if-cached") {
		s.close()
		return q.unanswered()
	}
	return c.load(q, s)
}

// head answers HEAD from what is stored of GET. An answer from the server says whether that is still right (RFC 9111, section
// 4.3.5).
func (c *Cache) head(q *query) (*http.Response, error) {
	s := c.lookup(q)
	if s != nil {
		defer s.close()
		if v := q.judge(s.head, time.Now()); !q.forwarded() && !q.hasConditions() && v != validate {
			if v == serveAndRenew {
				c.renew(q)
			}
			resp := s.response(q)
			resp.Body = http.NoBody
			report(q.req.Context(), FromCache)
			return resp, nil
		}
	}
	if resp, err := q.unanswered(); resp != nil || err != nil {
		return resp, err
	}
	w := c.storage.begin(q.key)
	requested := time.Now()
	resp, err := c.next.RoundTrip(q.outgoing(nil))
	if err != nil {
		w.abandon()
		return nil, err
	}
	updated := false
	if s != nil && resp.StatusCode == http.StatusOK && !q.cc.has("no-store") {
		if !s.head.describedBy(resp) {
			c.storage.remove(q.key)
		} else if !responseDirectives(resp.Header).has("no-store") {
			w.update(s, s.head.updated(resp.Header, q.req.Header, requested, time.Now()))
			updated = true
		}
	}
	if !updated {
		w.abandon()
	}
	resp.Request = q.req
	report(q.req.Context(), FromNetwork)
	return resp, nil
}

// describedBy reports whether an answer to HEAD speaks of what h is the head of.
func (h *head) describedBy(resp *http.Response) bool {
	for _, name := range []string{"Etag", "Last-Modified", "Content-Encoding"} {
		if v := resp.Header.Get(name); v != "" && v != h.Header.Get(name) {
			return false
		}
	}
	return resp.ContentLength < 0 || resp.ContentLength == h.Length
}

// forwarded reports whether only the server can answer q: its conditions are about what the server has.
func (q *query) forwarded() bool {
	return q.req.Header["If-Match"] != nil || q.req.Header["If-Unmodified-Since"] != nil
}

// hasConditions reports whether whoever asks has a copy of its own, and wants to hear of it.
func (q *query) hasConditions() bool {
	return q.req.Header["If-None-Match"] != nil || q.req.Header["If-Modified-Since"] != nil
}

// unanswered is what q gets where nothing stored can be used and the server may not be asked; nothing where it may.
func (q *query) unanswered() (*http.Response, error) {
	switch {
	case q.policy == ReturnDontLoad:
		return nil, &task.Error{
			Op: "look up in the cache", URL: task.RedactURL(q.req.URL), Code: task.CannotLoadFromNetwork, Unsent: true,
			Err: errors.New("it is not stored, and the request's cache policy keeps it from being loaded"),
		}
	case q.cc.has("only-if-cached"): // RFC 9111, section 5.2.1.7
		report(q.req.Context(), FromCache)
		return &http.Response{
			Status: fmt.Sprintf("%d %s", http.StatusGatewayTimeout, http.StatusText(http.StatusGatewayTimeout)), StatusCode: http.StatusGatewayTimeout,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: make(http.Header), Body: http.NoBody, Request: q.req,
		}, nil
	}
	return nil, nil
}
