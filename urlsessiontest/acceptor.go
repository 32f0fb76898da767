package urlsessiontest

import (
	"context"
	"net"
	"sync"
)

// acceptor owns connections: it takes them from a listener or one by one, runs
// each in a goroutine, and at close ends them and waits for the goroutines.
type acceptor struct {
	ctx    context.Context // done at close
	cancel context.CancelFunc

	mu       sync.Mutex
	listener net.Listener // nil in memory
	open     map[net.Conn]struct{}
	closed   bool
	running  sync.WaitGroup
}

func newAcceptor() *acceptor {
	ctx, cancel := context.WithCancel(context.Background())
	return &acceptor{ctx: ctx, cancel: cancel, open: make(map[net.Conn]struct{})}
}

// listen accepts on a free port of 127.0.0.1; it panics if there is none, as
// net/http/httptest does.
func (a *acceptor) listen(serve func(net.Conn)) net.Addr {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic("urlsessiontest: listen on a free port of 127.0.0.1: " + err.Error())
	}
	a.listener = l
	a.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			a.start(c, serve)
		}
	})
	return l.Addr()
}

// start runs serve in a goroutine of its own, and closes c after it. After close
// it only closes c, and says net.ErrClosed.
func (a *acceptor) start(c net.Conn, serve func(net.Conn)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		c.Close()
		return net.ErrClosed
	}
	a.open[c] = struct{}{}
	a.running.Go(func() {
		defer func() {
			c.Close()
			a.mu.Lock()
			delete(a.open, c)
			a.mu.Unlock()
		}()
		serve(c)
	})
	return nil
}

// close ends everything and returns when no goroutine is left.
func (a *acceptor) close() {
	a.mu.Lock()
	a.closed = true
	a.cancel()
	if a.listener != nil {
		a.listener.Close()
	}
	for c := range a.open {
		c.Close()
	}
	a.mu.Unlock()
	a.running.Wait()
}

// reset ends the connections that are open by RST.
func (a *acceptor) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.open {
		if l, ok := c.(interface{ SetLinger(int) error }); ok {
			l.SetLinger(0)
		}
		c.Close()
	}
}
