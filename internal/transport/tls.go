package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// TLS is how servers are trusted, and who we are to them.
type TLS struct {
	MinVersion   uint16            // 0: tls.VersionTLS12
	Roots        *x509.CertPool    // nil: the system's
	Certificates []tls.Certificate // ours, for servers that ask; the first that fits is sent, or where none does the first
	Insecure     bool              // any certificate of any host is taken

	// Pins bind hosts to public keys: a host's certificate, or one that vouches for it in its verified chain, must have one
	// of those that stand for its name. Each is "sha256//" and the base64 of SHA-256 of the SubjectPublicKeyInfo, as curl's
	// --pinnedpubkey and RFC 7469 have it. A name "*.example.com" stands for the names one label below, "*" for all hosts.
	// They hold beside Roots, and with Insecure alone.
	Pins map[string][]string
	// Trust decides whether a server is trusted, in place of us: it gets the host's name, the chain that the server
	// presented, the leaf first, and what we found, nil where it is trusted. What it returns ends the handshake, or nil does
	// not. Pins are judged after it, and it cannot undo that. It is called by any goroutine, in each handshake. Nil: what
	// we found counts.
	Trust func(host string, chain []*x509.Certificate, found error) error
	// Choose gives a certificate to a server that asks for one, where none of Certificates fits; nil, or a nil certificate: the
	// server gets none. ctx is the request's that makes the connection.
	Choose func(ctx context.Context, asked *tls.CertificateRequestInfo) (*tls.Certificate, error)
}

const resumableSessions = 64

func (t TLS) config() *tls.Config {
	c := &tls.Config{
		MinVersion:         t.MinVersion,
		RootCAs:            t.Roots,
		InsecureSkipVerify: t.Insecure,
		ClientSessionCache: tls.NewLRUClientSessionCache(resumableSessions),
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	c.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		chosen := &tls.Certificate{} // none
		for i := range t.Certificates {
			if info.SupportsCertificate(&t.Certificates[i]) == nil {
				chosen = &t.Certificates[i]
				break
			}
		}
		if len(chosen.Certificate) == 0 && len(t.Certificates) > 0 {
			chosen = &t.Certificates[0] // the server's refusal says more than that it got none
		}
		if m := metricsOf(info.Context()); m != nil {
			m.certificateRequested(len(chosen.Certificate) > 0)
		}
		return chosen, nil
	}
	return c
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
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "local error" {
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
	e, ok := errors.AsType[*net.OpError](err)
	if !ok || e.Op != "remote error" || e.Err == nil {
		return 0, false
	}
	a, ok := alertTexts[e.Err.Error()]
	return a, ok
}
