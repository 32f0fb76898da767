package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/task"
)

// TLS is how servers are trusted, and who we are to them. It is as good for proxies that are reached by TLS.
type TLS struct {
	MinVersion   uint16            // 0: tls.VersionTLS12
	Roots        *x509.CertPool    // nil: the system's
	Certificates []tls.Certificate // ours, for servers that ask; the first that fits is sent, or where none does the first
	Insecure     bool              // any certificate of any host is taken

	// Pins bind hosts to public keys: a host's certificate, or one that vouches for it in its verified chain, must have one
	// of those that stand for its name. Each is "sha256//" and the base64 of SHA-256 of the SubjectPublicKeyInfo, as curl's
	// --pinnedpubkey and RFC 7469 have it. A name is of lower-case ASCII or an address; "*.example.com" stands for the names
	// one label below, "*" for all hosts. The closest name counts, and it alone. They hold beside Roots, on resumed
	// sessions too; with Insecure the certificate itself must have one.
	Pins map[string][]string
	// Trust decides whether a peer is trusted, in place of us: it gets who that is, without realm and method, the chain that
	// it presented, the leaf first, and what we found, nil where it is trusted. Its error ends the handshake: a *task.Error
	// is returned as it is, and another is CertificateUntrusted unless it says why of itself, as what we found does. Pins
	// are judged after it, and it cannot undo that: by the leaf alone, where it trusts what we did not. It is called by any
	// goroutine, in each handshake, also of a session that is resumed. ctx is the request's that makes the connection, which
	// does not wait for it once that has ended. Nil: what we found counts.
	Trust func(ctx context.Context, peer credential.Space, chain []*x509.Certificate, found error) error
	// Choose gives a certificate to a peer that asks for one, where none of Certificates fits. Nil is as if it had not been
	// asked, an empty one is none. Its error ends the handshake, as Trust's does. It is called as Trust is.
	Choose func(ctx context.Context, peer credential.Space, asked *tls.CertificateRequestInfo) (*tls.Certificate, error)
}

const resumableSessions = 64

// config is what net/http secures connections by.
func (t *TLS) config() *tls.Config {
	c := &tls.Config{
		MinVersion:         t.MinVersion,
		RootCAs:            t.Roots,
		InsecureSkipVerify: t.Insecure,
		ClientSessionCache: tls.NewLRUClientSessionCache(resumableSessions),
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	c.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return t.present(asked, t.fitting(asked)), nil
	}
	if t.judges() {
		c.VerifyConnection = func(tls.ConnectionState) error {
			return errors.New("tls: a connection that was not made by judge.secure has nobody who judges it")
		}
	}
	return c
}

// fitting is the first of our certificates that a server's question allows; nil: none is.
func (t *TLS) fitting(asked *tls.CertificateRequestInfo) *tls.Certificate {
	for i := range t.Certificates {
		if asked.SupportsCertificate(&t.Certificates[i]) == nil {
			return &t.Certificates[i]
		}
	}
	return nil
}

// present is chosen, or what stands for none, and notes which.
func (t *TLS) present(asked *tls.CertificateRequestInfo, chosen *tls.Certificate) *tls.Certificate {
	if chosen == nil {
		chosen = new(tls.Certificate)
		if len(t.Certificates) > 0 {
			chosen = &t.Certificates[0] // the server's refusal says more than that it got none
		}
	}
	if m := metricsOf(asked.Context()); m != nil {
		m.certificateRequested(len(chosen.Certificate) > 0)
	}
	return chosen
}

// tlsCode is the code of an error of crypto/tls or crypto/x509; ok is false for others.
func tlsCode(err error) (code task.Code, ok bool) {
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		switch {
		case e.Reason != x509.Expired:
			return task.CertificateUntrusted, true
		case e.Cert != nil && time.Now().Before(e.Cert.NotBefore):
			return task.CertificateNotYetValid, true
		}
		return task.CertificateBadDate, true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return task.CertificateUnknownRoot, true
	}
	if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return task.CertificateUnknownRoot, true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return task.CertificateUntrusted, true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return task.CertificateUntrusted, true
	}
	if a, ok := remoteAlert(err); ok {
		if a.aboutCertificate() {
			return task.ClientCertRejected, true
		}
		if a == alertCertificateRequired {
			return task.ClientCertRequired, true
		}
		return task.SecureConnectionFailed, true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return task.SecureConnectionFailed, true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return task.SecureConnectionFailed, true
	}
	if opError(err, "local error") != nil {
		return task.SecureConnectionFailed, true
	}
	return 0, false
}

// handshakeCode is the code of what ended a handshake, whatever it was.
func handshakeCode(err error) task.Code {
	if code, ok := tlsCode(err); ok {
		return code
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return task.TimedOut
	}
	return task.SecureConnectionFailed
}

// clientCertCode sharpens an alert by what we know: whether a certificate was asked for in the handshake, and whether we
// sent one. Before TLS 1.3 a server says that it misses one by bad_certificate (crypto/tls) or handshake_failure
// (OpenSSL); since then by certificate_required (RFC 8446 §4.4.2.4), after our side of the handshake is over.
func clientCertCode(err error, requested, sent bool) (task.Code, bool) {
	a, ok := remoteAlert(err)
	switch {
	case !ok:
		return 0, false
	case a == alertCertificateRequired,
		!sent && a.aboutCertificate(),
		!sent && requested && a == alertHandshakeFailure:
		return task.ClientCertRequired, true
	case a.aboutCertificate(),
		sent && requested && (a == alertHandshakeFailure || a == alertDecryptError):
		return task.ClientCertRejected, true
	}
	return 0, false
}

// alert is a TLS alert (RFC 8446 §6.2).
type alert uint8

const (
	alertHandshakeFailure    alert = 40
	alertBadCertificate      alert = 42
	alertCertificateUnknown  alert = 46
	alertUnknownCA           alert = 48
	alertAccessDenied        alert = 49
	alertDecryptError        alert = 51
	alertCertificateRequired alert = 116
)

// aboutCertificate covers bad, unsupported, revoked, expired and unknown certificate, unknown_ca and access_denied.
func (a alert) aboutCertificate() bool {
	return a >= alertBadCertificate && a <= alertCertificateUnknown || a == alertUnknownCA || a == alertAccessDenied
}

// alertTexts are crypto/tls's texts of the alerts: the type of a received one is not exported, but tls.AlertError
// shares its text.
var alertTexts = func() map[string]alert {
	m := make(map[string]alert)
	for a := range 256 {
		m[tls.AlertError(a).Error()] = alert(a)
	}
	return m
}()

// remoteAlert is the alert that the server sent, if that is what err tells.
func remoteAlert(err error) (alert, bool) {
	e := opError(err, "remote error")
	if e == nil || e.Err == nil {
		return 0, false
	}
	a, ok := alertTexts[e.Err.Error()]
	return a, ok
}

// opError is the one of an operation in err, which may be within that of another, as of the way to a proxy; nil: there is none.
func opError(err error, op string) *net.OpError {
	for {
		e, ok := errors.AsType[*net.OpError](err)
		if !ok || e.Op == op {
			return e
		}
		err = e.Err
	}
}
