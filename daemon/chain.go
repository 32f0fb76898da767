package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/transport"
)

var acceptPolicies = map[control.CookiePolicy]transport.AcceptPolicy{
	control.CookiesFromMainDocument: transport.AcceptFromMainDocument,
	control.CookiesAlways:           transport.AcceptAlways,
	control.CookiesNever:            transport.AcceptNever,
}

// remembered is what a session's chains have in common; the zero value remembers nothing.
type remembered struct {
	jar         http.CookieJar
	credentials *credential.Storage
	keep        func(context.Context, credential.Stored) error // what a server has taken
}

// newTransport makes a chain from its form on the wire. One without cookies or credentials does not use those of the session.
func newTransport(c *control.Chain, perHost int, r remembered) (*transport.Transport, error) {
	authenticator, err := newAuthenticator(c, r.credentials)
	if err != nil {
		return nil, err
	}
	o := transport.Options{
		MaxConnsPerHost: perHost, SetCookies: c.SetCookies, Authenticator: authenticator,
		Proxy: transport.Proxy{URL: c.Proxy.URL, HTTP: c.Proxy.HTTP, HTTPS: c.Proxy.HTTPS, Except: c.Proxy.Except},
		TLS:   transport.TLS{MinVersion: c.TLS.MinVersion, Insecure: c.TLS.Insecure},
	}
	if c.Cookies {
		o.Jar = r.jar
	}
	if c.Credentials {
		o.Keep = r.keep
	}
	var ok bool
	if o.AcceptPolicy, ok = acceptPolicies[c.AcceptPolicy]; !ok {
		return nil, fmt.Errorf("the cookie policy %q is none that this version knows", c.AcceptPolicy)
	}
	if c.TLS.Roots != nil {
		o.TLS.Roots = x509.NewCertPool()
		if !o.TLS.Roots.AppendCertsFromPEM(c.TLS.Roots) {
			return nil, errors.New("the root certificates have none in PEM")
		}
	}
	for i, cert := range c.TLS.Certificates {
		key, err := x509.ParsePKCS8PrivateKey(cert.Key)
		if err != nil || len(cert.Chain) == 0 {
			return nil, fmt.Errorf("client certificate %d has no chain, or its key is not in PKCS #8", i+1) // err may tell of the key
		}
		o.TLS.Certificates = append(o.TLS.Certificates, tls.Certificate{Certificate: cert.Chain, PrivateKey: key})
	}
	t, err := transport.New(o)
	if err != nil {
		return nil, fmt.Errorf("the proxy cannot be used: %w", err)
	}
	return t, nil
}
