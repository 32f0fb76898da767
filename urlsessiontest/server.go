package urlsessiontest

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is the origin. Make one with [NewServer] and Close it.
type Server struct {
	URL string // http://127.0.0.1:PORT, https:// with TLS, http(s)://origin.test in memory

	conns     *acceptor
	memory    bool
	tls       bool
	handshake Handshake
	limit     *limiter // of all connections together
	connRate  int64
	keepBody  int64
	keepLast  int

	mu         sync.Mutex
	find       func(string) (Resource, bool)
	paths      map[string]*path
	handshakes []Handshake
	record     recorder
	clients    []*http.Transport
}

// Option is a choice at a server's start.
type Option func(*Server)

// WithTLS serves https, every connection by h unless [Server.ScriptHandshakes]
// says otherwise.
func WithTLS(h Handshake) Option {
	return func(s *Server) { s.tls, s.handshake = true, h }
}

// InMemory listens on no socket: clients come by [Server.DialContext] or
// [Server.Client], over buffered in-memory connections that block durably in
// the sense of testing/synctest. For a bubble's clock make the server in the
// bubble and close it there.
func InMemory() Option { return func(s *Server) { s.memory = true } }

// Rate limits what the server sends on all connections together.
func Rate(bytesPerSecond int64) Option {
	return func(s *Server) { s.limit = newLimiter(bytesPerSecond) }
}

// ConnectionRate limits what the server sends on each connection.
func ConnectionRate(bytesPerSecond int64) Option {
	return func(s *Server) { s.connRate = bytesPerSecond }
}

// KeepBodies keeps the first n bytes of each request's body in
// [Request.Body]; none are kept by default.
func KeepBodies(n int64) Option { return func(s *Server) { s.keepBody = n } }

// KeepRequests is how many of the newest requests [Server.Requests] remembers,
// 10,000 by default. Counters count them all.
func KeepRequests(n int) Option { return func(s *Server) { s.keepLast = n } }

// NewServer starts an origin on a free port of 127.0.0.1. It panics if the
// machine has none.
func NewServer(opts ...Option) *Server {
	s := &Server{
		conns:    newAcceptor(),
		paths:    make(map[string]*path),
		keepLast: 10_000,
	}
	s.record.changed = make(chan struct{})
	for _, opt := range opts {
		opt(s)
	}
	scheme := "http://"
	if s.tls {
		scheme = "https://"
		authorities() // made before the first connection waits for it
	}
	if s.memory {
		s.URL = scheme + memoryHost
	} else {
		s.URL = scheme + s.conns.listen(s.serve).String()
	}
	return s
}

// Close ends every connection, whatever stall it is in, and returns when no
// goroutine of the server is left. It also closes the idle connections of its
// Clients. What was recorded can still be asked for.
func (s *Server) Close() {
	s.conns.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.clients {
		t.CloseIdleConnections()
	}
}

// ServeConn serves one connection of the caller's making, such as an end of
// [net.Pipe], and returns when it has ended. The server closes it. After Close
// it returns [net.ErrClosed].
func (s *Server) ServeConn(c net.Conn) error {
	ended := make(chan struct{})
	err := s.conns.start(c, func(c net.Conn) {
		defer close(ended)
		s.serve(c)
	})
	if err == nil {
		<-ended
	}
	return err
}

// DialContext connects to this server whatever the address: give it to an
// [http.Transport] for made-up host names, or for a server in memory.
func (s *Server) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if !s.memory {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", s.conns.listener.Addr().String())
	}
	if err := context.Cause(ctx); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	client, server := newMemoryPipe(address)
	if err := s.conns.start(server, s.serve); err != nil {
		client.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return client, nil
}

// Client is a new client that trusts this package's authority, asks for no
// compression, uses no proxy, and in memory dials this server for every host.
func (s *Server) Client() *http.Client {
	t := &http.Transport{
		TLSClientConfig:    &tls.Config{RootCAs: CAPool()},
		DisableCompression: true,
		IdleConnTimeout:    time.Minute,
	}
	if s.memory {
		t.DialContext = s.DialContext
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients = append(s.clients, t)
	return &http.Client{Transport: t}
}

// Disconnect resets every connection that is open, as a failing network does.
// The server goes on.
func (s *Server) Disconnect() { s.conns.reset() }
