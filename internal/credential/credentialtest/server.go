package credentialtest

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// Server is a server or a proxy behind a Gate.
type Server struct {
	*httptest.Server
	gate    Gate
	next    http.Handler
	forward http.Transport

	mu   sync.Mutex
	seen []string
	open sync.WaitGroup
}

// NewServer is one of HTTP/1.1 at 127.0.0.1 that lets requests through to next; nil: they are answered with their body. It is
// not started.
func NewServer(gate Gate, next http.Handler) *Server {
	s := &Server{gate: gate, next: next}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ConnContext = connContext
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that a test breaks off
	return s
}

// NewProxy is a forward proxy, with CONNECT, at 127.0.0.1. It is not started.
func NewProxy(gate Gate) *Server {
	s := &Server{gate: gate}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.proxy))
	s.Config.ConnContext = connContext
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that a test breaks off
	return s
}

// Close ends it with all that goes through it.
func (s *Server) Close() {
	s.CloseClientConnections()
	s.Server.Close()
	s.forward.CloseIdleConnections()
	s.open.Wait()
}

// Seen is what has been asked, and forgets it: each "METHOD target SCHEME bytes-of-body", the scheme that of the
// credentials, or "-".
func (s *Server) Seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return slices.Clip(seen)
}

func (s *Server) see(r *http.Request, value string, body int64) {
	scheme, _, _ := strings.Cut(value, " ")
	if scheme == "" {
		scheme = "-"
	}
	s.mu.Lock()
	s.seen = append(s.seen, fmt.Sprintf("%s %s %s %d", r.Method, r.RequestURI, scheme, body))
	s.mu.Unlock()
}

// several answers a request that has a field more than once.
func several(w http.ResponseWriter, r *http.Request, field string) bool {
	if len(r.Header[field]) <= 1 {
		return false
	}
	http.Error(w, field+" comes twice", http.StatusBadRequest)
	return true
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if several(w, r, "Authorization") {
		return
	}
	value := r.Header.Get("Authorization")
	challenge, ok := s.gate(r, value)
	if !ok || s.next == nil {
		var body strings.Builder
		n, _ := io.Copy(&body, io.LimitReader(r.Body, 1<<20))
		s.see(r, value, n)
		if ok {
			io.WriteString(w, body.String())
			return
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, "who are you?")
		return
	}
	s.see(r, value, r.ContentLength)
	s.next.ServeHTTP(w, r)
}

func (s *Server) proxy(w http.ResponseWriter, r *http.Request) {
	if several(w, r, "Proxy-Authorization") {
		return
	}
	value := r.Header.Get("Proxy-Authorization")
	challenge, ok := s.gate(r, value)
	s.see(r, value, r.ContentLength)
	switch {
	case !ok:
		io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
		w.Header().Set("Proxy-Authenticate", challenge)
		w.WriteHeader(http.StatusProxyAuthRequired)
		io.WriteString(w, "who are you?")
	case r.Method == http.MethodConnect:
		s.tunnel(w, r.Host)
	default:
		r.RequestURI = ""
		r.Header.Del("Proxy-Authorization")
		resp, err := s.forward.RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
	}
}

func (s *Server) tunnel(w http.ResponseWriter, addr string) {
	to, err := net.Dial("tcp", addr)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	c, in, err := w.(http.Hijacker).Hijack()
	if err != nil {
		to.Close()
		return
	}
	io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	end := func() { c.Close(); to.Close() }
	s.open.Go(func() { io.Copy(to, in); end() })
	s.open.Go(func() { io.Copy(c, to); end() })
}
