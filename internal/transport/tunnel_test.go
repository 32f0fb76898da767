package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/credential/credentialtest"
	"github.com/urlsession/urlsession/internal/task"
	origin "github.com/urlsession/urlsession/urlsessiontest"
)

// proxyCase is a proxy's gate, and who it lets through.
type proxyCase struct {
	name string
	gate credentialtest.Gate
	cred credential.Credential
	// What the proxy sees of a PUT through it the first time, and again.
	plain, plainAgain, connect string
}

func proxyCases() []proxyCase {
	simple := func(name string, gate credentialtest.Gate, scheme string) proxyCase {
		return proxyCase{name, gate, alice("p"), "-4 " + scheme + "4", scheme + "4", "-0 " + scheme + "0"}
	}
	return []proxyCase{
		simple("Basic", credentialtest.Basic("alice", "p"), "Basic"),
		simple("Digest MD5", credentialtest.Digest("MD5", "alice", "p"), "Digest"),
		simple("Digest SHA-256", credentialtest.Digest("SHA-256", "alice", "p"), "Digest"),
		{"NTLM", credentialtest.NTLM("NTLM"), ntlmUser(), "-4 NTLM0 NTLM4", "-4", "-0 NTLM0 NTLM0"},
		{"Negotiate", credentialtest.NTLM("Negotiate"), ntlmUser(), "-4 Negotiate0 Negotiate4", "-4", "-0 Negotiate0 Negotiate0"},
	}
}

// schemes are what a proxy has seen: the scheme and the bytes of each request's body.
func schemes(s *credentialtest.Server) string {
	var list []string
	for _, line := range s.Seen() {
		f := strings.Fields(line)
		list = append(list, f[2]+f[3])
	}
	return strings.Join(list, " ")
}

// echo is an origin that asks nobody.
func echo(t *testing.T, secure bool) *credentialtest.Server {
	t.Helper()
	s := credentialtest.NewServer(func(*http.Request, string) (string, bool) { return "", true }, nil)
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func TestProxiesAsk(t *testing.T) {
	for _, c := range proxyCases() {
		for _, secureProxy := range []bool{false, true} {
			proxy := credentialtest.NewProxy(c.gate)
			if secureProxy {
				proxy.StartTLS()
			} else {
				proxy.Start()
			}
			t.Cleanup(proxy.Close)
			at, err := url.Parse(proxy.URL)
			if err != nil {
				t.Fatal(err)
			}
			known := credential.New()
			if err := known.Set(t.Context(), credential.Proxy(at), c.cred); err != nil {
				t.Fatal(err)
			}
			withUser := *at
			withUser.User = url.UserPassword(c.cred.User, c.cred.Password.Reveal())
			for _, secure := range []bool{false, true} {
				srv := echo(t, secure)
				for from, o := range map[string]Options{
					"stored":   {Proxy: Proxy{URL: at.String()}, Authenticator: credential.NewAuthenticator(known, credential.Policy{})},
					"userinfo": {Proxy: Proxy{URL: withUser.String()}, Authenticator: credential.NewAuthenticator(nil, credential.Policy{})},
					"asked":    {Proxy: Proxy{URL: at.String()}, Authenticator: credential.NewAuthenticator(nil, credential.Policy{})},
				} {
					name := fmt.Sprintf("%s, proxy %s, to %s, %s", c.name, at.Scheme, srv.URL, from)
					o.TLS.Insecure = true
					var kept, asked int
					o.Keep = func(_ context.Context, s credential.Stored) error {
						if !s.Space.Proxy || !s.Credential.Equal(c.cred) {
							t.Errorf("%s: keeps %v", name, s)
						}
						kept++
						return nil
					}
					tr := newTransport(t, o)
					do := func() {
						t.Helper()
						req := asking(put(t, srv.URL+"/"), func(_ context.Context, ch credential.Challenge) (credential.Answer, error) {
							if asked++; !ch.Space.Proxy || ch.Space.Host != "127.0.0.1" {
								t.Errorf("%s: asked for %v", name, ch.Space)
							}
							return credential.Answer{Disposition: credential.Use, Credential: c.cred}, nil
						})
						resp, body, err := fetch(tr, req)
						if err != nil || string(body) != "body" {
							t.Fatalf("%s: %q, %v", name, body, err)
						}
						if secure && resp.Proto != "HTTP/2.0" {
							t.Errorf("%s: by %s", name, resp.Proto)
						}
					}
					do()
					first, then := c.plain, c.plainAgain
					if secure {
						first, then = c.connect, ""
					}
					if from == "userinfo" && strings.HasPrefix(c.name, "Basic") { // at once
						first = strings.Fields(first)[1]
					} else if from == "userinfo" {
						first = strings.Replace(first, "-", "Basic", 1)
					}
					if from == "userinfo" && strings.HasPrefix(c.plainAgain, "-") && !secure {
						then = strings.Replace(c.plain, "-", "Basic", 1) // a URL's user leaves no connection behind
					}
					if got := schemes(proxy); got != first && !(from == "asked" && secure) {
						t.Errorf("%s: the proxy has seen %q, want %q", name, got, first)
					}
					do()
					if got := schemes(proxy); got != then {
						t.Errorf("%s: then %q, want %q", name, got, then)
					}
					if want := map[bool]int{true: 1}[from == "asked"]; kept != want || asked != want {
						t.Errorf("%s: kept %d, asked %d, want %d", name, kept, asked, want)
					}
					for _, line := range srv.Seen() {
						if !strings.HasSuffix(line, " - 4") {
							t.Errorf("%s: the origin has seen %s", name, line)
						}
					}
					tr.CloseIdleConnections()
				}
			}
		}
	}
}

// A proxy and an origin that both ask get what is theirs, whatever each is asked by.
func TestProxyAndOriginAsk(t *testing.T) {
	for _, p := range proxyCases() {
		proxy := start(t, credentialtest.NewProxy(p.gate))
		for _, o := range proxyCases() {
			if strings.HasPrefix(o.name, "N") && strings.HasPrefix(p.name, "N") {
				continue // who a connection is can be proven to one of the two only, over this proxy
			}
			if strings.HasPrefix(o.name, "N") {
				continue // and this proxy gives each request any connection to the origin
			}
			srv := start(t, credentialtest.NewServer(o.gate, nil))
			answers := 0
			tr := newTransport(t, Options{Proxy: Proxy{URL: proxy.URL}, Authenticator: credential.NewAuthenticator(nil, credential.Policy{})})
			req := asking(put(t, srv.URL+"/"), func(_ context.Context, ch credential.Challenge) (credential.Answer, error) {
				answers++
				c := o.cred
				if ch.Space.Proxy {
					c = p.cred
				}
				c.Persistence = credential.None // it holds for all sendings of the one request
				return credential.Answer{Disposition: credential.Use, Credential: c}, nil
			})
			resp, body, err := fetch(tr, req)
			if err != nil || resp.StatusCode != 200 || string(body) != "body" || answers != 2 {
				t.Errorf("proxy %s, origin %s: %v, %q, %v, asked %d times", p.name, o.name, resp, body, err, answers)
			}
			proxy.Seen()
		}
	}
}

// What ends at a proxy that asks.
func TestProxyThatIsNotAnswered(t *testing.T) {
	proxy := start(t, credentialtest.NewProxy(credentialtest.Basic("alice", "p")))
	parked := errors.New("parked")
	for _, url := range []string{"http://127.0.0.1:1/", "https://127.0.0.1:1/"} {
		for name, c := range map[string]struct {
			ask  Asker
			code task.Code
		}{
			"nobody there": {nil, task.AuthenticationRequired},
			"default": {func(context.Context, credential.Challenge) (credential.Answer, error) {
				return credential.Answer{}, nil
			}, task.AuthenticationRequired},
			"cancel": {func(context.Context, credential.Challenge) (credential.Answer, error) {
				return credential.Answer{Disposition: credential.Cancel}, nil
			}, task.UserCancelledAuth},
			"always wrong": {func(context.Context, credential.Challenge) (credential.Answer, error) {
				return credential.Answer{Disposition: credential.Use, Credential: alice("secret")}, nil
			}, task.AuthenticationRequired},
			"its own error": {func(context.Context, credential.Challenge) (credential.Answer, error) {
				return credential.Answer{}, parked
			}, 0},
		} {
			tr := newTransport(t, Options{Proxy: Proxy{URL: proxy.URL}, Authenticator: credential.NewAuthenticator(nil, credential.Policy{})})
			req := put(t, url)
			if c.ask != nil {
				req = asking(req, c.ask)
			}
			ctx, m := Trace(req.Context(), nil)
			_, err := tr.RoundTrip(req.WithContext(ctx))
			if c.code == 0 {
				if err != parked {
					t.Errorf("%s, %s: %v", url, name, err)
				}
				continue
			}
			if e := wantCode(t, err, c.code); !e.Unsent || e.Status != 407 {
				t.Errorf("%s, %s: %+v", url, name, e)
			}
			for _, x := range m.Transactions() {
				if x.Status != 407 && !(strings.HasPrefix(url, "https") && x.Status == 0) {
					t.Errorf("%s, %s: %+v", url, name, x)
				}
			}
		}
	}
}

// What a proxy may do to CONNECT.
func TestTunnel(t *testing.T) {
	srv := echo(t, true)
	pass := func(c net.Conn, first string) {
		to, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			return
		}
		var up sync.WaitGroup
		io.WriteString(c, first)
		up.Go(func() { io.Copy(to, c); to.Close() })
		io.Copy(c, to)
		c.Close()
		up.Wait()
	}
	const granted = "HTTP/1.1 200 OK\r\n\r\n"
	for name, c := range map[string]struct {
		first string
		code  task.Code // 0: it works
	}{
		"granted":         {granted, 0},
		"no content":      {"HTTP/1.1 204 Yes\r\n\r\n", 0},
		"a length":        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 0}, // RFC 9110 §9.3.6: it means nothing
		"after a 100":     {"HTTP/1.1 100 Continue\r\n\r\n" + granted, 0},
		"HTTP/1.0":        {"HTTP/1.0 200 OK\r\n\r\n", 0},
		"bytes too early": {granted + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", task.SecureConnectionFailed},
		"switches":        {"HTTP/1.1 101 Switching Protocols\r\n\r\n", task.CannotConnect},
		"redirects":       {"HTTP/1.1 302 Found\r\nLocation: https://evil.test/\r\n\r\n", task.CannotConnect},
		"endless head":    {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 1100), task.CannotConnect},
		"garbage":         {"\x16\x03\x01\r\n\r\n", task.CannotConnect},
		"407 alone":       {"HTTP/1.1 407 Who\r\n\r\n", task.AuthenticationRequired},
	} {
		addr := serveRaw(t, func(conn net.Conn) {
			req, err := http.ReadRequest(bufio.NewReader(conn))
			if err != nil {
				return
			}
			if req.Method != "CONNECT" || req.RequestURI != req.Host || req.Header.Get("User-Agent") != "" || len(req.Header) != 0 {
				t.Errorf("the proxy is asked %s %s, Host %s, %v", req.Method, req.RequestURI, req.Host, req.Header)
			}
			pass(conn, c.first)
		})
		for _, a := range []*credential.Authenticator{nil, credential.NewAuthenticator(nil, credential.Policy{})} {
			tr := newTransport(t, Options{Proxy: Proxy{URL: "http://" + addr}, TLS: TLS{Insecure: true}, Authenticator: a})
			_, body, err := fetch(tr, put(t, srv.URL+"/"))
			if c.code == 0 {
				if err != nil || string(body) != "body" {
					t.Errorf("%s: %q, %v", name, body, err)
				}
			} else if e := wantCode(t, err, c.code); !e.Unsent || !strings.Contains(e.Error(), addr) {
				t.Errorf("%s: %+v", name, e)
			}
			tr.CloseIdleConnections()
		}
	}
}

// An origin that speaks first, as no TLS server does, is not lost: its bytes come before those that follow.
func TestTunnelLosesNothing(t *testing.T) {
	addr := serveRaw(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nfirst ")
			io.WriteString(c, "and second")
		}
	})
	tr := newTransport(t, Options{})
	at, _ := url.Parse("http://" + addr)
	c, err := tr.dial(withTunnel(t.Context(), &tunnel{proxy: at}), "tcp", "[2001:db8::1]:443")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); string(got) != "first and second" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTunnelToAnAddress(t *testing.T) {
	asked := make(chan string, 1)
	addr := serveRaw(t, func(c net.Conn) {
		if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			asked <- req.RequestURI + " " + req.Host
		}
	})
	tr := newTransport(t, Options{Proxy: Proxy{URL: "http://" + addr}})
	for url, want := range map[string]string{
		"https://[2001:db8::1]/":      "[2001:db8::1]:443 [2001:db8::1]:443",
		"https://[2001:db8::1]:8443/": "[2001:db8::1]:8443 [2001:db8::1]:8443",
		"https://bücher.example/":     "xn--bcher-kva.example:443 xn--bcher-kva.example:443",
	} {
		wantCode(t, second(tr.RoundTrip(get(t, url))), task.CannotConnect)
		if got := <-asked; got != want {
			t.Errorf("%s: the proxy is asked for %s, want %s", url, got, want)
		}
	}
}

// A request that is given up ends its wait for a proxy that says nothing, and so does the closing of what is idle.
func TestTunnelIsGivenUp(t *testing.T) {
	came := make(chan struct{})
	gone := make(chan struct{})
	addr := serveRaw(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			close(came)
			io.Copy(io.Discard, c)
			close(gone)
		}
	})
	tr := newTransport(t, Options{Proxy: Proxy{URL: "http://" + addr}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- second(tr.RoundTrip(get(t, "https://a.test/").WithContext(ctx))) }()
	<-came
	cancel()
	wantCode(t, <-done, task.Cancelled)
	tr.CloseIdleConnections()
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Error("the connection to the proxy stays open")
	}
}

// A proxy that closes after its refusal gets what it wants by a new connection.
func TestProxyThatCloses(t *testing.T) {
	srv := echo(t, true)
	proxy := credentialtest.NewProxy(credentialtest.Basic("alice", "p"))
	handler := proxy.Config.Handler
	var says atomic.Bool
	proxy.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") == "" {
			if says.Load() {
				w.Header().Set("Connection", "close")
			} else { // it says nothing of it
				c, _, _ := w.(http.Hijacker).Hijack()
				io.WriteString(c, "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")
				c.Close()
				return
			}
		}
		handler.ServeHTTP(w, r)
	})
	start(t, proxy)
	at, _ := url.Parse(proxy.URL)
	for _, say := range []bool{true, false} {
		says.Store(say)
		known := credential.New()
		if err := known.Set(t.Context(), credential.Proxy(at), alice("p")); err != nil {
			t.Fatal(err)
		}
		tr := newTransport(t, Options{Proxy: Proxy{URL: proxy.URL}, TLS: TLS{Insecure: true},
			Authenticator: credential.NewAuthenticator(known, credential.Policy{})})
		if _, body, err := fetch(tr, put(t, srv.URL+"/")); err != nil || string(body) != "body" {
			t.Errorf("says %v: %q, %v", say, body, err)
		}
		tr.CloseIdleConnections()
	}
}

func TestSOCKSByStorage(t *testing.T) {
	proxy := origin.NewProxy(origin.ProxyCredentials("alice", "p"))
	t.Cleanup(proxy.Close)
	srv := echo(t, false)
	at, _ := url.Parse(proxy.SOCKS)
	known := credential.New()
	if err := known.Set(t.Context(), credential.Proxy(at), alice("p")); err != nil {
		t.Fatal(err)
	}
	a := credential.NewAuthenticator(known, credential.Policy{})
	tr := newTransport(t, Options{Proxy: Proxy{URL: proxy.SOCKS}, Authenticator: a})
	if _, body, err := fetch(tr, put(t, srv.URL+"/")); err != nil || string(body) != "body" {
		t.Errorf("%q, %v", body, err)
	}
	tr = newTransport(t, Options{Proxy: Proxy{URL: strings.Replace(proxy.SOCKS, "//", "//bob:secret@", 1)}, Authenticator: a})
	wantCode(t, second(tr.RoundTrip(put(t, srv.URL+"/"))), task.AuthenticationRequired)
}

// A Proxy-Authorization of the request's own goes to the proxy, and not through the tunnel to the server.
func TestOwnProxyAuthorization(t *testing.T) {
	proxy := origin.NewProxy(origin.ProxyCredentials("u", "secret"))
	t.Cleanup(proxy.Close)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "" || r.Header.Get("Mine") != "x" {
			t.Errorf("the server has got %v", r.Header)
		}
	}))
	srv.TLS, srv.Config.ErrorLog = serverTLS(), quiet()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	for _, a := range []*credential.Authenticator{nil, credential.NewAuthenticator(nil, credential.Policy{})} {
		for password, ok := range map[string]bool{"secret": true, "wrongsecret": false} {
			tr := newTransport(t, Options{TLS: TLS{Insecure: true}, Proxy: Proxy{URL: strings.Replace(proxy.URL, "//", "//v:w@", 1)}, Authenticator: a})
			req := get(t, srv.URL)
			req.SetBasicAuth("u", password)
			req.Header = http.Header{"Proxy-Authorization": req.Header["Authorization"], "Mine": {"x"}}
			resp, _, err := fetch(tr, req)
			if !ok {
				wantCode(t, err, task.AuthenticationRequired)
			} else if err != nil || resp.StatusCode != 200 {
				t.Errorf("%v, %v", resp, err)
			}
			if req.Header.Get("Proxy-Authorization") == "" {
				t.Error("the request was changed")
			}
		}
	}
}
