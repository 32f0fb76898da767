package httpcache

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

const (
	maxRenewals    = 4                // at once, of one Cache; a response beyond them is renewed by a later request
	renewalTimeout = 60 * time.Second // of one, with its body
)

// load asks the server, about s where it is not nil, which it takes over.
func (c *Cache) load(q *query, s *stored) (*http.Response, error) {
	asked := s
	if s != nil && (!s.head.validatable() || q.hasConditions()) {
		asked = nil
	}
	w := c.storage.begin(q.key)
	taken := false
	defer func() {
		if !taken {
			w.abandon()
		}
	}()
	requested := time.Now()
	resp, err := c.next.RoundTrip(q.outgoing(asked))
	received := time.Now()
	if err != nil {
		if s != nil && task.CodeOf(err) != task.Cancelled && q.req.Context().Err() == nil && q.insteadOfError(s.head, received) {
			return s.answer(q, FromCache), nil
		}
		s.close()
		return nil, err
	}
	resp.Request = q.req
	switch {
	case resp.StatusCode == http.StatusNotModified && asked != nil:
		resp.Body.Close()
		if etag := resp.Header.Get("Etag"); etag != "" && s.head.etag() != "" && !weakMatch(etag, s.head.etag()) {
			// It speaks of something that was not asked about, and cannot be had from here (RFC 9111, section 4.3.4).
			s.close()
			return c.load(q, nil)
		}
		h := s.head.updated(resp.Header, q.req.Header, requested, received)
		switch {
		case responseDirectives(resp.Header).has("no-store"):
			c.storage.remove(q.key)
		case !q.cc.has("no-store"):
			w.update(s, h)
			taken = true
		}
		s.head = h
		return s.confirmed(q, resp), nil
	case resp.StatusCode == http.StatusNotModified && s != nil: // whoever asked has a copy, which may be ours too
		if strongMatch(resp.Header.Get("Etag"), s.head.etag()) && !q.cc.has("no-store") && !responseDirectives(resp.Header).has("no-store") {
			w.update(s, s.head.updated(resp.Header, q.req.Header, requested, received))
			taken = true
		}
	case failed(resp.StatusCode) && s != nil && q.insteadOfError(s.head, received):
		resp.Body.Close()
		return s.answer(q, FromCache), nil
	}
	s.close()
	if s != nil && resp.StatusCode == http.StatusPartialContent && strongMatch(resp.Header.Get("Etag"), s.head.etag()) {
		report(q.req.Context(), FromNetwork)
		return resp, nil // a part of what is stored
	}
	if !taken {
		taken = c.store(q, w, resp, requested, received)
	}
	if !taken && replaces(resp.StatusCode) && (s != nil || q.policy == ReloadIgnoringLocal || q.policy == ReloadIgnoringLocalAndRemote) {
		c.storage.remove(q.key) // the server has said that it is something else now, which may not be stored
	}
	report(q.req.Context(), FromNetwork)
	return resp, nil
}

// replaces are the statuses of an answer that says what there is now.
func replaces(status int) bool {
	return 200 <= status && status < 300 || status == http.StatusNotFound || status == http.StatusGone
}

// failed are the statuses that stale-if-error is for (RFC 5861, section 4).
func failed(status int) bool {
	return status == 500 || status == 502 || status == 503 || status == 504
}

// confirmed answers q with s after the server's 304. What that sets for this answer alone, cookies among it, is in the answer and
// not in what is stored.
func (s *stored) confirmed(q *query, resp *http.Response) *http.Response {
	answer := s.answer(q, FromValidated)
	answer.TLS, answer.Proto, answer.ProtoMajor, answer.ProtoMinor = resp.TLS, resp.Proto, resp.ProtoMajor, resp.ProtoMinor
	for _, name := range []string{"Set-Cookie", "Authentication-Info"} {
		if v := resp.Header[name]; v != nil {
			answer.Header[name] = v
		}
	}
	return answer
}

// outgoing is q's request as it is sent: with the conditions that ask about s, and what the policy tells caches on the way.
func (q *query) outgoing(s *stored) *http.Request {
	var fields []string
	set := func(name, value string) {
		if value != "" {
			fields = append(fields, name, value)
		}
	}
	if s != nil {
		set("If-None-Match", s.head.etag())
		set("If-Modified-Since", s.head.lastModified())
	}
	switch q.policy {
	case ReloadIgnoringLocalAndRemote:
		if !q.cc.has("no-cache") {
			set("Cache-Control", "no-cache")
			set("Pragma", "no-cache")
		}
	case ReloadRevalidating:
		if !q.cc.has("no-cache") && !q.cc.has("max-age") {
			set("Cache-Control", "max-age=0")
		}
	}
	if len(fields) == 0 {
		return q.req
	}
	out := q.req.WithContext(q.req.Context())
	if out.Header = q.req.Header.Clone(); out.Header == nil {
		out.Header = make(http.Header)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Cache-Control" || fields[i] == "Pragma" {
			out.Header.Add(fields[i], fields[i+1])
		} else {
			out.Header.Set(fields[i], fields[i+1])
		}
	}
	return out
}

// store has resp stored by w while its body is read. It is false where that may not or cannot be.
func (c *Cache) store(q *query, w *writer, resp *http.Response, requested, received time.Time) bool {
	if !q.storable(resp) {
		return false
	}
	if q.policy != ReturnElseLoad {
		h := head{Status: resp.StatusCode, Header: resp.Header, Received: received}
		if !h.validatable() && h.lifetime() == 0 && !h.usableStale() {
			return false // nothing could ever use it
		}
	}
	h := newHead(q, resp, requested, received)
	if !h.selectBy(q.req.Header) {
		return false
	}
	if c.opts.WillCache != nil {
		proposed := *resp
		proposed.Header, proposed.Body = h.Header, http.NoBody
		if !c.opts.WillCache(&proposed) {
			return false
		}
		if h.Header = proposed.Header; !h.selectBy(q.req.Header) {
			return false
		}
	}
	if !w.create(resp.ContentLength) {
		return false
	}
	t := &tee{body: resp.Body, want: resp.ContentLength, w: w, h: h, selected: q.selected}
	if resp.ContentLength == 0 || resp.Body == http.NoBody {
		t.finish()
		return true
	}
	resp.Body = t
	return true
}

// storable is RFC 9111, section 3, for a private cache, which has every status but those that are about a request and not its
// target.
func (q *query) storable(resp *http.Response) bool {
	switch status := resp.StatusCode; {
	case status < 200, status == http.StatusPartialContent, status == http.StatusNotModified, status == http.StatusUnauthorized,
		status == http.StatusProxyAuthRequired, status == http.StatusRequestedRangeNotSatisfiable, status == http.StatusPreconditionFailed:
		return false
	}
	if resp.Uncompressed {
		return false // it is no longer what its header says
	}
	if resp.ContentLength < 0 && resp.ProtoMajor == 1 && len(resp.TransferEncoding) == 0 {
		return false // it ends with its connection: a whole one cannot be told from one that was cut
	}
	cc := responseDirectives(resp.Header)
	if q.cc.has("no-store") || cc.has("no-store") && !(cc.has("must-understand") && heuristic[resp.StatusCode]) ||
		cc.has("must-understand") && !heuristic[resp.StatusCode] {
		return false
	}
	return heuristic[resp.StatusCode] || cc.has("public") || cc.has("private") || cc.has("max-age") || resp.Header["Expires"] != nil
}

// renew asks the server about what is stored for q, behind the answer.
func (c *Cache) renew(q *query) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.renewing[q.key] || len(c.renewing) >= maxRenewals {
		return
	}
	c.renewing[q.key] = true
	// Nothing of the context: it ends with the answer, and its values trace the request that was answered.
	ctx, cancel := context.WithTimeout(c.ctx, renewalTimeout)
	req := q.req.Clone(ctx)
	for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since"} {
		req.Header.Del(name)
	}
	req.Method = http.MethodGet
	n := &query{req: req, key: q.key, url: q.url, cc: q.cc}
	c.done.Go(func() {
		defer cancel()
		if resp, err := c.load(n, c.lookup(n)); err == nil {
			if _, stored := resp.Body.(*tee); stored {
				io.Copy(io.Discard, resp.Body) // an error ends it, and what was stored goes
			}
			resp.Body.Close()
		}
		c.mu.Lock()
		delete(c.renewing, n.key)
		c.mu.Unlock()
	})
}
