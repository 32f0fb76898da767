package urlsessiontest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Request is the record of one request, as far as it had come when it was asked
// for.
type Request struct {
	Number     int // from 1, in order of arrival
	Connection int // from 1, in order of arrival
	Time       time.Time
	Ended      time.Time // when the reply had been sent or cut; zero before

	Method string
	Target string // the request target as it came: /f?q, http://…, *
	Path   string // decoded, without query
	Proto  string
	Host   string
	Header http.Header
	TLS    *tls.ConnectionState // nil on a plain connection

	BodySize   int64 // bytes read so far
	BodySHA256 [sha256.Size]byte
	Body       []byte // the first bytes, as many as KeepBodies says
	BodyError  error  // why the body ended early
	Trailer    http.Header

	Status int   // of the reply; 0 before it is decided
	Sent   int64 // bytes of content sent, chunk framing left out
}

// Range is the request's Range, or empty.
func (r *Request) Range() string { return r.Header.Get("Range") }

// Load is how busy the server is.
type Load struct {
	Connections      int // open now
	PeakConnections  int // open at once, at most
	TotalConnections int // ever accepted

	Requests      int // being answered now
	PeakRequests  int // being answered at once, at most
	TotalRequests int
}

// recorder is what the server remembers; the server's mu guards it.
type recorder struct {
	requests []*recording // the newest, oldest first
	load     Load
	changed  chan struct{} // closed and replaced at a change, for waiters
}

// recording is a Request that is still going on.
type recording struct {
	server  *Server
	path    *path
	request Request // guarded by server.mu
	source  *http.Request
}

// Requests is what has arrived, oldest first: the newest 10,000, or as many as
// [KeepRequests] says. For one path see [Server.RequestsTo].
func (s *Server) Requests() []Request {
	return s.requests(func(*Request) bool { return true })
}

// RequestsTo is Requests for one path.
func (s *Server) RequestsTo(path string) []Request {
	return s.requests(func(r *Request) bool { return r.Path == path })
}

func (s *Server) requests(want func(*Request) bool) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Request
	for _, rec := range s.record.requests {
		if want(&rec.request) {
			r := rec.request
			r.Body = slices.Clone(r.Body)
			list = append(list, r)
		}
	}
	return list
}

// Count is the number of requests that have arrived for path.
func (s *Server) Count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.path(path).requests
}

// Sent is the number of bytes of content that have been handed to the network
// in answer to requests for path: less its size, what was sent twice. Counters
// are kept for each path that was ever asked for.
func (s *Server) Sent(path string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.path(path).sent
}

// Load is the present and the highest number of connections and requests.
func (s *Server) Load() Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.load
}

// WaitRequests returns when n requests have arrived for path in all, or with
// ctx's error. For any path give [Every].
func (s *Server) WaitRequests(ctx context.Context, path string, n int) error {
	return s.wait(ctx, func() bool {
		if path == Every {
			return s.record.load.TotalRequests >= n
		}
		return s.path(path).requests >= n
	})
}

// WaitSent returns when n bytes of content have been sent for path in all, or
// with ctx's error.
func (s *Server) WaitSent(ctx context.Context, path string, n int64) error {
	return s.wait(ctx, func() bool { return s.path(path).sent >= n })
}

// WaitIdle returns when no request is being answered, or with ctx's error.
func (s *Server) WaitIdle(ctx context.Context) error {
	return s.wait(ctx, func() bool { return s.record.load.Requests == 0 })
}

// WaitConnections returns when n connections have been accepted in all, or with
// ctx's error.
func (s *Server) WaitConnections(ctx context.Context, n int) error {
	return s.wait(ctx, func() bool { return s.record.load.TotalConnections >= n })
}

// WaitDisconnected returns when no connection is open, or with ctx's error.
func (s *Server) WaitDisconnected(ctx context.Context) error {
	return s.wait(ctx, func() bool { return s.record.load.Connections == 0 })
}

func (s *Server) wait(ctx context.Context, reached func() bool) error {
	return await(ctx, &s.mu, &s.record.changed, reached)
}

// await returns when reached, which is called under mu, is true, or with ctx's
// error. Whoever changes something closes changed, under mu, and renews it.
func await(ctx context.Context, mu sync.Locker, changed *chan struct{}, reached func() bool) error {
	for {
		mu.Lock()
		ok, next := reached(), *changed
		mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// changes runs change and wakes the waiters.
func (s *Server) changes(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.record.changed)
	s.record.changed = make(chan struct{})
}

// connected counts c, names it and takes its handshake off the script.
func (s *Server) connected(c *conn) (h Handshake) {
	s.changes(func() {
		l := &s.record.load
		l.TotalConnections++
		l.Connections++
		l.PeakConnections = max(l.PeakConnections, l.Connections)
		c.id = l.TotalConnections
		h = s.handshake
		if len(s.handshakes) > 0 {
			h, s.handshakes = s.handshakes[0], s.handshakes[1:]
		}
	})
	return h
}

func (s *Server) disconnected() {
	s.changes(func() { s.record.load.Connections-- })
}

// arrived records req.
func (s *Server) arrived(c *conn, req *http.Request) *recording {
	rec := &recording{server: s, source: req, request: Request{
		Connection: c.id,
		Time:       time.Now(),
		Method:     req.Method,
		Target:     req.RequestURI,
		Path:       req.URL.Path,
		Proto:      req.Proto,
		Host:       req.Host,
		Header:     req.Header.Clone(),
		TLS:        c.state(),
		BodySHA256: sha256.Sum256(nil),
	}}
	s.changes(func() {
		l := &s.record.load
		l.TotalRequests++
		l.Requests++
		l.PeakRequests = max(l.PeakRequests, l.Requests)
		rec.request.Number = l.TotalRequests
		rec.path = s.path(req.URL.Path)
		rec.path.requests++
		s.record.requests = append(s.record.requests, rec)
		if extra := len(s.record.requests) - s.keepLast; extra > 0 {
			clear(s.record.requests[:extra])
			s.record.requests = s.record.requests[extra:]
		}
	})
	return rec
}

func (rec *recording) update(change func(*Request)) {
	rec.server.changes(func() { change(&rec.request) })
}

// received records a part of the body; sum is the digest up to its end.
func (rec *recording) received(part []byte, sum [sha256.Size]byte) {
	rec.update(func(r *Request) {
		r.BodySize += int64(len(part))
		r.BodySHA256 = sum
		if room := rec.server.keepBody - int64(len(r.Body)); room > 0 {
			r.Body = append(r.Body, part[:min(room, int64(len(part)))]...)
		}
	})
}

func (rec *recording) sent(n int64) {
	rec.update(func(r *Request) {
		r.Sent += n
		rec.path.sent += n
	})
}

func (rec *recording) ended() {
	rec.update(func(r *Request) {
		r.Ended = time.Now()
		r.Trailer = rec.source.Trailer.Clone()
		rec.server.record.load.Requests--
	})
	rec.source = nil
}
