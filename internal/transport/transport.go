// Package transport sends one HTTP request and brings back its response: the RoundTripper chain under every task.
//
//	Follow ─▶ Decode ─▶ Transport ─▶ net/http.Transport ─▶ conn
//	redirects  codings    cookies, metrics,    HTTP/1.1, h2,   sendfile
//	                      error codes          proxies, TLS
//
// Each layer is a decorator that may be left out: a download has no Decode, Session.RoundTripper no Follow. What fails
// is a *task.Error from the Transport upwards; what net/http says while a body is read is made one by Classify.
//
// # Codes
//
//	what happened                                                        code
//	not a URL, no host, a method or header that HTTP forbids             BadURL -1000
//	a scheme other than http and https                                   UnsupportedURL -1002
//	the context was cancelled; its deadline passed                       Cancelled -999; TimedOut -1001
//	the name does not exist (NXDOMAIN), or has no address                CannotFindHost -1003
//	the name server failed or did not answer in time                     DNSLookupFailed -1006
//	refused, host unreachable; any failure on the way to a proxy         CannotConnect -1004
//	a proxy that refuses CONNECT                                         CannotConnect -1004, with its status
//	a proxy that wants credentials (407, SOCKS5 method)                  AuthenticationRequired -1013
//	no route: ENETUNREACH, ENETDOWN, also of the name server             NotConnected -1009
//	timeouts of the dialer and the system                                TimedOut -1001
//	reset, broken pipe, EOF too early; h2 RST_STREAM, GOAWAY, dead ping  ConnectionLost -1005
//	bytes that are no HTTP: status line, header syntax, chunk framing,
//	a head beyond 1 MiB, h2 frames out of protocol                       CannotParseResponse -1017
//	HTTP that contradicts itself: unequal Content-Lengths, unknown
//	Transfer-Encoding, a 1xx flood, a 101 unasked, a Location that is no
//	URL                                                                  BadServerResponse -1011
//	certificate expired; not yet valid                                   CertificateBadDate -1201; CertificateNotYetValid -1204
//	certificate of an unknown authority; of another host, or distrusted  CertificateUnknownRoot -1203; CertificateUntrusted -1202
//	the server wants a client certificate; does not accept ours          ClientCertRequired -1206; ClientCertRejected -1205
//	all else in a handshake                                              SecureConnectionFailed -1200
//	a content coding: bad from the start; mid-stream; truncated          CannotDecodeRaw -1015; DecodingFailedMidStream -3006; DecodingFailedAtEnd -3007
//
// # Kept connections
//
// Over HTTP/1.1 whatever comes first after a request is its answer. What a server sends beyond an answer, because it says
// a length that is too short, or in malice, must not pass as the next one: a kept connection is used again only once
// net/http has looked whether anything was left (conn.awaitClean). What arrives later than that cannot be told from an
// answer. net/http tells the standard logger of each connection that it closes for this.
package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

const (
	defaultConnsPerHost = 6
	idleConnTimeout     = 90 * time.Second
	continueTimeout     = time.Second // as curl waits for a 100
	maxHeadBytes        = 1 << 20     // most bytes of a response's head

	// A Read of at least readBuffer bytes goes from the socket straight into its caller's buffer; a small response comes,
	// head and body, with one system call.
	readBuffer = 32 << 10
	// A request's head of at most writeBuffer bytes leaves in one write, after httptrace's WroteHeaders.
	writeBuffer = 16 << 10

	// The default stream window of 4 MiB caps one download at 40 MB/s over a round trip of 100 ms. Memory is taken only by
	// what has arrived and was not read yet.
	h2StreamWindow = 32 << 20
	h2ConnWindow   = 1 << 30
	h2PingAfter    = 30 * time.Second // without a frame
	h2PingTimeout  = 15 * time.Second
)

// Options is what a Transport is made of. The zero value is a Transport without cookies and proxies.
type Options struct {
	MaxConnsPerHost int // 0: 6. Requests above it wait for a connection
	Proxy           Proxy
	TLS             TLS

	Jar          http.CookieJar // nil: no cookies. One with a method Receive is given fields as they came
	SetCookies   bool           // send the jar's cookies
	AcceptPolicy AcceptPolicy   // which of the received ones enter the jar

	// Dial makes connections, to proxies too. Nil: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Transport is the base of the chain: it sends a request and returns its response as it came. It follows no redirect
// and decodes nothing. It is safe for concurrent use, and one serves a whole session, whose connections it pools.
type Transport struct {
	base  *http.Transport
	opts  Options
	proxy func(*url.URL) (*url.URL, error) // nil: none
}

// New makes a Transport. Its errors are about the proxy's URL.
func New(o Options) (*Transport, error) {
	if o.MaxConnsPerHost <= 0 {
		o.MaxConnsPerHost = defaultConnsPerHost
	}
	proxy, err := o.Proxy.resolver()
	if err != nil {
		return nil, err
	}
	t := &Transport{opts: o, proxy: proxy}
	t.base = &http.Transport{
		DialContext:            dialContext(o.Dial),
		TLSClientConfig:        o.TLS.config(),
		Protocols:              new(http.Protocols),
		DisableCompression:     true,
		MaxConnsPerHost:        o.MaxConnsPerHost,
		MaxIdleConnsPerHost:    o.MaxConnsPerHost,
		IdleConnTimeout:        idleConnTimeout,
		ExpectContinueTimeout:  continueTimeout,
		MaxResponseHeaderBytes: maxHeadBytes,
		ReadBufferSize:         readBuffer,
		WriteBufferSize:        writeBuffer,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream:     h2StreamWindow,
			MaxReceiveBufferPerConnection: h2ConnWindow,
			SendPingTimeout:               h2PingAfter,
			PingTimeout:                   h2PingTimeout,
		},
		OnProxyConnectResponse: connectResponse,
	}
	t.base.Protocols.SetHTTP1(true)
	t.base.Protocols.SetHTTP2(true)
	if proxy != nil {
		t.base.Proxy = func(r *http.Request) (*url.URL, error) { return proxy(r.URL) }
	}
	return t, nil
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// RoundTrip sends one request. It adds the jar's cookies and the URL's userinfo as Basic credentials, unless the
// request has an Authorization of its own; req is not changed. Every error is a *task.Error.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := checkURL(req.URL); err != nil {
		closeBody(req)
		return nil, failure(req, err, true)
	}
	ctx := req.Context()
	m := metricsOf(ctx)
	if m == nil {
		ctx, m = Trace(ctx, nil)
	}
	tx := m.request(req)
	resp, err := t.base.RoundTrip(t.outgoing(ctx, req))
	if err == nil && resp.StatusCode == http.StatusProxyAuthRequired && req.URL.Scheme == "http" {
		if p := t.proxyFor(req.URL); p != nil {
			resp.Body.Close()
			err = proxyWantsCredentials(p)
		}
	}
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols && req.Header.Get("Upgrade") == "" {
		resp.Body.Close()
		err = fault(task.BadServerResponse, "it switches protocols (101), which was not asked for")
	}
	if err != nil {
		return nil, t.fail(req, m, tx, err)
	}
	resp.Request = req
	t.keepCookies(req, resp)
	m.response(tx, resp)
	return resp, nil
}

// outgoing is req as it is sent: with ctx, cookies and credentials.
func (t *Transport) outgoing(ctx context.Context, req *http.Request) *http.Request {
	cookies := t.cookiesFor(req)
	basic := req.URL.User != nil && req.Header.Get("Authorization") == ""
	query := escapeQuery(req.URL.RawQuery)
	escaped := query != req.URL.RawQuery
	if ctx == req.Context() && len(cookies) == 0 && !basic && !escaped {
		return req
	}
	out := req.WithContext(ctx)
	if escaped {
		u := *req.URL
		u.RawQuery = query
		out.URL = &u
	}
	if len(cookies) == 0 && !basic {
		return out
	}
	out.Header = cloneHeader(req.Header)
	if len(cookies) > 0 {
		t.addCookies(out, cookies)
	}
	if basic {
		password, _ := req.URL.User.Password()
		out.SetBasicAuth(req.URL.User.Username(), password)
	}
	return out
}

// fail makes the error of a request that got no response: only here it is known what the connection was about.
func (t *Transport) fail(req *http.Request, m *Metrics, tx *transaction, err error) *task.Error {
	s := m.failed(tx)
	unsent := !s.gotConn || !s.wroteHead && !s.h2 && headSize(req) < writeBuffer
	if _, ours := errors.AsType[*task.Error](err); ours || ended(err) {
		return failure(req, err, unsent)
	}
	e := failure(req, err, unsent)
	if s.handshakeFailed {
		e.Code = handshakeCode(err)
	}
	if code, ok := clientCertCode(err, s.certRequested, s.certSent || !s.certRequested && len(t.opts.TLS.Certificates) > 0); ok {
		e.Code = code
	}
	if s.gotConn {
		if e.Code == task.CannotParseResponse && s.cut() && !s.h2 {
			e.Code = task.ConnectionLost
		}
		return e
	}
	p := t.proxyFor(req.URL)
	if p != nil {
		e.Err = fmt.Errorf("through proxy %s: %w", task.RedactURL(p), e.Err)
	}
	switch e.Code {
	case task.ConnectionLost, task.CannotParseResponse, task.BadServerResponse:
		if p != nil && !s.handshakeFailed { // the proxy's answer to CONNECT
			e.Code = task.CannotConnect
		}
	case task.Unknown:
		e.Code = task.CannotConnect
	}
	return e
}

// failure is Classify for a request, with what is known of its bytes. It is a new Error.
func failure(req *http.Request, err error, unsent bool) *task.Error {
	e := *Classify(req.Method, "", err)
	if e.URL == "" && req.URL != nil {
		e.URL = task.RedactURL(req.URL)
	}
	if e.Op == "" {
		e.Op = methodOf(req)
	}
	e.Unsent = unsent || refused(err)
	return &e
}

func (t *Transport) proxyFor(u *url.URL) *url.URL {
	if t.proxy == nil {
		return nil
	}
	p, _ := t.proxy(u)
	return p
}

// checkURL finds what no request can be sent to.
func checkURL(u *url.URL) error {
	switch {
	case u == nil:
		return fault(task.BadURL, "there is none")
	case u.Scheme != "http" && u.Scheme != "https":
		return fault(task.UnsupportedURL, "%q: use http or https", u.Scheme)
	case u.Hostname() == "":
		return fault(task.BadURL, "it names no host")
	}
	return nil
}

// escapeQuery percent-encodes what a query must not have, as browsers do (WHATWG URL §4.4): net/url does so for paths, but
// lets a space in a query pass, which would end the URL in the request line.
func escapeQuery(raw string) string {
	special := func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' }
	n := 0
	for i := range len(raw) {
		if special(raw[i]) {
			n++
		}
	}
	if n == 0 {
		return raw
	}
	out := make([]byte, 0, len(raw)+2*n)
	for i := range len(raw) {
		if c := raw[i]; special(c) {
			out = fmt.Appendf(out, "%%%02X", c)
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

// fault is an Error whose operation and URL are its caller's to fill in.
func fault(code task.Code, format string, args ...any) error {
	return &task.Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// headSize is about how many bytes a request's head measures.
func headSize(req *http.Request) int {
	n := len(req.Method) + len(req.URL.Path) + len(req.URL.RawQuery) + 512
	for name, values := range req.Header {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}

func cloneHeader(h http.Header) http.Header {
	if h == nil {
		return make(http.Header)
	}
	return h.Clone()
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// drain reads what is left of a small body and closes it, so that its connection can be used again.
func drain(resp *http.Response, most int64) {
	if resp.ContentLength <= most {
		io.CopyN(io.Discard, resp.Body, most)
	}
	resp.Body.Close()
}
