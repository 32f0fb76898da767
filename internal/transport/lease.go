package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/urlsession/urlsession/internal/credential"
)

// NTLM proves who a connection is, not a request. So a request that is to prove it leases a connection of HTTP/1.1 for itself,
// until its response's body has ended. As whom the server knows the connection then is remembered with it: later requests
// of the same users take it again, and where all are in use wait for one. All others go by connections that are known as
// nobody.

// users are as whom a connection is known to an origin and to the proxy before it: see credential.Step.User.
type users struct{ origin, proxy uint64 }

// lease is a connection that one request uses at a time.
type lease struct {
	*http.Transport // of HTTP/1.1, with this connection alone
	held            atomic.Bool
	newest          atomic.Pointer[conn]
	users           users
}

// errLost is of a request that wanted the connection that it had, which has ended.
var errLost = errors.New("the connection that was to be authenticated is closed")

// dial makes the connection, unless the one that there was is to be held.
func (l *lease) dial(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if l.held.Load() {
			return nil, errLost
		}
		c, err := dial(ctx, network, addr)
		if c, ok := c.(*conn); ok {
			l.newest.Store(c)
		}
		return c, err
	}
}

// alive reports that the connection can be used again, as far as is known.
func (l *lease) alive() bool {
	c := l.newest.Load()
	if c == nil {
		return false
	}
	select {
	case <-c.readEnded:
		return false
	default:
		return true
	}
}

// leases are those of a Transport.
type leases struct {
	open func() *lease // makes one
	most int           // of one origin

	mu      sync.Mutex
	origins map[credential.Space]*originLeases
}

type originLeases struct {
	slots chan struct{}
	using int // requests that have one, or wait
	out   int // leases in use
	idle  []*lease
}

// take is a connection to an origin: an idle one that is known as whom known says, else a new one, which is known as nobody.
// It waits while too many are in use, and asks known then.
func (p *leases) take(ctx context.Context, origin credential.Space, known func() users) (*lease, error) {
	p.mu.Lock()
	o := p.origins[origin]
	if o == nil {
		if p.origins == nil {
			p.origins = make(map[credential.Space]*originLeases)
		}
		o = &originLeases{slots: make(chan struct{}, p.most)}
		p.origins[origin] = o
	}
	o.using++
	p.mu.Unlock()
	var err error
	select {
	case o.slots <- struct{}{}:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	u := known()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		o.using--
		p.tidy()
		return nil, err
	}
	p.tidy()
	i := slices.IndexFunc(o.idle, func(l *lease) bool { return u != users{} && l.users == u })
	o.out++
	if i < 0 {
		o.trim(p.most)
		return p.open(), nil
	}
	l := o.idle[i]
	o.idle = slices.Delete(o.idle, i, i+1)
	return l, nil
}

// give takes a lease back. It is kept for requests of its users, if it has any.
func (p *leases) give(origin credential.Space, l *lease) {
	l.held.Store(false)
	p.mu.Lock()
	o := p.origins[origin]
	o.using--
	o.out--
	<-o.slots
	if l.users != (users{}) && l.alive() {
		o.idle = append(o.idle, l)
		l = nil
	}
	p.tidy()
	p.mu.Unlock()
	if l != nil {
		l.CloseIdleConnections()
	}
}

// trim closes of the idle ones what is, with those in use, beyond the most. leases.mu is held.
func (o *originLeases) trim(most int) {
	n := max(0, min(len(o.idle), len(o.idle)+o.out-most))
	for _, l := range o.idle[:n] {
		l.CloseIdleConnections()
	}
	o.idle = slices.Delete(o.idle, 0, n)
}

// tidy forgets what has ended. p.mu is held.
func (p *leases) tidy() {
	for origin, o := range p.origins {
		o.idle = slices.DeleteFunc(o.idle, func(l *lease) bool { return !l.alive() })
		if o.using == 0 && len(o.idle) == 0 {
			delete(p.origins, origin)
		}
	}
}

// closeIdle closes those that no request uses.
func (p *leases) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.origins {
		for _, l := range o.idle {
			l.CloseIdleConnections()
		}
		o.idle = nil
	}
	p.tidy()
}

// leased is a response's body: its end is the lease's.
type leased struct {
	io.ReadCloser
	once sync.Once
	end  func()
}

func (b *leased) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.once.Do(b.end)
	}
	return n, err
}

func (b *leased) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(b.end)
	return err
}

type leaseKey struct{}

func withLease(ctx context.Context, l *lease) context.Context {
	return context.WithValue(ctx, leaseKey{}, l)
}

func leaseOf(ctx context.Context) *lease {
	l, _ := ctx.Value(leaseKey{}).(*lease)
	return l
}
