package urlsessiontest

import (
	"bufio"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Proxy is a forward proxy that records what it is asked for. One port speaks
// HTTP (absolute-form requests and CONNECT) and SOCKS5 (RFC 1928, 1929).
type Proxy struct {
	URL   string // http://127.0.0.1:PORT
	SOCKS string // socks5://127.0.0.1:PORT, the same port

	conns     *acceptor
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	transport *http.Transport
	locked    bool
	user      string
	password  string

	mu       sync.Mutex
	requests []ProxyRequest
}

// ProxyRequest is one request to the proxy.
type ProxyRequest struct {
	Kind    string      // "http", "connect" or "socks5"
	Method  string      // of the HTTP request; empty with SOCKS5
	Target  string      // http: the URL; else host:port, the name as the client gave it
	User    string      // whom the credentials name; empty without
	Refused bool        // for want of the right credentials
	Header  http.Header // of the HTTP request; nil with SOCKS5
}

// ProxyOption is a choice at a proxy's start.
type ProxyOption func(*Proxy)

// ProxyCredentials asks every client for these: by 407 and Basic, or SOCKS5's
// user name and password.
func ProxyCredentials(user, password string) ProxyOption {
	return func(p *Proxy) { p.locked, p.user, p.password = true, user, password }
}

// ProxyDial makes the proxy's own connections, in place of [net.Dialer]: with a
// server's DialContext every made-up host name leads there.
func ProxyDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) ProxyOption {
	return func(p *Proxy) { p.dial = dial }
}

// NewProxy starts a proxy on a free port of 127.0.0.1. It panics if the machine
// has none.
func NewProxy(opts ...ProxyOption) *Proxy {
	p := &Proxy{conns: newAcceptor(), dial: new(net.Dialer).DialContext}
	for _, opt := range opts {
		opt(p)
	}
	p.transport = &http.Transport{DialContext: p.dial, DisableCompression: true}
	addr := p.conns.listen(p.serve).String()
	p.URL, p.SOCKS = "http://"+addr, "socks5://"+addr
	return p
}

// Close ends every connection through the proxy and returns when none of its
// goroutines is left.
func (p *Proxy) Close() {
	p.conns.close()
	p.transport.CloseIdleConnections()
}

// Requests is what has been asked, oldest first.
func (p *Proxy) Requests() []ProxyRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

func (p *Proxy) record(r ProxyRequest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, r)
}

// allows reports whether these are the right credentials, or none are wanted.
func (p *Proxy) allows(user, password string) bool {
	return !p.locked ||
		subtle.ConstantTimeCompare([]byte(user+"\x00"+password), []byte(p.user+"\x00"+p.password)) == 1
}

func (p *Proxy) serve(c net.Conn) {
	br := bufio.NewReader(c)
	first, err := br.Peek(1)
	if err != nil {
		return
	}
	if first[0] == socksVersion {
		p.serveSOCKS(c, br)
		return
	}
	for p.serveHTTP(c, br) {
	}
}

// serveHTTP serves one request and reports whether another may follow.
func (p *Proxy) serveHTTP(c net.Conn, br *bufio.Reader) bool {
	req, err := http.ReadRequest(br)
	if err != nil {
		return false
	}
	user, password := basicCredentials(req.Header.Get("Proxy-Authorization"))
	seen := ProxyRequest{Kind: "http", Method: req.Method, Target: req.RequestURI,
		User: user, Refused: !p.allows(user, password), Header: req.Header.Clone()}
	if req.Method == http.MethodConnect {
		seen.Kind = "connect"
	}
	p.record(seen)
	switch {
	case seen.Refused:
		io.Copy(io.Discard, req.Body)
		_, err := io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n"+
			"Proxy-Authenticate: Basic realm=\"proxy\"\r\nContent-Length: 0\r\n\r\n")
		return err == nil && !req.Close
	case seen.Kind == "connect":
		to, err := p.dial(p.conns.ctx, "tcp", req.Host)
		if err != nil {
			io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
			return false
		}
		if _, err := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			to.Close()
			return false
		}
		p.tunnel(c, br, to)
		return false
	case !req.URL.IsAbs():
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		return false
	}
	return p.forward(c, req)
}

// forward passes one absolute-form request on.
func (p *Proxy) forward(c net.Conn, req *http.Request) bool {
	ctx, cancel := context.WithCancel(p.conns.ctx)
	defer cancel()
	out := req.WithContext(ctx)
	out.RequestURI = ""
	out.Header = req.Header.Clone()
	// Fields of this connection (RFC 9110 §7.6.1).
	for list := range strings.SplitSeq(req.Header.Get("Connection"), ",") {
		out.Header.Del(strings.TrimSpace(list))
	}
	for _, name := range []string{"Connection", "Proxy-Connection", "Proxy-Authorization", "Keep-Alive", "Te"} {
		out.Header.Del(name)
	}
	resp, err := p.transport.RoundTrip(out)
	if err != nil {
		io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		return false
	}
	defer resp.Body.Close()
	return resp.Write(c) == nil && !req.Close && !resp.Close
}

// tunnel passes bytes both ways until either side ends; closing both ends the
// copy of the other direction.
func (p *Proxy) tunnel(c net.Conn, br *bufio.Reader, to net.Conn) {
	stop := context.AfterFunc(p.conns.ctx, func() { to.Close() })
	defer stop()
	var up sync.WaitGroup
	up.Go(func() {
		io.Copy(to, br)
		endWrite(to)
	})
	io.Copy(c, to)
	endWrite(c)
	to.Close()
	c.Close()
	up.Wait()
}

func endWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		return
	}
	c.Close()
}

// basicCredentials reads Basic credentials (RFC 7617).
func basicCredentials(field string) (user, password string) {
	scheme, value, _ := strings.Cut(field, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", ""
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	if err != nil {
		return "", ""
	}
	user, password, _ = strings.Cut(string(plain), ":")
	return user, password
}
