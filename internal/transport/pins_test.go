package transport

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

func TestCheckPins(t *testing.T) {
	const good = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for host, ok := range map[string]bool{
		"example.com": true, "*.example.com": true, "*": true, "192.0.2.1": true, "::1": true, "2001:db8::1": true, "localhost": true,
		"xn--bcher-kva.example": true, "a_b.example": true,
		"": false, "Example.com": false, "bücher.example": false, "example.com:443": false, "[::1]": false, "::1:443:": false,
		"2001:DB8::1": false, "::ffff:192.0.2.1": false, "*.": false, "*.*.example.com": false, "a.*.example.com": false, ".example.com": false,
		"example.com.": false, "a..example": false, "https://example.com": false, "example.com/": false, "*example.com": false,
	} {
		err := CheckPins(map[string][]string{host: {good}})
		if (err == nil) != ok {
			t.Errorf("the host %q: %v", host, err)
		}
	}
	for text, ok := range map[string]bool{
		good:                                       true,
		strings.Replace(good, "//", "/", 1):        true,
		strings.Replace(good, "//", "", 1):         false,
		strings.Replace(good, "//", "///", 1):      false,
		strings.Replace(good, "sha256", "", 1):     false,
		strings.Replace(good, "sha256", "sha1", 1): false,
		strings.TrimSuffix(good, "="):              false,
		strings.Replace(good, "A=", "B=", 1):       false, // bits beyond the digest
		good + "\n":                                false,
		good + ";" + good:                          false, // curl's list
		"sha256//AAAA":                             false,
		"":                                         false,
	} {
		err := CheckPins(map[string][]string{"example.com": {good, text}})
		if (err == nil) != ok {
			t.Errorf("the pin %q: %v", text, err)
		}
		if err != nil && !strings.Contains(err.Error(), `"example.com"`) {
			t.Errorf("%v does not name the host", err)
		}
	}
	if err := CheckPins(map[string][]string{"example.com": {}}); err == nil {
		t.Error("a host without pins was taken")
	}
	if _, err := New(Options{TLS: TLS{Pins: map[string][]string{"example.com": {"x"}}}}); err == nil {
		t.Error("a Transport was made with a pin that is none")
	}
}

// The closest name counts, and it alone.
func TestPinsOfAHost(t *testing.T) {
	p := pins{"a.example": {{1}}, "*.example": {{2}}, "*": {{3}}, "192.0.2.1": {{4}}, "::1": {{5}}}
	for host, want := range map[string]byte{
		"a.example": 1, "A.Example.": 1, "b.example": 2, "c.b.example": 3, "example": 3, "other": 3,
		"192.0.2.1": 4, "::ffff:192.0.2.1": 4, "192.0.2.2": 3, "::1": 5, "[::1]": 5, "0:0::1": 5, "::1%lo": 5,
	} {
		if got := p.of(host); len(got) != 1 || got[0][0] != want {
			t.Errorf("%s has %v, want %d", host, got, want)
		}
	}
	delete(p, "*")
	for _, host := range []string{"example", "c.b.example", "192.0.2.2", "1.example.com"} {
		if got := p.of(host); got != nil {
			t.Errorf("%s has %v", host, got)
		}
	}
}

func TestPins(t *testing.T) {
	now := time.Now()
	root := newAuthority(t, "the root")
	middle := root.authority(t, "the one between")
	leaf := middle.issue(t, "127.0.0.1", now.Add(-time.Hour), now.Add(time.Hour))
	other := newAuthority(t, "another authority")
	// The server also presents a certificate that vouches for nothing: whoever has it pinned is not fooled.
	serve := func(version uint16) *httptest.Server {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		srv.Config.ErrorLog = quiet()
		pair := leaf.certificate
		pair.Certificate = append(pair.Certificate[:1:1], middle.leaf.Raw, other.leaf.Raw)
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: version, MaxVersion: version}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv
	}
	pinned := func(c *x509.Certificate) []string { return []string{pinOf(c).String()} }
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		srv := serve(version)
		for name, c := range map[string]struct {
			tls TLS
			ok  bool
		}{
			"the leaf":                               {TLS{Roots: root.pool, Pins: map[string][]string{"127.0.0.1": pinned(leaf.certificate.Leaf)}}, true},
			"one between":                            {TLS{Roots: root.pool, Pins: map[string][]string{"127.0.0.1": pinned(middle.leaf)}}, true},
			"the root":                               {TLS{Roots: root.pool, Pins: map[string][]string{"*": pinned(root.leaf)}}, true},
			"one of two":                             {TLS{Roots: root.pool, Pins: map[string][]string{"*": append(pinned(other.leaf), pinned(leaf.certificate.Leaf)...)}}, true},
			"presented, and in no chain":             {TLS{Roots: root.pool, Pins: map[string][]string{"127.0.0.1": pinned(other.leaf)}}, false},
			"another host's":                         {TLS{Roots: root.pool, Pins: map[string][]string{"localhost": pinned(other.leaf)}}, true},
			"insecure, the leaf":                     {TLS{Insecure: true, Pins: map[string][]string{"*": pinned(leaf.certificate.Leaf)}}, true},
			"insecure, one that it may have made up": {TLS{Insecure: true, Pins: map[string][]string{"*": pinned(middle.leaf)}}, false},
		} {
			eachJudge(t, name, c.tls, func(t *testing.T, o TLS) {
				tr := newTransport(t, Options{TLS: o})
				for range 2 { // the second is resumed
					_, _, err := fetch(tr, get(t, srv.URL))
					tr.CloseIdleConnections()
					if c.ok {
						if err != nil {
							t.Error(err)
						}
						continue
					}
					e := wantCode(t, err, task.CertificateUntrusted)
					if text := e.Error(); !e.Unsent || !strings.Contains(text, "127.0.0.1 shows none") || !strings.Contains(text, pinOf(leaf.certificate.Leaf).String()) {
						t.Errorf("Unsent %v, %s", e.Unsent, text)
					}
				}
			})
		}
		// What is wrong with the certificate comes before the pins, which would hold.
		tr := newTransport(t, Options{TLS: TLS{Roots: other.pool, Pins: map[string][]string{"*": pinned(leaf.certificate.Leaf)}}})
		wantCode(t, second3(fetch(tr, get(t, srv.URL))), task.CertificateUnknownRoot)
	}
}
