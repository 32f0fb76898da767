package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/task"
)

// judge secures connections where TLS.Pins, Trust or Choose have a say. What they decide depends on who the peer is, which
// crypto/tls does not tell them of an address: net/http gets connections that know it.
type judge struct {
	*TLS
	pins pins
}

func (t *TLS) judges() bool { return len(t.Pins) > 0 || t.Trust != nil || t.Choose != nil }

// newJudge is nil where there is nothing to judge. Its error is about the pins.
func newJudge(t *TLS) (*judge, error) {
	if !t.judges() {
		return nil, nil
	}
	pins, err := parsePins(t.Pins)
	return &judge{TLS: t, pins: pins}, err
}

type requestKey struct{}

// forRequest is ctx for the connection of a request.
func (j *judge) forRequest(ctx context.Context, req *http.Request) context.Context {
	return context.WithValue(ctx, requestKey{}, req)
}

// govern makes the secure connections of base. What base sees of proxies for https, it sees no longer: those of HTTP it does
// not see anyway.
func (j *judge) govern(base *http.Transport) {
	seen := base.Proxy
	if seen == nil {
		seen = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	base.Proxy = func(r *http.Request) (*url.URL, error) {
		if r.URL.Scheme == "https" {
			return nil, nil
		}
		return seen(r)
	}
	base.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		req := ctx.Value(requestKey{}).(*http.Request)
		proxy, err := seen(req)
		if err != nil {
			return nil, err
		}
		peer, dial := credential.Origin(req.URL), base.DialContext
		if proxy != nil {
			if req.URL.Scheme == "http" {
				peer = credential.Proxy(proxy)
			} else {
				dial = socks(dial, proxy)
			}
		}
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return j.secure(ctx, base.TLSClientConfig, c, peer)
	}
}

// secure is c with TLS to a peer, for the request of ctx. net/http has cut the end of that off, so that the connection may be
// another request's; but whoever decides is asked for this one, and may take any time: what they decide ends with it.
func (j *judge) secure(dial context.Context, config *tls.Config, c net.Conn, peer credential.Space) (net.Conn, error) {
	req := dial.Value(requestKey{}).(*http.Request)
	ctx := outside{req.Context()}
	config = config.Clone()
	config.ServerName = peer.Host
	if peer.Proxy || strings.EqualFold(req.Header.Get("Upgrade"), "websocket") {
		config.NextProtos = []string{"http/1.1"}
	}
	if j.Trust != nil {
		config.InsecureSkipVerify = true // verify is in place of it
	}
	config.VerifyConnection = func(s tls.ConnectionState) error { return j.verify(ctx, peer, s) }
	config.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		chosen := j.fitting(asked)
		if chosen == nil && j.Choose != nil {
			var err error
			if chosen, err = j.Choose(ctx, peer, asked); err != nil {
				return nil, err
			}
		}
		return j.present(asked, chosen), nil
	}
	dial, cancel := context.WithCancel(dial)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return handshake(dial, tls.Client(c, config))
}

// verify judges a peer, in each handshake: what a ticket resumes is judged again.
func (j *judge) verify(ctx context.Context, peer credential.Space, s tls.ConnectionState) error {
	chains := s.VerifiedChains
	if j.Trust != nil {
		var found error
		if !j.Insecure {
			chains, found = j.chains(peer.Host, s.PeerCertificates)
		}
		if err := j.Trust(ctx, peer, s.PeerCertificates, found); err != nil {
			return distrust(err, s.PeerCertificates)
		}
	}
	return j.pins.check(peer.Host, s.PeerCertificates[0], chains)
}

// chains does what crypto/tls does without InsecureSkipVerify, but for the choice among chains of its FIPS 140-3 mode.
func (j *judge) chains(host string, presented []*x509.Certificate) ([][]*x509.Certificate, error) {
	o := x509.VerifyOptions{Roots: j.Roots, DNSName: host, Intermediates: x509.NewCertPool()}
	for _, c := range presented[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := presented[0].Verify(o)
	if err != nil {
		return nil, &tls.CertificateVerificationError{UnverifiedCertificates: presented, Err: err}
	}
	return chains, nil
}

// distrust gives an error of Trust that has no code one.
func distrust(err error, presented []*x509.Certificate) error {
	if _, ok := errors.AsType[*task.Error](err); ok {
		return err
	}
	if _, ok := tlsCode(err); ok {
		return err
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: presented, Err: err}
}
