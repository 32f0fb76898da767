package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/task"
	origin "github.com/urlsession/urlsession/urlsessiontest"
)

// secureProxy is the URL of a proxy that is spoken to by TLS.
func secureProxy(t *testing.T, proxy *origin.Proxy, config *tls.Config) string {
	t.Helper()
	return "https://" + serveRaw(t, func(raw net.Conn) {
		c := tls.Server(raw, config)
		defer c.Close()
		if c.HandshakeContext(t.Context()) != nil {
			return
		}
		to, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(proxy.URL, "http://"))
		if err != nil {
			return
		}
		defer to.Close()
		go func() {
			io.Copy(to, c)
			to.Close()
		}()
		io.Copy(c, to)
	})
}

// With and without credentials, for servers of both schemes.
func TestSecureProxy(t *testing.T) {
	proxy := origin.NewProxy(origin.ProxyCredentials("u", "secret"))
	defer proxy.Close()
	eachJudge(t, "", trusted(), func(t *testing.T, o TLS) {
		via := secureProxy(t, proxy, serverTLS())
		for _, secure := range []bool{false, true} {
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Proxy-Authorization") != "" {
					t.Error("the proxy's credentials came to the server")
				}
				io.WriteString(w, r.Proto)
			}))
			srv.Config.ErrorLog = quiet()
			want := "HTTP/1.1"
			if secure {
				srv.TLS, srv.EnableHTTP2, want = serverTLS(), true, "HTTP/2.0"
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			for user, ok := range map[string]bool{"": false, "u:wrongsecret@": false, "u:secret@": true} {
				tr := newTransport(t, Options{TLS: o, Proxy: Proxy{URL: strings.Replace(via, "://", "://"+user, 1)}})
				for range 2 { // the second over what was made for the first
					_, body, err := fetch(tr, get(t, srv.URL))
					if !ok {
						if e := wantCode(t, err, task.AuthenticationRequired); e.Status != http.StatusProxyAuthRequired {
							t.Errorf("%v: status %d", e, e.Status)
						}
					} else if err != nil || string(body) != want {
						t.Errorf("%s as %q: %s, %v", srv.URL, user, body, err)
					}
				}
				tr.CloseIdleConnections()
			}
		}
	})
}

// What is wrong between us and a proxy has the codes that it has of a server.
func TestSecureProxyCodes(t *testing.T) {
	proxy := origin.NewProxy()
	defer proxy.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	now := time.Now()
	ca := newAuthority(t, "the authority")
	other := newAuthority(t, "another authority")
	hour := func(a authority, name string, from int) tls.Certificate {
		return a.issue(t, name, now.Add(time.Duration(from)*time.Hour), now.Add(time.Duration(from+2)*time.Hour)).certificate
	}
	valid := hour(ca, "127.0.0.1", -1)
	client, stranger := hour(ca, "client", -1), hour(other, "stranger", -1)
	asks := func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool }
	for _, c := range []struct {
		name   string
		proxy  tls.Certificate
		change func(*tls.Config)
		client []tls.Certificate
		code   task.Code // 0: success
	}{
		{"valid", valid, nil, nil, 0},
		{"expired", hour(ca, "127.0.0.1", -3), nil, nil, task.CertificateBadDate},
		{"not yet valid", hour(ca, "127.0.0.1", 1), nil, nil, task.CertificateNotYetValid},
		{"wrong host", hour(ca, "127.0.0.2", -1), nil, nil, task.CertificateUntrusted},
		{"unknown root", hour(other, "127.0.0.1", -1), nil, nil, task.CertificateUnknownRoot},
		{"TLS 1.1", valid, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }, nil, task.SecureConnectionFailed},
		{"no client certificate", valid, asks, nil, task.ClientCertRequired},
		{"client certificate accepted", valid, asks, []tls.Certificate{client}, 0},
		{"client certificate refused", valid, asks, []tls.Certificate{stranger}, task.ClientCertRejected},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			config := &tls.Config{Certificates: []tls.Certificate{c.proxy}, MinVersion: version, MaxVersion: version}
			if c.change != nil {
				c.change(config)
			}
			via := secureProxy(t, proxy, config)
			for _, url := range []string{"https://127.0.0.1:1/", plain.URL} {
				eachJudge(t, c.name+", "+url[:5], TLS{Roots: ca.pool, Certificates: c.client}, func(t *testing.T, o TLS) {
					tr := newTransport(t, Options{TLS: o, Proxy: Proxy{URL: via}})
					defer tr.CloseIdleConnections()
					_, _, err := fetch(tr, get(t, url))
					switch {
					case c.code != 0:
						if e := wantCode(t, err, c.code); !strings.Contains(e.Error(), via) && e.Unsent {
							t.Errorf("%v does not name the proxy", e)
						}
					case url == plain.URL:
						if err != nil {
							t.Error(err)
						}
					default: // the proxy cannot reach it, and says so
						wantCode(t, err, task.CannotConnect)
					}
				})
			}
		}
	}
}

// The peers of every way to a server, as Trust and Choose are told them.
func TestTrustIsToldWhoThePeerIs(t *testing.T) {
	proxy := origin.NewProxy(origin.ProxyDial(func(ctx context.Context, network, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, atHome(addr))
	}))
	defer proxy.Close()
	config := serverTLS()
	config.ClientAuth = tls.RequestClientCert
	via := secureProxy(t, proxy, config)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = quiet()
	srv.TLS = config.Clone()
	var named atomic.Value
	srv.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		named.Store(hello.ServerName)
		return nil, nil
	}
	srv.StartTLS()
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	_, proxyPort, _ := net.SplitHostPort(strings.TrimPrefix(via, "https://"))

	byAddress, byName := srv.URL, "https://Host.TEST:"+port
	for _, c := range []struct {
		proxy, url string
		peers      []string
	}{
		{"", byAddress, []string{"https://127.0.0.1:" + port}},
		{"", byName, []string{"https://host.test:" + port}},
		{proxy.URL, byAddress, []string{"https://127.0.0.1:" + port}},
		{proxy.URL, byName, []string{"https://host.test:" + port}},
		{proxy.SOCKS, byAddress, []string{"https://127.0.0.1:" + port}},
		{proxy.SOCKS, byName, []string{"https://host.test:" + port}},
		{via, byAddress, []string{"proxy https://127.0.0.1:" + proxyPort, "https://127.0.0.1:" + port}},
		{via, byName, []string{"proxy https://127.0.0.1:" + proxyPort, "https://host.test:" + port}},
		{strings.Replace(via, "127.0.0.1", "proxy.test", 1), byName, []string{"proxy https://proxy.test:" + proxyPort, "https://host.test:" + port}},
		{via, plain.URL, []string{"proxy https://127.0.0.1:" + proxyPort}},
		{"", plain.URL, nil},
	} {
		var mu sync.Mutex
		var asked, chosen []string
		o := trusted()
		o.Trust = func(_ context.Context, peer credential.Space, chain []*x509.Certificate, found error) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, peer.String())
			if wrong := strings.HasSuffix(peer.Host, ".test"); wrong != (found != nil) || len(chain) != 1 {
				t.Errorf("%s, of %d certificates: found %v", peer, len(chain), found)
			}
			return nil
		}
		o.Choose = func(_ context.Context, peer credential.Space, _ *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			chosen = append(chosen, peer.String())
			return nil, nil
		}
		tr := newTransport(t, Options{TLS: o, Proxy: Proxy{URL: c.proxy}, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, atHome(addr))
		}})
		if _, _, err := fetch(tr, get(t, c.url)); err != nil {
			t.Errorf("%s by %q: %v", c.url, c.proxy, err)
		}
		tr.CloseIdleConnections()
		if sni, want := named.Load(), strings.ToLower(get(t, c.url).URL.Hostname()); c.url == byName && sni != want || c.url == byAddress && sni != "" {
			t.Errorf("%s by %q: the server was asked for the name %q", c.url, c.proxy, sni)
		}
		if !slices.Equal(asked, c.peers) || !slices.Equal(chosen, c.peers) {
			t.Errorf("%s by %q: trusted were %q, and chosen for %q; want %q", c.url, c.proxy, asked, chosen, c.peers)
		}
	}
}

// atHome is the address of a name of .test.
func atHome(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if strings.HasSuffix(strings.ToLower(host), ".test") {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func TestTrustDecides(t *testing.T) {
	declined := &task.Error{Code: task.UserCancelledAuth, Err: errors.New("declined")}
	for _, c := range []struct {
		handshake origin.Handshake
		found     task.Code // 0: nothing
		answer    func(found error) error
		code      task.Code // 0: success
	}{
		{origin.ValidCertificate, 0, func(found error) error { return found }, 0},
		{origin.ValidCertificate, 0, func(error) error { return errors.New("not this one") }, task.CertificateUntrusted},
		{origin.ValidCertificate, 0, func(error) error { return declined }, task.UserCancelledAuth},
		{origin.ExpiredCertificate, task.CertificateBadDate, func(found error) error { return found }, task.CertificateBadDate},
		{origin.ExpiredCertificate, task.CertificateBadDate, func(error) error { return nil }, 0},
		{origin.NotYetValidCertificate, task.CertificateNotYetValid, func(error) error { return nil }, 0},
		{origin.WrongHostCertificate, task.CertificateUntrusted, func(error) error { return nil }, 0},
		{origin.WrongHostCertificate, task.CertificateUntrusted, func(error) error { return declined }, task.UserCancelledAuth},
		{origin.SelfSignedCertificate, task.CertificateUnknownRoot, func(error) error { return nil }, 0},
		{origin.MissingIntermediate, task.CertificateUnknownRoot, func(error) error { return nil }, 0},
	} {
		srv := origin.NewServer(origin.WithTLS(c.handshake))
		srv.Publish("/", origin.Resource{Content: origin.Bytes("hello")})
		calls := 0
		tr := newTransport(t, Options{TLS: TLS{Roots: origin.CAPool(), Trust: func(ctx context.Context, _ credential.Space, _ []*x509.Certificate, found error) error {
			calls++
			if code, _ := tlsCode(cmpNil(found)); code != c.found {
				t.Errorf("handshake %d: found %v, of code %d", c.handshake, found, code)
			}
			return c.answer(found)
		}}})
		_, _, err := fetch(tr, get(t, srv.URL+"/"))
		if c.code == 0 && err != nil {
			t.Errorf("handshake %d: %v", c.handshake, err)
		}
		if c.code != 0 {
			if e := wantCode(t, err, c.code); !e.Unsent || e.URL != srv.URL+"/" || e.Op != "GET" {
				t.Errorf("%+v", e)
			}
		}
		if _, _, err := fetch(tr, get(t, srv.URL+"/")); err == nil && calls != 1 {
			t.Errorf("handshake %d: %d calls for one connection", c.handshake, calls)
		}
		if c.code != 0 && len(srv.Requests()) != 0 {
			t.Errorf("handshake %d: the server was asked", c.handshake)
		}
		tr.CloseIdleConnections()
		srv.Close()
	}
}

func cmpNil(err error) error {
	if err == nil {
		return errors.New("nothing")
	}
	return err
}

// A ticket resumes a session without certificates: trust that was withdrawn meanwhile does not come back with it.
func TestTrustOfAResumedSession(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		resumed := make(chan bool, 10)
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { resumed <- r.TLS.DidResume }))
		srv.Config.ErrorLog = quiet()
		srv.TLS = serverTLS()
		srv.TLS.MinVersion, srv.TLS.MaxVersion = version, version
		srv.StartTLS()
		trust, chains := true, []int(nil)
		o := trusted()
		o.Trust = func(_ context.Context, _ credential.Space, chain []*x509.Certificate, found error) error {
			chains = append(chains, len(chain))
			if found != nil {
				t.Errorf("found %v", found)
			}
			if !trust {
				return errors.New("no longer")
			}
			return nil
		}
		tr := newTransport(t, Options{TLS: o})
		for _, want := range []bool{false, true} {
			if _, _, err := fetch(tr, get(t, srv.URL)); err != nil {
				t.Fatal(err)
			}
			if got := <-resumed; got != want {
				t.Errorf("TLS %x: resumed %v, want %v", version, got, want)
			}
			tr.CloseIdleConnections()
		}
		trust = false
		e := wantCode(t, second3(fetch(tr, get(t, srv.URL))), task.CertificateUntrusted)
		if !e.Unsent || !slices.Equal(chains, []int{1, 1, 1}) {
			t.Errorf("Unsent %v; chains of %v certificates", e.Unsent, chains)
		}
		srv.Close()
	}
}

func TestChoose(t *testing.T) {
	good, bad := origin.ClientIdentity(), origin.WrongClientIdentity()
	declined := &task.Error{Code: task.UserCancelledAuth}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		srv.Config.ErrorLog = quiet()
		srv.TLS = serverTLS()
		srv.TLS.ClientAuth, srv.TLS.ClientCAs = tls.RequireAndVerifyClientCert, origin.CAPool()
		srv.TLS.MinVersion, srv.TLS.MaxVersion = version, version
		srv.StartTLS()
		for name, c := range map[string]struct {
			ours   []tls.Certificate
			chosen *tls.Certificate
			err    error
			asked  bool
			code   task.Code // 0: success
		}{
			"one that fits is there":       {[]tls.Certificate{bad, good}, &bad, nil, false, 0},
			"the right one":                {nil, &good, nil, true, 0},
			"in place of one":              {[]tls.Certificate{bad}, &good, nil, true, 0},
			"a wrong one":                  {nil, &bad, nil, true, task.ClientCertRejected},
			"as if not asked":              {nil, nil, nil, true, task.ClientCertRequired},
			"as if not asked, ours is bad": {[]tls.Certificate{bad}, nil, nil, true, task.ClientCertRejected},
			"none":                         {[]tls.Certificate{bad}, new(tls.Certificate), nil, true, task.ClientCertRequired},
			"declined":                     {nil, nil, declined, true, task.UserCancelledAuth},
			"an error":                     {nil, nil, errors.New("the device is gone"), true, task.SecureConnectionFailed},
		} {
			asked := false
			o := trusted()
			o.Certificates = c.ours
			o.Choose = func(_ context.Context, _ credential.Space, info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				if len(info.AcceptableCAs) != 1 {
					t.Errorf("%s: authorities %q", name, info.AcceptableCAs)
				}
				return c.chosen, c.err
			}
			tr := newTransport(t, Options{TLS: o})
			_, _, err := fetch(tr, get(t, srv.URL))
			if c.code != 0 {
				wantCode(t, err, c.code)
			} else if err != nil {
				t.Errorf("TLS %x, %s: %v", version, name, err)
			}
			if asked != c.asked {
				t.Errorf("TLS %x, %s: asked %v", version, name, asked)
			}
			tr.CloseIdleConnections()
		}
		srv.Close()
	}
}

// A request that may not go by HTTP/2 gets a connection of HTTP/1.1 where servers are judged, too; all others HTTP/2.
func TestJudgedUpgrade(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	srv.Config.ErrorLog = quiet()
	srv.TLS, srv.EnableHTTP2 = serverTLS(), true
	srv.StartTLS()
	defer srv.Close()
	eachJudge(t, "", trusted(), func(t *testing.T, o TLS) {
		tr := newTransport(t, Options{TLS: o})
		defer tr.CloseIdleConnections()
		for _, want := range []string{"HTTP/2.0", "HTTP/1.1", "HTTP/2.0"} {
			req := get(t, srv.URL)
			if want == "HTTP/1.1" {
				req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
			}
			if _, body, err := fetch(tr, req); err != nil || string(body) != want {
				t.Errorf("%s, %v; want %s", body, err, want)
			}
		}
	})
}

// A server that stalls in the midst of a handshake does not keep its host's places. Of one that is judged the request's end
// ends it.
func TestStalledHandshake(t *testing.T) {
	came := make(chan struct{}, 9)
	addr := serveRaw(t, func(c net.Conn) {
		came <- struct{}{}
		io.Copy(io.Discard, c)
	})
	for _, proxy := range []string{"", "https://" + addr} {
		tr := newTransport(t, Options{MaxConnsPerHost: 1, Proxy: Proxy{URL: proxy}, TLS: TLS{
			Trust: func(_ context.Context, _ credential.Space, _ []*x509.Certificate, found error) error { return found },
		}})
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- second(tr.RoundTrip(get(t, "https://"+addr+"/").WithContext(ctx))) }()
			select {
			case <-came:
			case <-time.After(30 * time.Second):
				t.Error("a request waits for a handshake that nobody wants any more")
			}
			cancel()
			wantCode(t, <-done, task.Cancelled)
		}
		tr.CloseIdleConnections()
	}
}

// Of one that is not judged a minute does.
func TestStalledHandshakeTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go io.Copy(io.Discard, theirs)
			return ours, nil
		}})
		wantCode(t, second(tr.RoundTrip(get(t, "https://a.test/"))), task.TimedOut)
	})
}

// What decides on trust may send requests by the context that it gets: they go their own way, not by the tunnel of the request
// that it is asked for, and what becomes of that one is still told exactly.
func TestTrustSendsRequests(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/lose" {
			panic(http.ErrAbortHandler)
		}
	}))
	srv.TLS, srv.Config.ErrorLog = serverTLS(), quiet()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	to := srv.Listener.Addr().String()
	connects := make(chan string, 9)
	proxy := serveRaw(t, func(c net.Conn) { // to one server, whatever it is asked for
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		connects <- req.Host
		up, err := new(net.Dialer).DialContext(t.Context(), "tcp", to)
		if err != nil {
			return
		}
		defer up.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(c, up)
		io.Copy(up, c)
	})
	var tr *Transport
	var asks atomic.Int32
	tr = newTransport(t, Options{
		Proxy: Proxy{URL: "http://" + proxy, Except: "127.0.0.1"},
		TLS: TLS{Insecure: true, Trust: func(ctx context.Context, peer credential.Space, _ []*x509.Certificate, _ error) error {
			if asks.Add(1); peer.Host == "a.test" {
				if _, _, err := fetch(tr, get(t, srv.URL).WithContext(ctx)); err != nil {
					t.Errorf("the request in between: %v", err)
				}
			}
			return nil
		}},
	})
	e := wantCode(t, second3(fetch(tr, put(t, "https://a.test/lose"))), task.ConnectionLost)
	if e.Unsent {
		t.Error("a request that has come is said to be unsent")
	}
	if first := <-connects; len(connects) != 0 || first != "a.test:443" || asks.Load() != 2 {
		t.Errorf("the proxy was asked for %s and %d others, trust %d times", first, len(connects), asks.Load())
	}
}
