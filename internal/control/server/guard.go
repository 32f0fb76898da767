package server

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// guard refuses what is no client of ours before anything looks at it: a web page, which a browser or a proxy in front of
// the socket would betray by Origin, Sec-Fetch-Site or another Host, and a client of another version, unless it has the daemon stop.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set(control.VersionHeader, strconv.Itoa(control.APIVersion))
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		_, origin := r.Header["Origin"]
		_, fetch := r.Header["Sec-Fetch-Site"]
		switch v := r.Header.Get(control.VersionHeader); {
		case r.Host != control.Host:
			writeError(w, forbidden("the host is %q; this socket answers to %q alone", r.Host, control.Host))
		case origin || fetch:
			writeError(w, forbidden("a web page asks, and none may"))
		case v != "" && v != strconv.Itoa(control.APIVersion) && r.URL.Path != control.StopPath:
			writeError(w, &task.Error{Op: "talk to the daemon", Code: task.NoSharedContainer, Err: errVersion(v)})
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func forbidden(format string, args ...any) error {
	return malformed("talk to the daemon", http.StatusForbidden, format, args...)
}

func errVersion(v string) error {
	return errors.New("the client speaks version " + strconv.Quote(v) + " of the API and this daemon " +
		strconv.Itoa(control.APIVersion) + ": stop the daemon, and one of the client's version will be started")
}

// Listener passes on the connections of l whose other end is this user's, and closes the others. It says so to logger,
// which may be nil.
func Listener(l net.Listener, logger *log.Logger) net.Listener {
	return &listener{l, control.CheckPeer, logger}
}

type listener struct {
	net.Listener
	check  func(net.Conn) error
	logger *log.Logger
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		err = l.check(conn)
		if err == nil {
			return conn, nil
		}
		conn.Close()
		if l.logger != nil {
			l.logger.Printf("refused a connection: %v", err)
		}
	}
}

// NewHTTPServer is an http.Server for the handler with limits that suit it: a request's head within 10 s and 64 KiB. A
// body has the time that it needs, and an event stream no end: Shutdown waits for both, unless stopping, the context of
// all requests, is cancelled first, which ends the streams.
func NewHTTPServer(stopping context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return stopping },
	}
}
