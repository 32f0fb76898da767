package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/task"
)

// connectTimeLimit bounds a proxy's answer to one CONNECT, and a handshake that is not judged: the making of a connection may
// outlive its request, and holds one of its host's places.
const connectTimeLimit = time.Minute

// tunnel is how a request of https comes through its proxy (RFC 9110 §9.3.6). The connection's making finds it in its context. It
// may outlive the request, and then serves another one to the same origin.
type tunnel struct {
	proxy *url.URL // http or https
	own   string   // the request's own Proxy-Authorization: it is for CONNECT, and nothing that the server is to see
	// next is where a connection's making goes on: the proxy had asked, and the request has the answer. It is taken once.
	next atomic.Pointer[turn]
}

// turn is an Exchange with a proxy, and what it wants to be done.
type turn struct {
	exchange *credential.Exchange
	step     credential.Step
}

// A proxyAsks ends the making of a connection where somebody must be asked, which is the request's to do.
type proxyAsks struct{ turn }

func (*proxyAsks) Error() string { return "the proxy wants to know who asks" }

func newTunnel(proxy *url.URL, req *http.Request) *tunnel {
	return &tunnel{proxy: proxy, own: req.Header.Get("Proxy-Authorization")}
}

type tunnelKey struct{}

func withTunnel(ctx context.Context, t *tunnel) context.Context {
	return context.WithValue(ctx, tunnelKey{}, t)
}

func tunnelOf(ctx context.Context) *tunnel {
	t, _ := ctx.Value(tunnelKey{}).(*tunnel)
	return t
}

// tunnelling makes connections by dial, and through the tunnel that their context has.
func (t *Transport) tunnelling(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		tun := tunnelOf(ctx)
		if tun == nil {
			return dial(ctx, network, addr)
		}
		d := &drill{
			t: t, tunnel: tun,
			dial: func() (net.Conn, error) { return t.dialProxy(ctx, dial, tun.proxy) },
			req: (&http.Request{
				Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr,
				Header: http.Header{"User-Agent": {""}}, // none
			}).WithContext(ctx),
		}
		if tun.own != "" {
			d.req.Header.Set("Proxy-Authorization", tun.own)
		}
		c, err := d.through(ctx)
		if err != nil {
			d.close()
			return nil, err
		}
		return c, nil
	}
}

// dialProxy makes a connection to a proxy, with TLS to one of https.
func (t *Transport) dialProxy(ctx context.Context, dial dialer, proxy *url.URL) (net.Conn, error) {
	at := credential.Proxy(proxy)
	c, err := dial(ctx, "tcp", net.JoinHostPort(at.Host, strconv.Itoa(at.Port)))
	if err == nil && proxy.Scheme == "https" {
		c, err = t.secure(ctx, c, at)
	}
	if err != nil {
		return nil, &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err} // as net/http has it
	}
	return c, nil
}

// secure is c with TLS to the proxy at a place.
func (t *Transport) secure(ctx context.Context, c net.Conn, at credential.Space) (net.Conn, error) {
	if t.judge != nil {
		return t.judge.secure(ctx, t.toProxies, c, at)
	}
	config := t.toProxies.Clone()
	config.NextProtos, config.ServerName = []string{"http/1.1"}, at.Host
	ctx, cancel := context.WithTimeout(ctx, connectTimeLimit)
	defer cancel()
	return handshake(ctx, tls.Client(c, config))
}

// handshake makes a connection's, which is closed where that fails.
func handshake(ctx context.Context, out *tls.Conn) (net.Conn, error) {
	m := metricsOf(ctx)
	if m != nil {
		m.tlsStart()
	}
	err := out.HandshakeContext(ctx)
	if m != nil {
		m.tlsDone(out.ConnectionState(), err)
	}
	if err != nil {
		out.NetConn().Close()
		return nil, err
	}
	return out, nil
}

// drill makes one tunnel. It holds the connection to the proxy until that is through.
type drill struct {
	t      *Transport
	tunnel *tunnel
	dial   func() (net.Conn, error)
	req    *http.Request // CONNECT

	conn net.Conn // nil: it is to be made
	in   *bufio.Reader
}

func (d *drill) close() {
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
}

// through is the connection to the origin.
func (d *drill) through(ctx context.Context) (net.Conn, error) {
	x, step := d.begin(ctx)
	for {
		again := d.conn != nil
		if !again {
			if step.SameConnection {
				if step = x.Lost(); step.Action != credential.Send {
					return nil, step.Err
				}
			}
			c, err := d.dial()
			if err != nil {
				return nil, err
			}
			d.conn = c
		}
		resp, err := d.ask(ctx, step.Value)
		if err != nil {
			d.close()
			if again && ctx.Err() == nil { // a proxy may close a connection on which it has refused something
				continue
			}
			return nil, err
		}
		if step, err = d.next(ctx, x, resp); err != nil {
			return nil, err
		}
		if step.Action == credential.Deliver {
			return d.open(), nil
		}
		if !d.drain(resp) {
			d.close()
		}
	}
}

// begin is the Exchange with the proxy, nil without an Authenticator, and what it sends first.
func (d *drill) begin(ctx context.Context) (*credential.Exchange, credential.Step) {
	if d.t.opts.Authenticator == nil {
		if d.tunnel.own != "" {
			return nil, credential.Step{}
		}
		return nil, credential.Step{Value: userinfo(d.tunnel.proxy)}
	}
	if turn := d.tunnel.next.Swap(nil); turn != nil {
		return turn.exchange, turn.step
	}
	x := d.t.opts.Authenticator.BeginProxy(d.tunnel.proxy, d.req)
	prepare(ctx, x)
	return x, credential.Step{Value: x.Authorize()}
}

// ask sends CONNECT and reads the head of the answer.
func (d *drill) ask(ctx context.Context, value credential.Secret) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeLimit)
	defer cancel()
	c := d.conn
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	fail := func(err error) (*http.Response, error) {
		if !stop() {
			err = ctx.Err()
		}
		return nil, err
	}
	req := d.req
	if !value.IsZero() {
		req = withHeader(req)
		req.Header.Set("Proxy-Authorization", value.Reveal())
	}
	if err := req.Write(c); err != nil {
		return fail(err)
	}
	head := &io.LimitedReader{R: c, N: maxHeadBytes}
	d.in = bufio.NewReader(head)
	resp, err := http.ReadResponse(d.in, req)
	for err == nil && resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
		resp, err = http.ReadResponse(d.in, req)
	}
	if err != nil && head.N == 0 {
		err = fmt.Errorf("%w: the proxy's answer to CONNECT has a head beyond %d bytes", task.CannotConnect, maxHeadBytes)
	}
	if err != nil {
		return fail(err)
	}
	if !stop() {
		return nil, ctx.Err()
	}
	head.N = refusalLimit
	if m := metricsOf(ctx); m != nil {
		m.moved()
	}
	return resp, nil
}

// next judges an answer: Deliver opens the tunnel, Send sends CONNECT again.
func (d *drill) next(ctx context.Context, x *credential.Exchange, resp *http.Response) (credential.Step, error) {
	var step credential.Step
	if x != nil {
		step = x.Next(resp)
	}
	switch step.Action {
	case credential.Send:
		return step, nil
	case credential.Ask, credential.Refresh:
		return step, &proxyAsks{turn{x, step}}
	case credential.Fail:
		return step, refusalError(step.Err, resp.StatusCode)
	}
	d.t.keep(ctx, step)
	switch {
	case resp.StatusCode/100 == 2:
		return step, nil
	case resp.StatusCode == http.StatusProxyAuthRequired:
		return step, proxyWantsCredentials(d.tunnel.proxy)
	}
	return step, &task.Error{
		Op: "connect through proxy", URL: task.RedactURL(d.tunnel.proxy), Code: task.CannotConnect, Status: resp.StatusCode,
		Err: errors.New("the proxy refuses CONNECT: " + resp.Status), Unsent: true,
	}
}

// drain reads a refusal to its end, and reports whether the connection can be gone on with.
func (d *drill) drain(resp *http.Response) bool {
	if resp.Close {
		return false
	}
	d.conn.SetReadDeadline(time.Now().Add(lastWordTimeout))
	_, err := io.Copy(io.Discard, resp.Body)
	d.conn.SetReadDeadline(time.Time{})
	return err == nil && d.in.Buffered() == 0
}

// open is the connection once it leads to the origin. What has come after the proxy's answer is the origin's, or is
// meant to pass for that: TLS will tell.
func (d *drill) open() net.Conn {
	n := d.in.Buffered()
	if n == 0 {
		return d.conn
	}
	early, _ := d.in.Peek(n)
	return &begun{d.conn, early}
}

// begun is a connection of which something was read.
type begun struct {
	net.Conn
	early []byte
}

func (c *begun) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
