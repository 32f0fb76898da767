package transport

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/task"
	origin "github.com/urlsession/urlsession/urlsessiontest"
)

func TestProxy(t *testing.T) { eachJudge(t, "", TLS{Roots: origin.CAPool()}, testProxy) }

func testProxy(t *testing.T, o TLS) {
	for _, credentials := range []bool{false, true} {
		var opts []origin.ProxyOption
		if credentials {
			opts = append(opts, origin.ProxyCredentials("u", "secret"))
		}
		proxy := origin.NewProxy(opts...)
		withUser := func(raw, user string) string { return strings.Replace(raw, "://", "://"+user, 1) }
		for _, secure := range []bool{false, true} {
			var serverOpts []origin.Option
			if secure {
				serverOpts = append(serverOpts, origin.WithTLS(origin.ValidCertificate))
			}
			srv := origin.NewServer(serverOpts...)
			srv.Publish("/", origin.Resource{Content: origin.Bytes("hello")})
			for _, p := range []string{proxy.URL, proxy.SOCKS, strings.Replace(proxy.SOCKS, "socks5:", "socks5h:", 1), strings.TrimPrefix(proxy.URL, "http://")} {
				if credentials && strings.Contains(p, "://") {
					tr := newTransport(t, Options{Proxy: Proxy{URL: p}, TLS: o})
					e := wantCode(t, second(tr.RoundTrip(get(t, srv.URL+"/"))), task.AuthenticationRequired)
					if strings.HasPrefix(p, "http") && e.Status != http.StatusProxyAuthRequired {
						t.Errorf("%v: status %d", e, e.Status)
					}
					tr = newTransport(t, Options{Proxy: Proxy{URL: withUser(p, "u:secret2@")}, TLS: o})
					wantCode(t, second(tr.RoundTrip(get(t, srv.URL+"/"))), task.AuthenticationRequired)
					p = withUser(p, "u:secret@")
				} else if credentials {
					p = "u:secret@" + p
				}
				before := len(proxy.Requests())
				tr := newTransport(t, Options{Proxy: Proxy{URL: p}, TLS: o})
				_, body, err := fetch(tr, get(t, srv.URL+"/"))
				if err != nil || string(body) != "hello" {
					t.Errorf("%s by %s: %q, %v", srv.URL, p, body, err)
				}
				if len(proxy.Requests()) != before+1 {
					t.Errorf("%s by %s: the proxy was not asked", srv.URL, p)
				}
				tr.CloseIdleConnections()
			}
			srv.Close()
		}
		proxy.Close()
	}
}

func TestProxyUnreachable(t *testing.T) { eachJudge(t, "", TLS{}, testProxyUnreachable) }

func testProxyUnreachable(t *testing.T, o TLS) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, scheme := range []string{"http", "https", "socks5"} {
		for _, target := range []string{"http://a.test/", "https://a.test/"} {
			tr := newTransport(t, Options{TLS: o, Proxy: Proxy{URL: scheme + "://u:secret@" + l.Addr().String()}})
			e := wantCode(t, second(tr.RoundTrip(get(t, target))), task.CannotConnect)
			if !e.Unsent || !strings.Contains(e.Error(), scheme+"://"+l.Addr().String()) {
				t.Errorf("%q does not name the proxy, or Unsent is %v", e, e.Unsent)
			}
		}
	}
}

func TestProxyRefusesConnect(t *testing.T) { eachJudge(t, "", TLS{}, testProxyRefusesConnect) }

func testProxyRefusesConnect(t *testing.T, o TLS) {
	for reply, status := range map[string]int{
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n": 403,
		"HTTP/1.1 502 Bad Gateway\r\n\r\n":                    502,
		"":                                                    0,
		"not HTTP\r\n\r\n":                                    0,
	} {
		addr := serveRaw(t, answer(reply))
		tr := newTransport(t, Options{TLS: o, Proxy: Proxy{URL: "http://" + addr}})
		e := wantCode(t, second(tr.RoundTrip(get(t, "https://a.test/"))), task.CannotConnect)
		if e.Status != status || !e.Unsent || !strings.Contains(e.Error(), addr) {
			t.Errorf("%+v", e)
		}
	}
}

func TestProxyEnvironment(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"} {
		t.Setenv(name, "")
		t.Setenv(strings.ToLower(name), "")
	}
	route := func(raw string) string {
		t.Helper()
		f, err := FromEnvironment().resolver()
		if err != nil {
			t.Fatal(err)
		}
		if f == nil {
			return "direct"
		}
		u, _ := url.Parse(raw)
		p, err := f(u)
		if err != nil {
			t.Fatal(err)
		}
		if p == nil {
			return "direct"
		}
		return p.String()
	}
	want := func(raw, proxy string) {
		t.Helper()
		if got := route(raw); got != proxy {
			t.Errorf("%s goes by %s, want %s", raw, got, proxy)
		}
	}
	want("http://a.test", "direct")
	t.Setenv("http_proxy", "p.test:1")
	want("http://a.test", "http://p.test:1")
	want("https://a.test", "direct")
	want("http://127.0.0.1", "direct")
	t.Setenv("HTTPS_PROXY", "https://q.test:2")
	want("https://a.test", "https://q.test:2")
	t.Setenv("NO_PROXY", "a.test,.b.test:8080,10.0.0.0/8")
	want("https://a.test", "direct")
	want("https://sub.a.test", "direct")
	want("https://x.b.test:8080", "direct")
	want("https://x.b.test", "https://q.test:2")
	want("https://10.1.2.3", "direct")
	t.Setenv("REQUEST_METHOD", "GET")
	want("http://c.test", "direct")
	t.Setenv("REQUEST_METHOD", "")
	t.Setenv("http_proxy", "")
	t.Setenv("HTTPS_PROXY", "")
	t.Setenv("ALL_PROXY", "socks5://s.test:3")
	want("http://c.test", "socks5://s.test:3")
	want("https://c.test", "socks5://s.test:3")
}

func TestBadProxies(t *testing.T) {
	for raw, code := range map[string]task.Code{
		"ftp://u:secret@p.test":   task.UnsupportedURL,
		"http://":                 task.BadURL,
		"http://u:secret@:80":     task.BadURL,
		"http://[::1":             task.BadURL,
		"http://u:secret/@p.test": task.BadURL,
		"u:secret@":               task.BadURL,
	} {
		_, err := New(Options{Proxy: Proxy{URL: raw}})
		e, ok := err.(*task.Error)
		if !ok || e.Code != code {
			t.Errorf("%s: %v, want %d", raw, err, code)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q tells a secret", err)
		}
	}
	for raw, want := range map[string]string{
		"": "", "u:secret@p.test:3128": "http://p.test:3128", "socks5://u:secret@p.test": "socks5://p.test",
	} {
		if got := (Proxy{URL: raw}).String(); got != want {
			t.Errorf("%q reads %q, want %q", raw, got, want)
		}
	}
}

// A 407 that an origin says, through a proxy that speaks no HTTP, is a response as any.
func TestOriginThatSaysProxy(t *testing.T) {
	proxy := origin.NewProxy()
	t.Cleanup(proxy.Close)
	addr := serveRaw(t, answer("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 2\r\n\r\nno"))
	for _, a := range []*credential.Authenticator{nil, knowing(t, get(t, "http://"+addr), alice("p"))} {
		tr := newTransport(t, Options{Proxy: Proxy{URL: proxy.SOCKS}, Authenticator: a})
		if resp, body, err := fetch(tr, get(t, "http://"+addr+"/")); err != nil || resp.StatusCode != 407 || string(body) != "no" {
			t.Errorf("%v, %q, %v", resp, body, err)
		}
	}
}
