package daemon

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/urlsession/urlsession/internal/control/server"
)

// httpServer is the sessions' face on the socket, with the end that net/http's alone does not have.
type httpServer struct {
	server  *http.Server
	trimmer *trimmer
	streams context.CancelFunc // ends event streams

	mu      sync.Mutex
	closed  bool                  // requests that come yet are dropped
	handled sync.WaitGroup        // of requests; mu guards its growth
	silent  map[net.Conn]struct{} // connections by which nothing has come yet; nil once the server shuts down
}

func newHTTP(ss *sessions, o Options, stop func()) *httpServer {
	base, cancel := context.WithCancel(context.Background())
	h := &httpServer{streams: cancel, trimmer: newTrimmer(o), silent: make(map[net.Conn]struct{})}
	h.server = server.NewHTTPServer(base, h.count(server.New(ss, server.Options{Stop: stop, SetRateLimit: ss.limiter.setByHand, Reload: ss.limiter.reload})))
	h.server.ErrorLog = slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn)
	h.server.ConnState = h.watch
	h.server.RegisterOnShutdown(h.dropSilent)
	return h
}

// watch is http.Server.ConnState. A connection by which nothing has come, as a client has one that it has dialled and found
// no use for, is one that Shutdown would wait for, 5 s long.
func (h *httpServer) watch(c net.Conn, state http.ConnState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(h.silent, c)
	case h.silent != nil:
		h.silent[c] = struct{}{}
	default:
		c.Close()
	}
}

// dropSilent closes those connections. What is on its way by one is lost as in any stop: the client comes again.
func (h *httpServer) dropSilent() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.silent {
		c.Close()
	}
	h.silent = nil
}

// count knows which requests are under way: net/http's Close does not wait for them, and what they use is closed next.
func (h *httpServer) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		h.handled.Add(1)
		h.mu.Unlock()
		defer h.handled.Done()
		if strings.HasSuffix(r.URL.Path, "/batches") {
			defer h.trimmer.burst()
		}
		next.ServeHTTP(w, r)
	})
}

// refuse ends the event streams. What the sessions answer from then on has clients come again.
func (h *httpServer) refuse() { h.streams() }

// close ends all requests: those under way have until ctx ends.
func (h *httpServer) close(ctx context.Context) {
	if h.server.Shutdown(ctx) != nil {
		_ = h.server.Close() // its errors are of connections that are gone
	}
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.handled.Wait()
	h.trimmer.stop()
}
