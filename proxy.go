package urlsession

import "github.com/urlsession/urlsession/internal/transport"

// Proxy says how a session reaches servers: ProxyFromEnvironment (the zero value), ProxyURL or NoProxy.
type Proxy struct {
	mode proxyMode
	url  string
}

type proxyMode int

const (
	proxyEnvironment proxyMode = iota
	proxyURL
	proxyNone
)

// ProxyFromEnvironment goes by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, or the same in small letters, as they are
// when New is called; loopback addresses are always reached directly.
func ProxyFromEnvironment() Proxy { return Proxy{} }

// ProxyURL goes by this proxy alone, whatever the environment says: http, https, socks5 or socks5h (names are resolved by
// the proxy), with a user and password in the URL where it wants them; without a scheme it is http. New refuses what is
// none of these.
func ProxyURL(url string) Proxy { return Proxy{mode: proxyURL, url: url} }

// NoProxy reaches all servers directly, whatever the environment says.
func NoProxy() Proxy { return Proxy{mode: proxyNone} }

// String is "environment", "none", or the proxy's URL without its user and password.
func (p Proxy) String() string {
	switch p.mode {
	case proxyNone:
		return "none"
	case proxyURL:
		return transport.Proxy{URL: p.url}.String()
	}
	return "environment"
}

// resolve makes the proxy plain values, the environment's as they are now. Whether they can be used, a transport says.
func (p Proxy) resolve() (transport.Proxy, error) {
	switch p.mode {
	case proxyNone:
		return transport.Proxy{}, nil
	case proxyURL:
		if p.url == "" {
			return transport.Proxy{}, badField("Proxy", "cannot be used: its URL is empty; write it as http://host:port, or use NoProxy")
		}
		return transport.Proxy{URL: p.url}, nil
	}
	return transport.FromEnvironment(), nil
}
