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
	pins  pins
	proxy func(*url.URL) *url.URL
}

func (t *TLS) judges() bool { return len(t.Pins) > 0 || t.Trust != nil || t.Choose != nil }

// newJudge is nil where there is nothing to judge. proxy is that of a request's URL. Its error is about the pins.
func newJudge(t *TLS, proxy func(*url.URL) *url.URL) (*judge, error) {
	if !t.judges() {
		return nil, nil
	}
	pins, err := parsePins(t.Pins)
	return &judge{TLS: t, pins: pins, proxy: proxy}, err
}

// govern makes the secure connections of base. To servers they lead through proxies, which base does not see.
func (j *judge) govern(base *http.Transport) {
	base.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return j.dialTLS(ctx, base, network, addr)
	}
	if seen := base.Proxy; seen != nil {
		base.Proxy = func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme == "https" {
				return nil, nil
			}
			return seen(r)
		}
	}
}

type requestKey struct{}

// forRequest is ctx for the connection of a request.
func (j *judge) forRequest(ctx context.Context, req *http.Request) context.Context {
	return context.WithValue(ctx, requestKey{}, req)
}

// dialTLS makes a connection for the request of ctx: to its server, through its proxy, or to an https proxy for http. The last
// handshake is net/http's to make.
func (j *judge) dialTLS(ctx context.Context, base *http.Transport, network, addr string) (net.Conn, error) {
	req := ctx.Value(requestKey{}).(*http.Request)
	peer, proxy := credential.Origin(req.URL), j.proxy(req.URL)
	if proxy != nil && req.URL.Scheme == "http" {
		peer, proxy = credential.Proxy(proxy), nil
	}
	var c net.Conn
	var err error
	if proxy == nil {
		c, err = base.DialContext(ctx, network, addr)
	} else {
		c, err = j.tunnel(ctx, base, proxy, addr)
	}
	if err != nil {
		return nil, err
	}
	return j.secure(ctx, base.TLSClientConfig, c, peer), nil
}

// secure is the client's side of TLS over c, for the request of ctx.
func (j *judge) secure(ctx context.Context, config *tls.Config, c net.Conn, peer credential.Space) *tls.Conn {
	req := ctx.Value(requestKey{}).(*http.Request)
	ctx = req.Context() // net/http has cut the end of it off, so that the connection may be another request's
	config = config.Clone()
	config.ServerName = peer.Host
	if peer.Proxy || strings.EqualFold(req.Header.Get("Upgrade"), "websocket") {
		config.NextProtos = nil // it is no good over HTTP/2
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
	return tls.Client(c, config)
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
