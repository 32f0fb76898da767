package urlsessiontest_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

// clientWith is the server's client with some of its TLS configuration changed.
func clientWith(srv *Server, change func(*tls.Config)) *http.Client {
	client := srv.Client()
	change(client.Transport.(*http.Transport).TLSClientConfig)
	return client
}

func TestCertificates(t *testing.T) {
	unknown := func(err error) bool { _, ok := errors.AsType[x509.UnknownAuthorityError](err); return ok }
	invalid := func(err error) bool {
		e, ok := errors.AsType[x509.CertificateInvalidError](err)
		return ok && e.Reason == x509.Expired
	}
	says := func(text string) func(error) bool {
		return func(err error) bool { return err != nil && strings.Contains(err.Error(), text) }
	}
	for name, c := range map[string]struct {
		handshake Handshake
		want      func(error) bool
	}{
		"valid":        {ValidCertificate, func(err error) bool { return err == nil }},
		"expired":      {ExpiredCertificate, func(err error) bool { return invalid(err) && says("is after 1990")(err) }},
		"early":        {NotYetValidCertificate, func(err error) bool { return invalid(err) && says("is before 2190")(err) }},
		"wrong host":   {WrongHostCertificate, func(err error) bool { _, ok := errors.AsType[x509.HostnameError](err); return ok }},
		"self-signed":  {SelfSignedCertificate, unknown},
		"unknown root": {UnknownRootCertificate, unknown},
		"intermediate": {MissingIntermediate, unknown},
		"TLS 1.0":      {TLS10Only, says("protocol version")},
		"TLS 1.1":      {TLS11Only, says("protocol version")},
		"no client":    {ClientCertificate, says("certificate required")},
		"garbage":      {HandshakeGarbage, says("does not look like a TLS handshake")},
		"close":        {HandshakeClose, says("EOF")},
		"reset":        {HandshakeReset, says("reset by peer")},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t, WithTLS(c.handshake))
			_, body, err := fetch(srv.Client(), srv.URL+"/f")
			if !c.want(err) {
				t.Errorf("%v", err)
			}
			if err == nil && body != content(file) {
				t.Errorf("%d bytes", len(body))
			}
		})
	}
}

func TestOldVersionsAreSpoken(t *testing.T) {
	for handshake, version := range map[Handshake]uint16{TLS10Only: tls.VersionTLS10, TLS11Only: tls.VersionTLS11} {
		srv := newServer(t, WithTLS(handshake))
		client := clientWith(srv, func(c *tls.Config) { c.MinVersion = tls.VersionTLS10 })
		resp, _, err := fetch(client, srv.URL+"/f")
		if err != nil || resp.TLS.Version != version {
			t.Errorf("%v %v", resp, err)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	srv := newServer(t, WithTLS(ClientCertificate))
	present := func(cert tls.Certificate) error {
		_, _, err := fetch(clientWith(srv, func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		}), srv.URL+"/f")
		return err
	}
	if err := present(ClientIdentity()); err != nil {
		t.Error(err)
	}
	if err := present(WrongClientIdentity()); err == nil || !strings.Contains(err.Error(), "tls: unknown certificate authority") {
		t.Errorf("wrong certificate: %v", err)
	}
	if r := srv.Requests(); len(r) != 1 || r[0].TLS == nil || r[0].TLS.PeerCertificates[0].Subject.CommonName != "client" {
		t.Errorf("%d requests", len(r))
	}
}

// Close ends TLS by an alert, close_notify; Drop and Reset do not.
func TestTLSTruncation(t *testing.T) {
	srv := newServer(t, WithTLS(ValidCertificate))
	for name, c := range map[string]struct {
		cut   Step
		alert bool
	}{"close": {Truncate(1000), true}, "drop": {DropAt(AtBody(1000)), false}, "reset": {ResetAt(AtBody(1000)), false}} {
		srv.Script("/f", c.cut)
		raw, err := srv.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		seen := new(bytes.Buffer)
		conn := tls.Client(tapped{raw, seen}, &tls.Config{RootCAs: CAPool(), ServerName: "origin.test", MaxVersion: tls.VersionTLS12})
		io.WriteString(conn, request("GET"))
		answer, err := io.ReadAll(conn)
		if isReset(err) != (name == "reset") {
			t.Errorf("%s: %v", name, err)
		}
		if _, body, _ := cutHead(string(answer)); name != "reset" && body != content(file)[:1000] {
			t.Errorf("%s: %d bytes", name, len(body))
		}
		var last byte // the type of the last record (RFC 5246 §6.2.1)
		for p := seen.Bytes(); len(p) >= 5; p = p[min(len(p), 5+int(p[3])<<8+int(p[4])):] {
			last = p[0]
		}
		if alert := last == 21; alert != c.alert {
			t.Errorf("%s: the last record is of type %d", name, last)
		}
		conn.Close()
	}
}

func TestTornRecord(t *testing.T) {
	srv := newServer(t, WithTLS(ValidCertificate))
	srv.Always("/f", All(NoLength(), TearAt(AtBody(1000))))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := clientWith(srv, func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version })
		_, body, err := fetch(client, srv.URL+"/f")
		if !errors.Is(err, io.ErrUnexpectedEOF) || body != content(file)[:1000] {
			t.Errorf("%d bytes, %v", len(body), err)
		}
	}
}

// tapped keeps what is read.
type tapped struct {
	net.Conn
	seen *bytes.Buffer
}

func (c tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.seen.Write(p[:n])
	return n, err
}

func TestHandshakesAreScriptedAConnectionATime(t *testing.T) {
	for _, opts := range [][]Option{nil, {WithTLS(ValidCertificate)}} {
		srv := newServer(t, opts...)
		srv.ScriptHandshakes(HandshakeClose, HandshakeGarbage, HandshakeReset)
		for range 3 {
			if _, _, err := fetch(srv.Client(), srv.URL+"/f"); err == nil {
				t.Error("a bad connection went well")
			}
		}
		if _, body, err := fetch(srv.Client(), srv.URL+"/f"); err != nil || body != content(file) {
			t.Errorf("the fourth: %v", err)
		}
		if load := srv.Load(); load.TotalRequests != 1 {
			t.Errorf("%+v", load)
		}
	}
}

func TestCAPEM(t *testing.T) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(CAPEM()) || !pool.Equal(CAPool()) {
		t.Error("CAPEM is not what CAPool holds")
	}
}
