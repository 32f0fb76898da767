// Package transport sends one HTTP request and brings back its response: the RoundTripper chain under every task.
//
//	Follow ─▶ Decode ─▶ Transport ──────────────▶ httpcache ─▶ wire ─▶ net/http.Transport ─▶ conn
//	redirects  codings    errand: who asks (401, 407)  RFC 9111   │        HTTP/1.1, h2,         sendfile
//	                      send: cookies, metrics,                 │        TLS                   tunnels (CONNECT)
//	                      error codes                             └▶ a lease's own
//	                                                                 HTTP/1.1, for NTLM
//
// Of https there are two pools: one that speaks HTTP/2 where the host does, and one of HTTP/1.1 alone, for requests that are
// not to share a connection (Apart). All else they have in common.
//
// Each layer is a decorator that may be left out: a download has no Decode, Session.RoundTripper no Follow. What fails
// is a *task.Error from the Transport upwards; what net/http says while a body is read is made one by Classify.
//
// # Who asks
//
// With an Authenticator a request that has something to show, or that is refused, is an errand: it is sent, each time as a
// transaction of its own, until neither the origin nor a proxy of plain http refuses it any more, or nothing new can be shown;
// then the refusal is the response, or a proxy's an error. credential.Exchange decides, here is only the sending. Whoever is asked (WithAsker) keeps no connection waiting.
//
// A proxy of https asks while the tunnel through it is made, which is in the making of a connection: that may outlive the
// request, so it asks nobody. It ends with a proxyAsks, the errand asks, and the next making goes on where that one ended.
//
// NTLM proves who a connection is. An errand that does leases one, and requests of the same users have it after that.
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
//	a proxy that wants credentials (407, SOCKS5 method), and takes none
//	that there are; an answer to a challenge that does not fit it        AuthenticationRequired -1013
//	whoever is asked for credentials cancels                             UserCancelledAuth -1012
//	a refused request, a body that can be read only once                 BodyStreamExhausted -1021
//	NTLM, and each connection is closed in the midst                     ConnectionLost -1005
//	no route: ENETUNREACH, ENETDOWN, also of the name server             NotConnected -1009
//	timeouts of the dialer and the system                                TimedOut -1001
//	reset, broken pipe, EOF too early; h2 RST_STREAM, GOAWAY, dead ping  ConnectionLost -1005
//	bytes that are no HTTP: status line, header syntax, chunk framing,
//	a head beyond 1 MiB, h2 frames out of protocol                       CannotParseResponse -1017
//	HTTP that contradicts itself: unequal Content-Lengths, unknown
//	Transfer-Encoding, a 1xx flood, a 101 unasked, a Location that is no
//	URL; a server that proves by Digest not to know the password         BadServerResponse -1011
//	certificate expired; not yet valid                                   CertificateBadDate -1201; CertificateNotYetValid -1204
//	certificate of an unknown authority; of another host, or distrusted  CertificateUnknownRoot -1203; CertificateUntrusted -1202
//	a host that shows none of the keys that it is pinned to              CertificateUntrusted -1202
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
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/httpcache"
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
	MaxConnsPerHost int // 0: 6. Requests above it wait for a connection; those Apart are counted by themselves
	Proxy           Proxy
	TLS             TLS

	Jar          http.CookieJar // nil: no cookies. One with a method Receive is given fields as they came
	SetCookies   bool           // send the jar's cookies
	AcceptPolicy AcceptPolicy   // which of the received ones enter the jar

	// Authenticator proves to servers and proxies who asks; nil: only by what a request's own header and its URL have, and
	// a proxy's URL. Keep stores a credential once a server has taken it; its error is said to nobody, since the response
	// is there. Nil: nothing is stored.
	Authenticator *credential.Authenticator
	Keep          func(context.Context, credential.Stored) error

	// Cache keeps responses; nil: there is none, and nothing is found where httpcache.WithPolicy asks for what is stored.
	// WillCache is httpcache's.
	Cache     *httpcache.Storage
	WillCache func(*http.Response) bool

	// Dial makes connections, to proxies too. Nil: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Transport is the base of the chain: it sends a request and returns its response as it came. It follows no redirect
// and decodes nothing. It is safe for concurrent use, and one serves a whole session, whose connections it pools.
type Transport struct {
	base      *http.Transport
	apart     *http.Transport // see Apart
	leases    leases
	cache     *httpcache.Cache // over wire
	dial      dialer
	toProxies *tls.Config
	opts      Options
	proxy     func(*url.URL) (*url.URL, error) // nil: none
	judge     *judge                           // nil: crypto/tls judges alone
}

// New makes a Transport. Its errors are about the proxy's URL and the pins.
func New(o Options) (*Transport, error) {
	if o.MaxConnsPerHost <= 0 {
		o.MaxConnsPerHost = defaultConnsPerHost
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: connectTimeout}).DialContext
	}
	proxy, err := o.Proxy.resolver()
	if err != nil {
		return nil, err
	}
	t := &Transport{opts: o, proxy: proxy, toProxies: o.TLS.config()}
	if t.judge, err = newJudge(&t.opts.TLS); err != nil {
		return nil, err
	}
	t.dial = dialContext(t.tunnelling(o.Dial))
	t.base = t.newBase(t.dial, o.MaxConnsPerHost)
	t.base.Protocols.SetHTTP2(true)
	t.base.HTTP2 = &http.HTTP2Config{
		MaxReceiveBufferPerStream:     h2StreamWindow,
		MaxReceiveBufferPerConnection: h2ConnWindow,
		SendPingTimeout:               h2PingAfter,
		PingTimeout:                   h2PingTimeout,
	}
	t.apart = t.newApart()
	t.cache = t.newCache()
	t.leases.most = o.MaxConnsPerHost
	t.leases.open = func() *lease {
		l := &lease{}
		l.Transport = t.newBase(l.dial(t.dial), 1)
		return l
	}
	return t, nil
}

// newBase is a pool of connections of HTTP/1.1.
func (t *Transport) newBase(dial dialer, perHost int) *http.Transport {
	b := &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        t.opts.TLS.config(),
		Protocols:              new(http.Protocols),
		DisableCompression:     true,
		MaxConnsPerHost:        perHost,
		MaxIdleConnsPerHost:    perHost,
		IdleConnTimeout:        idleConnTimeout,
		TLSHandshakeTimeout:    connectTimeLimit,
		ExpectContinueTimeout:  continueTimeout,
		MaxResponseHeaderBytes: maxHeadBytes,
		ReadBufferSize:         readBuffer,
		WriteBufferSize:        writeBuffer,
	}
	b.Protocols.SetHTTP1(true)
	if t.proxy != nil {
		b.Proxy = func(r *http.Request) (*url.URL, error) { return t.seenProxy(r.URL) }
	}
	if t.judge != nil {
		t.judge.govern(b)
	}
	return b
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() {
	t.base.CloseIdleConnections()
	t.apart.CloseIdleConnections()
	t.leases.closeIdle()
}

// Close ends what goes on behind the requests, waits for that, and closes idle connections. Requests go on.
func (t *Transport) Close() {
	t.cache.Close()
	t.CloseIdleConnections()
}

// Forget drops what was learnt of users: later requests are not authenticated unasked. It closes idle connections too, which
// may be a user's. It is part of a session's reset.
func (t *Transport) Forget() {
	if a := t.opts.Authenticator; a != nil {
		a.Forget()
	}
	t.CloseIdleConnections()
}

// RoundTrip sends one request. It adds the jar's cookies and, unless the request has an Authorization of its own, the
// URL's userinfo as Basic credentials or what the Authenticator has; req is not changed. Every error is a *task.Error, but
// for one that an Asker returned.
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
	out := prepared(ctx, req)
	var resp *http.Response
	var err error
	if t.opts.Authenticator != nil {
		resp, err = t.authenticate(out, m)
	} else {
		resp, err = t.send(t.tunnelled(out), m, false)
	}
	if err != nil {
		return nil, err
	}
	resp.Request = req
	if resp.StatusCode == http.StatusProxyAuthRequired && req.URL.Scheme == "http" {
		if p := t.proxyFor(req.URL); isHTTP(p) {
			resp.Body.Close()
			return nil, failure(req, proxyWantsCredentials(p), true)
		}
	}
	return resp, nil
}

// tunnelled is req with the tunnel that it goes through, if it does.
func (t *Transport) tunnelled(req *http.Request) *http.Request {
	if t.proxy == nil || req.URL.Scheme != "https" {
		return req
	}
	p := t.proxyFor(req.URL)
	if !isHTTP(p) {
		return req
	}
	return req.WithContext(withTunnel(req.Context(), newTunnel(p, req)))
}

// send sends req once, with the jar's cookies: a task.Transaction. own says that req's header is nobody else's.
func (t *Transport) send(req *http.Request, m *Metrics, own bool) (*http.Response, error) {
	tx := m.request(req)
	resp, err := t.sender(req).RoundTrip(t.outgoing(req, own))
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols && req.Header.Get("Upgrade") == "" {
		resp.Body.Close()
		err = fault(task.BadServerResponse, "it switches protocols (101), which was not asked for")
	}
	if err != nil {
		return nil, t.fail(req, m, tx, err)
	}
	t.keepCookies(req, resp)
	m.response(tx, resp)
	return resp, nil
}

// prepared is req with ctx, and a query that can be sent.
func prepared(ctx context.Context, req *http.Request) *http.Request {
	query := escapeQuery(req.URL.RawQuery)
	if ctx == req.Context() && query == req.URL.RawQuery {
		return req
	}
	out := req.WithContext(ctx)
	if query != req.URL.RawQuery {
		u := *req.URL
		u.RawQuery = query
		out.URL = &u
	}
	return out
}

// outgoing is req as it is sent: with cookies and, without an Authenticator, the URL's credentials; and without what is the
// business of the proxy that it is tunnelled through. own says that req's header may be changed for that.
func (t *Transport) outgoing(req *http.Request, own bool) *http.Request {
	cookies := t.cookiesFor(req)
	basic := t.opts.Authenticator == nil && req.URL.User != nil && req.Header.Get("Authorization") == ""
	forProxy := req.Header["Proxy-Authorization"] != nil && tunnelOf(req.Context()) != nil
	if len(cookies) == 0 && !basic && !forProxy {
		return req
	}
	out := req
	if !own {
		out = withHeader(req)
	}
	if len(cookies) > 0 {
		t.addCookies(out, cookies)
	}
	if forProxy {
		out.Header.Del("Proxy-Authorization")
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
	if s.conn != nil {
		err = s.conn.lastWord(err)
	}
	if _, asks := errors.AsType[*proxyAsks](err); asks {
		m.refused(tx, http.StatusProxyAuthRequired)
	}
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
	p := t.proxyFor(req.URL)
	_, alert := remoteAlert(err)
	if p != nil && (!s.gotConn || alert && req.URL.Scheme == "http") {
		e.Err = fmt.Errorf("through proxy %s: %w", task.RedactURL(p), e.Err)
	}
	if s.gotConn {
		if e.Code == task.CannotParseResponse && s.cut() && !s.h2 {
			e.Code = task.ConnectionLost
		}
		return e
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
