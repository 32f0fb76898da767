package background

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// A relay stands before a server, at an address of its own, and may go away and come back there.
type relay struct {
	t      testing.TB
	server string // its host and port
	listen func(address string) (net.Listener, error)
	url    string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]struct{}
	clients  map[string]bool // their addresses, without ports
	running  sync.WaitGroup
}

// newRelay is before the server at url. listen makes its sockets; nil: on the loopback.
func newRelay(t testing.TB, url, address string, listen func(address string) (net.Listener, error)) *relay {
	t.Helper()
	if listen == nil {
		listen = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	r := &relay{t: t, server: host, listen: listen, conns: make(map[net.Conn]struct{}), clients: make(map[string]bool)}
	r.comes(address)
	t.Cleanup(r.goes)
	r.url = strings.TrimSuffix("http://"+r.address()+"/"+path, "/")
	if path != "" {
		r.url += "/"
	}
	return r
}

func (r *relay) address() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listener.Addr().String()
}

// comes has it take connections at address.
func (r *relay) comes(address string) {
	r.t.Helper()
	l, err := r.listen(address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	r.listener = l
	r.mu.Unlock()
	r.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.running.Go(func() { r.pass(c) })
		}
	})
}

// goes ends it with all connections, by a reset as of a machine that has started anew: what lay in their buffers is lost.
func (r *relay) goes() {
	r.mu.Lock()
	r.listener.Close()
	for c := range r.conns {
		reset(c)
	}
	r.mu.Unlock()
	r.running.Wait()
}

func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

func (r *relay) hold(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = struct{}{}
}

func (r *relay) drop(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	c.Close()
}

func (r *relay) pass(client net.Conn) {
	r.hold(client)
	defer r.drop(client)
	r.mu.Lock()
	r.clients[client.RemoteAddr().(*net.TCPAddr).IP.String()] = true
	r.mu.Unlock()
	server, err := net.Dial("tcp", r.server)
	if err != nil {
		return
	}
	r.hold(server)
	defer r.drop(server)
	var up sync.WaitGroup
	up.Go(func() {
		_, err := io.Copy(server, client)
		if err == nil {
			err = server.(*net.TCPConn).CloseWrite()
		}
		if err != nil {
			reset(server)
			reset(client)
		}
	})
	if _, err := io.Copy(client, server); err != nil {
		reset(client)
	} else {
		client.Close()
	}
	up.Wait()
}

// asked says whether a client at that address has come.
func (r *relay) asked(client string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clients[client]
}
