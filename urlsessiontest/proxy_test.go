package urlsessiontest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

// through is the server's client by way of a proxy.
func through(t *testing.T, srv *Server, proxy string, user *url.Userinfo) *http.Client {
	t.Helper()
	u, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	u.User = user
	client := srv.Client()
	client.Transport.(*http.Transport).Proxy = http.ProxyURL(u)
	return client
}

func TestProxy(t *testing.T) {
	plain, secure := newServer(t), newServer(t, WithTLS(ValidCertificate))
	for name, c := range map[string]struct {
		srv    *Server
		url    string
		socks  bool
		kind   string
		target string
	}{
		"http":    {plain, "http://made-up.test/f", false, "http", "http://made-up.test/f"},
		"connect": {secure, "https://made-up.test/f", false, "connect", "made-up.test:443"},
		"socks5":  {plain, "http://made-up.test/f", true, "socks5", "made-up.test:80"},
		"IPv4":    {plain, "http://127.0.0.9/f", true, "socks5", "127.0.0.9:80"},
		"IPv6":    {plain, "http://[::9]:81/f", true, "socks5", "[::9]:81"},
		"TLS":     {secure, "https://made-up.test/f", true, "socks5", "made-up.test:443"},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := NewProxy(ProxyDial(c.srv.DialContext), ProxyCredentials("ann", "s3cret:x"))
			defer proxy.Close()
			address := proxy.URL
			if c.socks {
				address = proxy.SOCKS
			}
			for i, user := range []*url.Userinfo{nil, url.UserPassword("ann", "wrong"), url.UserPassword("ann", "s3cret:x")} {
				client := through(t, c.srv, address, user)
				resp, body, err := fetch(client, c.url)
				client.CloseIdleConnections()
				if i == 2 && (err != nil || body != content(file)) {
					t.Errorf("%d bytes, %v", len(body), err)
				}
				if i < 2 && err == nil && resp.StatusCode != 407 {
					t.Errorf("refused: %v", resp)
				}
			}
			seen := proxy.Requests()
			if len(seen) != 3 || !seen[0].Refused || !seen[1].Refused || seen[1].User != "ann" {
				t.Fatalf("%+v", seen)
			}
			if r := seen[2]; r.Refused || r.Kind != c.kind || r.Target != c.target || r.User != "ann" || c.socks != (r.Header == nil) {
				t.Errorf("%+v", r)
			}
		})
	}
	for _, r := range append(plain.Requests(), secure.Requests()...) {
		for field := range r.Header {
			if strings.HasPrefix(field, "Proxy-") {
				t.Errorf("%s reached the origin", field)
			}
		}
	}
}

func TestProxyWithoutCredentialsAndWithoutOrigin(t *testing.T) {
	srv := newServer(t)
	proxy := NewProxy()
	defer proxy.Close()
	for _, address := range []string{proxy.URL, proxy.SOCKS} {
		client := through(t, srv, address, nil)
		// The environment's rule for loopback is not ProxyURL's.
		if _, body, err := fetch(client, srv.URL+"/f"); err != nil || body != content(file) {
			t.Errorf("%s: %v", address, err)
		}
		resp, _, err := fetch(client, "http://127.0.0.1:1/")
		if err == nil && resp.StatusCode != 502 {
			t.Errorf("%s: dead origin: %v", address, resp)
		}
	}
	if n := len(proxy.Requests()); n != 4 {
		t.Errorf("%d requests", n)
	}
}

func TestProxyCloseEndsTunnels(t *testing.T) {
	srv := newServer(t, WithTLS(ValidCertificate))
	gate := NewGate()
	srv.Script("/f", HoldAt(AtBody(10), gate))
	proxy := NewProxy()
	failed := make(chan error, 1)
	go func() {
		_, _, err := fetch(through(t, srv, proxy.URL, nil), srv.URL+"/f")
		failed <- err
	}()
	if err := gate.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	proxy.Close()
	if err := <-failed; err == nil {
		t.Error("the tunnel outlives its proxy")
	}
}
