package daemon

import (
	"crypto/x509"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// TestTLSOfTheConfiguration sends roots and a client certificate to the daemon, as bytes.
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

	for name, test := range map[string]struct {
		change func(*control.Configuration)
		code   task.Code
	}{
		"without roots":         {func(*control.Configuration) {}, task.CertificateUnknownRoot},
		"without a certificate": {roots, task.ClientCertRequired},
	} {
		c := dial(t, state, name, test.change)
		spec := data(srv.URL + "/d")
		spec.Policy.Retries = 0
		if rec := end(t, c, create(t, c, spec)); rec.Failure == nil || rec.Failure.Code != test.code {
			t.Errorf("%s: the task ended with %+v", name, rec.Failure)
		}
	}
}
