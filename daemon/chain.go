package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/transport"
)

var acceptPolicies = map[control.CookiePolicy]transport.AcceptPolicy{
	control.CookiesFromMainDocument: transport.AcceptFromMainDocument,
	control.CookiesAlways:           transport.AcceptAlways,
	control.CookiesNever:            transport.AcceptNever,
}

// newTransport makes a chain from its form on the wire. jar is the session's; a chain without cookies does not use it.
func newTransport(c *control.Chain, perHost int, jar http.CookieJar) (*transport.Transport, error) {
	o := transport.Options{
		MaxConnsPerHost: perHost, SetCookies: c.SetCookies,
		Proxy: transport.Proxy{URL: c.Proxy.URL, HTTP: c.Proxy.HTTP, HTTPS: c.Proxy.HTTPS, Except: c.Proxy.Except},
		TLS:   transport.TLS{MinVersion: c.TLS.MinVersion, Insecure: c.TLS.Insecure, Pins: c.TLS.Pins},
	}
	if c.Cookies {
		o.Jar = jar
	}
	var ok bool
	if o.AcceptPolicy, ok = acceptPolicies[c.AcceptPolicy]; !ok {
		return nil, fmt.Errorf("the cookie policy %q is none that this version knows", c.AcceptPolicy)
	}
	if err := transport.CheckPins(c.TLS.Pins); err != nil {
		return nil, fmt.Errorf("the pins %w", err)
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
