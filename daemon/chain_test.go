package daemon

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// TestTLSOfTheConfiguration sends roots, a client certificate and pins to the daemon.
func TestTLSOfTheConfiguration(t *testing.T) {
	srv := origin(t, urlsessiontest.WithTLS(urlsessiontest.ClientCertificate))
	srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	mine := urlsessiontest.ClientIdentity()
	key, err := x509.MarshalPKCS8PrivateKey(mine.PrivateKey)
	must(t, err)
	state := t.TempDir()
	start(t, state)
	roots := func(c *control.Configuration) { c.Chain.TLS.Roots = urlsessiontest.CAPEM() }
	c := dial(t, state, "s", roots, func(c *control.Configuration) {
		c.Chain.TLS.Certificates = []control.Certificate{{Chain: mine.Certificate, Key: key}}
	})
	succeed(t, c, create(t, c, data(srv.URL+"/d")))

	block, _ := pem.Decode(urlsessiontest.CAPEM())
	ca, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	pinned := func(host string, digest []byte) func(*control.Configuration) {
		return func(c *control.Configuration) {
			c.Chain.TLS.Pins = map[string][]string{host: {"sha256//" + base64.StdEncoding.EncodeToString(digest)}}
			c.Chain.TLS.Roots, c.Chain.TLS.Certificates = urlsessiontest.CAPEM(), []control.Certificate{{Chain: mine.Certificate, Key: key}}
		}
	}
	c = dial(t, state, "pinned", pinned("*", sum[:]))
	succeed(t, c, create(t, c, data(srv.URL+"/d")))

	for name, test := range map[string]struct {
		change func(*control.Configuration)
		code   task.Code
	}{
		"without roots":         {func(*control.Configuration) {}, task.CertificateUnknownRoot},
		"without a certificate": {roots, task.ClientCertRequired},
		"with another pin":      {pinned("127.0.0.1", make([]byte, sha256.Size)), task.CertificateUntrusted},
	} {
		c := dial(t, state, name, test.change)
		spec := data(srv.URL + "/d")
		spec.Policy.Retries = 0
		if rec := end(t, c, create(t, c, spec)); rec.Failure == nil || rec.Failure.Code != test.code {
			t.Errorf("%s: the task ended with %+v", name, rec.Failure)
		}
	}
}
