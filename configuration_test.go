package urlsession

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/urlsessiontest"
)

func TestConfigurationsThatAreRefused(t *testing.T) {
	for field, change := range map[string]func(*Configuration){
		"Configuration was not made":                            func(c *Configuration) { *c = Configuration{} },
		"Configuration.Identifier":                              func(c *Configuration) { c.Identifier = "x" },
		"Configuration.MaximumConnectionsPerHost":               func(c *Configuration) { c.MaximumConnectionsPerHost = -1 },
		"Configuration.MaximumConnectionsPerDownload is -1":     func(c *Configuration) { c.MaximumConnectionsPerDownload = -1 },
		"Configuration.Retries is -2":                           func(c *Configuration) { c.Retries = -2 },
		"Configuration.Retries is -1":                           func(c *Configuration) { c.Retries, c.TimeoutForResource = -1, -1 },
		"Configuration.RateLimit":                               func(c *Configuration) { c.RateLimit = -1 },
		"Configuration.TLSMinimumVersion":                       func(c *Configuration) { c.TLSMinimumVersion = 12 },
		"Configuration.CookieAcceptPolicy":                      func(c *Configuration) { c.CookieAcceptPolicy = 9 },
		"Configuration.ClientCertificates[0]":                   func(c *Configuration) { c.ClientCertificates = make([]tls.Certificate, 1) },
		`Configuration.AdditionalHeaders has a field "`:         func(c *Configuration) { c.AdditionalHeaders = http.Header{"A b": {"x"}} },
		`Configuration.AdditionalHeaders has the field "Range"`: func(c *Configuration) { c.AdditionalHeaders = http.Header{"range": {"bytes=0-1"}} },
		`the field "Content-Length"`:                            func(c *Configuration) { c.AdditionalHeaders = http.Header{"content-length": {"1"}} },
		"Configuration.Proxy cannot be used":                    func(c *Configuration) { c.Proxy = ProxyURL("gopher://u:hunter2@h:1") },
		"Configuration.CookieStorage was not made":              func(c *Configuration) { c.CookieStorage = new(CookieStorage) },
		"Configuration.CredentialStorage was not made":          func(c *Configuration) { c.CredentialStorage = new(CredentialStorage) },
		"Configuration.URLCache was not made":                   func(c *Configuration) { c.URLCache = new(URLCache) },
		"use NoProxy":                                           func(c *Configuration) { c.Proxy = ProxyURL("") },
	} {
		c := Ephemeral()
		change(&c)
		_, err := New(c)
		if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Error(), field) || strings.Contains(e.Error(), "hunter2") {
			t.Errorf("%v; it should name %s", err, field)
		}
	}
	for _, bad := range []string{"http://u:hunter2@h:nope", "http://u:hunter2%zz@h", "http://hunter2:x:y@h:1:2"} {
		c := Ephemeral()
		c.Proxy = ProxyURL(bad)
		if s, err := New(c); err == nil {
			s.Close()
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestConfigurationsAreCopied(t *testing.T) {
	c := Ephemeral()
	c.AdditionalHeaders = http.Header{"x-a": {"1"}}
	c.RootCAs = bytes.Clone(urlsessiontest.CAPEM())
	c.ClientCertificates = []tls.Certificate{urlsessiontest.ClientIdentity()}
	pin := "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	c.Pins = map[string][]string{"example.com": {pin}}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, change := range []*Configuration{&c, new(s.Configuration())} {
		change.AdditionalHeaders["X-A"] = []string{"2"}
		change.RootCAs[0] = 0
		change.ClientCertificates[0] = tls.Certificate{}
		change.Pins["example.com"][0], change.Pins["*"] = "", nil
		got := s.Configuration()
		if len(got.Pins) != 1 || got.Pins["example.com"][0] != pin {
			t.Errorf("a change of a copy reached the session's pins: %v", got.Pins)
		}
		if got.AdditionalHeaders.Get("X-A") != "1" || !bytes.Equal(got.RootCAs, urlsessiontest.CAPEM()) || len(got.ClientCertificates[0].Certificate) == 0 {
			t.Errorf("a change of a copy reached the session: %+v", got)
		}
	}
	if got := s.Configuration(); got.CookieStorage != c.CookieStorage {
		t.Error("the cookie storage is another one")
	}
	// What a session returns makes a session.
	again, err := New(s.Configuration())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestTimeoutsOfThePolicy(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{0: time.Minute, -1: 0, time.Hour: time.Hour} {
		c := Default()
		c.TimeoutForRequest = given
		if got := c.policy().RequestTimeout; got != want {
			t.Errorf("TimeoutForRequest %v is %v, want %v", given, got, want)
		}
	}
	c := Default()
	if p := c.policy(); p.ResourceTimeout != 7*24*time.Hour || p.Retries != 0 || p.Connections != 0 || p.Ask.Redirect || p.Ask.Response || !p.AllowsExpensive || !p.AllowsConstrained || p.ForbidDowngrade {
		t.Errorf("%+v", p)
	}
	c.MaximumConnectionsPerDownload = 3
	if n := c.policy().Connections; n != 3 {
		t.Errorf("a download may take %d connections, want 3", n)
	}
	if c.MaximumConnectionsPerHost != 6 || !c.SetCookies || c.Application == "" || c.CookieStorage == nil || c.TLSMinimumVersion != tls.VersionTLS12 {
		t.Errorf("%+v", c)
	}
}

func TestConfigurationReachesTheTransfer(t *testing.T) {
	secure := urlsessiontest.NewServer(urlsessiontest.WithTLS(urlsessiontest.ValidCertificate))
	defer secure.Close()
	proxy := urlsessiontest.NewProxy()
	defer proxy.Close()
	plain := urlsessiontest.NewServer()
	defer plain.Close()
	secure.Script("/down", urlsessiontest.Redirect(302, plain.URL))

	for name, c := range map[string]struct {
		url    string
		code   Code // 0: success
		change func(*Configuration)
	}{
		"unknown root": {secure.URL, ErrCertificateUnknownRoot, func(*Configuration) {}},
		"root":         {secure.URL, 0, func(c *Configuration) { c.RootCAs = urlsessiontest.CAPEM() }},
		"insecure":     {secure.URL, 0, func(c *Configuration) { c.InsecureSkipVerify = true }},
		"downgrade":    {secure.URL + "/down", ErrRequiresSecureConnection, func(c *Configuration) { c.RootCAs, c.ForbidDowngrade = urlsessiontest.CAPEM(), true }},
		"proxy":        {plain.URL, 0, func(c *Configuration) { c.Proxy = ProxyURL(proxy.URL) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := offline(t, c.change)
			_, _, err := s.Data(t.Context(), Get(c.url))
			if c.code == 0 && err != nil {
				t.Error(err)
			} else if c.code != 0 {
				wantCode(t, err, c.code)
			}
		})
	}
	if len(proxy.Requests()) != 1 {
		t.Errorf("the proxy saw %v", proxy.Requests())
	}
}

func TestTheEnvironmentsProxyIsReadByNew(t *testing.T) {
	t.Setenv("HTTP_PROXY", "gopher://h")
	c := Ephemeral()
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "Configuration.Proxy") {
		t.Errorf("%v", err)
	}
	c.Proxy = NoProxy()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	for p, want := range map[Proxy]string{
		ProxyFromEnvironment(): "environment", NoProxy(): "none", ProxyURL("http://u:hunter2@h:1"): "http://h:1",
	} {
		if p.String() != want {
			t.Errorf("%q, want %q", p, want)
		}
	}
}
