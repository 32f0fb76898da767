package transport

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/net/proxy"

	"github.com/urlsession/urlsession/internal/credential"
)

// tunnelTimeout bounds what a proxy may take to reach a server, as net/http has it.
const tunnelTimeout = time.Minute

// tunnel is a connection to addr through a proxy. Its errors are net/http's, so that they have the same codes.
func (j *judge) tunnel(ctx context.Context, base *http.Transport, by *url.URL, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tunnelTimeout)
	defer cancel()
	at := credential.Proxy(by)
	c, err := base.DialContext(ctx, "tcp", net.JoinHostPort(at.Host, strconv.Itoa(at.Port)))
	if err != nil {
		return nil, &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err}
	}
	switch by.Scheme {
	case "socks5", "socks5h":
		err = socks(ctx, c, by, addr)
	case "https":
		secured := j.secure(ctx, base.TLSClientConfig, c, at)
		if err = handshake(ctx, secured); err != nil {
			err = &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err}
			break
		}
		c = secured
		err = connect(ctx, c, by, addr)
	default:
		err = connect(ctx, c, by, addr)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// handshake is one that net/http does not make, told to the metrics all the same.
func handshake(ctx context.Context, c *tls.Conn) error {
	m := metricsOf(ctx)
	if m == nil {
		return c.HandshakeContext(ctx)
	}
	m.tlsStart()
	err := c.HandshakeContext(ctx)
	m.tlsDone(tls.ConnectionState{}, err)
	return err
}

// connect asks a proxy for a tunnel by CONNECT (RFC 9110 §9.3.6).
func connect(ctx context.Context, c net.Conn, by *url.URL, addr string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: make(http.Header)}
	if by.User != nil {
		password, _ := by.User.Password()
		req.SetBasicAuth(by.User.Username(), password)
		req.Header["Proxy-Authorization"] = req.Header["Authorization"]
		delete(req.Header, "Authorization")
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	err := req.Write(c)
	if err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	// What is read beyond the head is lost: before the client a TLS server says nothing.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, maxHeadBytes)), req)
	if err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	return connectResponse(ctx, by, req, resp)
}

// socks asks a proxy for a tunnel by SOCKS5 (RFC 1928, 1929).
func socks(ctx context.Context, c net.Conn, by *url.URL, addr string) error {
	var auth *proxy.Auth
	if by.User != nil {
		password, _ := by.User.Password()
		auth = &proxy.Auth{User: by.User.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", c.RemoteAddr().String(), auth, made{c})
	if err != nil {
		return err
	}
	_, err = d.(proxy.ContextDialer).DialContext(ctx, "tcp", addr)
	return err
}

// made is a dialer of a connection that there is already.
type made struct{ c net.Conn }

func (m made) Dial(string, string) (net.Conn, error) { return m.c, nil }

func (m made) DialContext(context.Context, string, string) (net.Conn, error) { return m.c, nil }
