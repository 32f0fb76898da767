package urlsessiontest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"sync"
	"time"
)

// Handshake is how a connection begins. Those from HandshakeGarbage on also
// mean something without TLS: they come in place of the first answer.
type Handshake int

const (
	ValidCertificate       Handshake = iota // for 127.0.0.1, ::1, localhost and *.test, by [CAPool]'s authority
	ExpiredCertificate                      // until 1990
	NotYetValidCertificate                  // from 2190 on
	WrongHostCertificate                    // for wrong.invalid
	SelfSignedCertificate                   // by itself
	UnknownRootCertificate                  // by an authority that CAPool does not hold
	MissingIntermediate                     // by an intermediate that is not sent
	ClientCertificate                       // valid, and asks for one that this package's authority issued
	TLS10Only                               // valid, but speaks TLS 1.0 only
	TLS11Only                               // valid, but speaks TLS 1.1 only
	HandshakeGarbage                        // answers the client's first bytes with ones that are not TLS, nor HTTP
	HandshakeClose                          // reads the client's first bytes and closes
	HandshakeReset                          // reads the client's first bytes and resets
	HandshakeStall                          // reads and never answers
)

// ScriptHandshakes appends to the server's script of connections: each
// connection accepted takes one; when none is left, the server's own is used.
func (s *Server) ScriptHandshakes(handshakes ...Handshake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handshakes = append(s.handshakes, handshakes...)
}

// greet begins the connection and reports whether requests may follow.
func (c *conn) greet(h Handshake) bool {
	switch h {
	case HandshakeGarbage, HandshakeClose, HandshakeReset:
		c.raw.Read(make([]byte, 4<<10))
		switch h {
		case HandshakeGarbage:
			p := make([]byte, 64)
			Body{Seed: uint64(h)}.fill(p, 0)
			c.raw.Write(p)
			linger(c.raw)
		case HandshakeReset:
			c.reset()
		}
		return false
	case HandshakeStall:
		io.Copy(io.Discard, c.raw)
		return false
	}
	if !c.server.tls {
		return true
	}
	t := tls.Server(c.raw, authorities().config(h))
	c.net = t
	return t.HandshakeContext(c.server.conns.ctx) == nil
}

// CAPEM is the certificate of this package's authority, in PEM, for a client's
// file of roots. There is one authority a process; all servers share it.
func CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorities().trusted.cert.Raw})
}

// CAPool is a new pool that holds this package's authority alone.
func CAPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(authorities().trusted.cert)
	return pool
}

// ClientIdentity is a client's certificate that [ClientCertificate] accepts.
func ClientIdentity() tls.Certificate {
	return authorities().trusted.issue(leaf{name: "client"}).tls()
}

// WrongClientIdentity is a client's certificate that it rejects, being by an
// authority that the server does not know. The server names the authority that
// it wants; Go's client by default then sends no certificate at all, unless a
// GetClientCertificate function does.
func WrongClientIdentity() tls.Certificate {
	return authorities().unknown.issue(leaf{name: "client"}).tls()
}

// The times of certificates are fixed: they hold by the machine's clock and by
// that of a testing/synctest bubble, which starts in 2000.
var (
	validFrom  = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// identity is a certificate with its key.
type identity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// authority is the authorities of a process and what they issued to servers.
type authority struct {
	trusted, unknown, intermediate identity
	servers                        map[Handshake]tls.Certificate
}

var authorities = sync.OnceValue(func() *authority {
	a := &authority{
		trusted: newAuthority("urlsessiontest authority", nil),
		unknown: newAuthority("urlsessiontest unknown authority", nil),
	}
	a.intermediate = newAuthority("urlsessiontest intermediate authority", &a.trusted)
	here := leaf{name: "urlsessiontest origin", hosts: []string{"localhost", "*.test"},
		addresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
	expired, early, elsewhere, self := here, here, here, here
	expired.until = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	early.from = time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC)
	elsewhere.hosts, elsewhere.addresses = []string{"wrong.invalid"}, nil
	a.servers = map[Handshake]tls.Certificate{
		ValidCertificate:       a.trusted.issue(here).tls(),
		ExpiredCertificate:     a.trusted.issue(expired).tls(),
		NotYetValidCertificate: a.trusted.issue(early).tls(),
		WrongHostCertificate:   a.trusted.issue(elsewhere).tls(),
		SelfSignedCertificate:  (identity{}).issue(self).tls(),
		UnknownRootCertificate: a.unknown.issue(here).tls(),
		MissingIntermediate:    a.intermediate.issue(here).tls(),
	}
	return a
})

// config is the server's side of h.
func (a *authority) config(h Handshake) *tls.Config {
	cert, ok := a.servers[h]
	if !ok {
		cert = a.servers[ValidCertificate]
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	switch h {
	case ClientCertificate:
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.ClientCAs = CAPool()
	case TLS10Only:
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	case TLS11Only:
		config.MinVersion, config.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	}
	return config
}

// leaf is what is to be certified.
type leaf struct {
	name        string
	hosts       []string
	addresses   []net.IP
	from, until time.Time // zero: validFrom, validUntil
}

func newAuthority(name string, parent *identity) identity {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             validFrom,
		NotAfter:              validUntil,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent = new(identity)
	}
	return parent.sign(template)
}

// issue certifies l; the zero identity lets it certify itself.
func (id identity) issue(l leaf) identity {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: l.name},
		DNSNames:              l.hosts,
		IPAddresses:           l.addresses,
		NotBefore:             l.from,
		NotAfter:              l.until,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if l.from.IsZero() {
		template.NotBefore = validFrom
	}
	if l.until.IsZero() {
		template.NotAfter = validUntil
	}
	return id.sign(template)
}

// sign panics on an error: with keys and templates of this file there is none.
func (id identity) sign(template *x509.Certificate) identity {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("urlsessiontest: make a key: " + err.Error())
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic("urlsessiontest: make a serial number: " + err.Error())
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1)) // RFC 5280 §4.1.2.2: positive
	parent, signer := id.cert, id.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		panic("urlsessiontest: sign a certificate: " + err.Error())
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic("urlsessiontest: parse a certificate: " + err.Error())
	}
	return identity{cert, key}
}

func (id identity) tls() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{id.cert.Raw}, PrivateKey: id.key, Leaf: id.cert}
}
