package transport

import (
	"context"
	"net"
	"net/url"
	"strconv"

	"golang.org/x/net/proxy"

	"github.com/urlsession/urlsession/internal/credential"
)

// socks makes connections through a SOCKS5 proxy (RFC 1928, 1929), as net/http does, whose errors it has.
func socks(dial dialer, by *url.URL) dialer {
	var auth *proxy.Auth
	if by.User != nil {
		password, _ := by.User.Password()
		auth = &proxy.Auth{User: by.User.Username(), Password: password}
	}
	at := credential.Proxy(by)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		made := &once{dial: dial}
		d, err := proxy.SOCKS5("tcp", net.JoinHostPort(at.Host, strconv.Itoa(at.Port)), auth, made)
		if err == nil {
			_, err = d.(proxy.ContextDialer).DialContext(ctx, network, addr)
		}
		if err != nil {
			return nil, err
		}
		return made.conn, nil
	}
}

// once keeps the connection that it makes, which the proxy package wraps.
type once struct {
	dial dialer
	conn net.Conn
}

func (o *once) Dial(network, addr string) (net.Conn, error) {
	return o.DialContext(context.Background(), network, addr)
}

func (o *once) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := o.dial(ctx, network, addr)
	o.conn = c
	return c, err
}
