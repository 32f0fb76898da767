package urlsessiontest

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// uploadHost is what the origins for uploads stand on: a server of net/http, so
// that they speak HTTP/1.1 and HTTP/2, the script of their answers, and the
// record of what they were asked.
type uploadHost struct {
	URL string // as Server.URL

	tls, http2, memory bool
	dir                string // of the files with content; empty keeps it in memory
	versions           []int
	limit              UploadLimit
	progress           int64
	minimum            int64

	// Of a TusServer.
	extensions, checksums []string
	locations             func(string) string
	locks                 bool

	ctx      context.Context // done at Close
	cancel   context.CancelFunc
	listener net.Listener
	server   *http.Server
	running  sync.WaitGroup // Serve and the handlers

	mu      sync.Mutex
	closed  bool
	scripts map[string]*uploadScript
	record  uploadRecord
	uploads []*uploadResource // in the order of their creations
	clients []*http.Transport
}

// UploadOption is a choice at the start of an [UploadServer], a [TusServer] or a
// [MultipartServer].
type UploadOption func(*uploadHost)

// UploadsOverTLS serves https by HTTP/1.1, with [ValidCertificate].
func UploadsOverTLS() UploadOption { return func(h *uploadHost) { h.tls = true } }

// UploadsOverHTTP2 serves https by HTTP/2 where the client offers it, else by
// HTTP/1.1, with [ValidCertificate].
func UploadsOverHTTP2() UploadOption { return func(h *uploadHost) { h.tls, h.http2 = true, true } }

// UploadsInMemory listens on no socket, as [InMemory] does.
func UploadsInMemory() UploadOption { return func(h *uploadHost) { h.memory = true } }

// UploadsIn keeps the content of uploads in files of the folder dir, which are
// removed at Close; by default it is kept in memory.
func UploadsIn(dir string) UploadOption { return func(h *uploadHost) { h.dir = dir } }

func newUploadHost(opts []UploadOption) *uploadHost {
	h := &uploadHost{scripts: make(map[string]*uploadScript), minimum: 5 << 20}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.record.changed = make(chan struct{})
	for _, opt := range opts {
		opt(h)
	}
	return h
}

// start serves handle; it panics if the machine has no free port.
func (h *uploadHost) start(handle func(*uploadExchange)) {
	h.server = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { h.handle(w, req, handle) }),
		ConnContext:       h.connected,
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
		Protocols:         new(http.Protocols),
	}
	h.server.Protocols.SetHTTP1(true)
	h.server.Protocols.SetHTTP2(h.http2)
	h.URL = "http://"
	if h.tls {
		h.URL = "https://"
		config := authorities().config(ValidCertificate)
		config.NextProtos = nil // by Protocols
		h.server.TLSConfig = config
	}
	if h.memory {
		h.listener = newMemoryListener()
		h.URL += memoryHost
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic("urlsessiontest: listen on a free port of 127.0.0.1: " + err.Error())
		}
		h.listener = l
		h.URL += l.Addr().String()
	}
	h.running.Go(func() {
		if h.tls {
			h.server.ServeTLS(h.listener, "", "")
		} else {
			h.server.Serve(h.listener)
		}
	})
}

type connKey struct{}

// connected numbers a connection and lets its requests find it.
func (h *uploadHost) connected(ctx context.Context, c net.Conn) context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.record.connections++
	return context.WithValue(ctx, connKey{}, numberedConn{c, h.record.connections})
}

type numberedConn struct {
	net.Conn
	number int
}

func (h *uploadHost) handle(w http.ResponseWriter, req *http.Request, handle func(*uploadExchange)) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	h.running.Add(1)
	h.mu.Unlock()
	defer h.running.Done()
	x := h.newExchange(w, req)
	defer x.ended()
	handle(x)
}

// Close ends every connection, whatever stall it is in, and returns when no
// request is being answered. It also closes the idle connections of its Clients
// and removes the content of uploads. What was recorded can still be asked for.
func (h *uploadHost) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.server.Close()
	h.running.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.clients {
		t.CloseIdleConnections()
	}
}

// DialContext connects to this server whatever the address, as
// [Server.DialContext] does.
func (h *uploadHost) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if l, ok := h.listener.(*memoryListener); ok {
		return l.dial(ctx, network, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", h.listener.Addr().String())
}

// Client is a new client that trusts this package's authority, asks for no
// compression, uses no proxy, and in memory dials this server for every host. It
// speaks HTTP/2 if the server does.
func (h *uploadHost) Client() *http.Client {
	t := &http.Transport{
		TLSClientConfig:    &tls.Config{RootCAs: CAPool()},
		DisableCompression: true,
		ForceAttemptHTTP2:  h.http2,
		IdleConnTimeout:    time.Minute,
	}
	if h.memory {
		t.DialContext = h.DialContext
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients = append(h.clients, t)
	return &http.Client{Transport: t}
}
