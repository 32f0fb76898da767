package urlsession

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/transport"
)

// attachFor is how long New takes at most to reach the daemon, which may have to be started and to read its state.
const attachFor = time.Minute

// attach is the session in the daemon of a configuration, which is checked. The chain is RoundTripper's alone.
func attach(c Configuration, proxy transport.Proxy, t chain) (*Session, error) {
	wire, err := c.wire(proxy)
	if err != nil {
		return nil, err
	}
	if c.Daemon, err = c.Daemon.resolve(); err != nil {
		return nil, err
	}
	o := c.Daemon.options(c.Identifier)
	if o.Configuration, err = json.Marshal(wire); err != nil {
		return nil, &Error{Op: "new session", Code: ErrUnknown, Err: err}
	}
	if len(o.Configuration) > control.MaxJSON {
		return nil, badField("", fmt.Sprintf("is of %d bytes for the daemon, which takes %d; RootCAs and ClientCertificates are what is large in it", len(o.Configuration), control.MaxJSON))
	}
	ctx, cancel := bounded(context.Background(), attachFor)
	defer cancel()
	client, err := control.Dial(ctx, o)
	if err != nil {
		t.CloseIdleConnections()
		return nil, daemonError(ctx, "new session", err)
	}
	return newBackground(c, client, t), nil
}

// newBackground is a session over a client. Its Close ends the client, and makes durable what this process has of the session.
func newBackground(c Configuration, client *control.Client, t chain) *Session {
	s := newSession(c, client, t, func() error {
		client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), closeFor)
		defer cancel()
		return flushCookies(ctx, c.CookieStorage)
	})
	if c.CredentialStorage != nil {
		s.credentials = sessionCredentials(c.Daemon.State, c.Identifier)
	}
	return s
}

// wire is the configuration as the daemon takes it: with everything resolved that is another thing there than here.
func (c *Configuration) wire(proxy transport.Proxy) (control.Configuration, error) {
	w := control.Configuration{
		MaximumConnectionsPerHost: c.MaximumConnectionsPerHost, RateLimit: c.RateLimit,
		Chain: control.Chain{
			Proxy:   control.Proxy{URL: proxy.URL, HTTP: proxy.HTTP, HTTPS: proxy.HTTPS, Except: proxy.Except},
			TLS:     control.TLS{MinVersion: c.TLSMinimumVersion, Roots: c.RootCAs, Insecure: c.InsecureSkipVerify, Pins: c.Pins},
			Cookies: c.CookieStorage != nil, SetCookies: c.SetCookies, AcceptPolicy: cookiePolicies[c.CookieAcceptPolicy],
			Credentials: c.CredentialStorage != nil,
		},
	}
	netrc, err := c.netrc()
	if err != nil {
		return w, err
	}
	if netrc != nil {
		w.Chain.Netrc = netrc.Text().Reveal()
	}
	for i, cert := range c.ClientCertificates {
		key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
		if err != nil {
			return w, badField(fmt.Sprintf("ClientCertificates[%d]", i), "has a private key that cannot be given to the daemon, as one in a device cannot; load it by tls.LoadX509KeyPair")
		}
		w.Chain.TLS.Certificates = append(w.Chain.TLS.Certificates, control.Certificate{Chain: cert.Certificate, Key: key})
	}
	if len(c.LaunchCommand) == 0 || !c.SendsLaunchEvents {
		return w, nil
	}
	program, err := exec.LookPath(c.LaunchCommand[0])
	if err == nil {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		return w, badField("LaunchCommand", fmt.Sprintf("cannot be run: %v; name a program of PATH, or the path of one", err))
	}
	w.Launch.Command = append([]string{program}, c.LaunchCommand[1:]...)
	if w.Launch.Directory, err = os.Getwd(); err != nil {
		return w, badField("LaunchCommand", fmt.Sprintf("has no working directory: %v", err))
	}
	return w, nil
}

var cookiePolicies = [...]control.CookiePolicy{
	CookieAcceptOnlyFromMainDocumentDomain: control.CookiesFromMainDocument,
	CookieAcceptAlways:                     control.CookiesAlways,
	CookieAcceptNever:                      control.CookiesNever,
}

// tooSlow is the cause of the end of a context of bounded.
type tooSlow struct{ after time.Duration }

func (e tooSlow) Error() string {
	return fmt.Sprintf("the daemon did not answer within %v; where it hangs, end its process, and it will be started anew", e.after)
}

// bounded is ctx with a bound of our own, so that its end is told from that of the caller's ctx.
func bounded(ctx context.Context, after time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, after, tooSlow{after})
}

// daemonError is the error of a question to the daemon under a ctx of bounded.
func daemonError(ctx context.Context, op string, err error) error {
	if slow, ok := errors.AsType[tooSlow](context.Cause(ctx)); ok && err != nil {
		return &Error{Op: op, Code: ErrDaemonLost, Err: slow}
	}
	return publicError(op, err)
}
