package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/task"
	origin "github.com/urlsession/urlsession/urlsessiontest"
)

func TestTLSCodes(t *testing.T) {
	for _, c := range []struct {
		name      string
		handshake origin.Handshake
		code      task.Code // 0: success
	}{
		{"valid", origin.ValidCertificate, 0},
		{"expired", origin.ExpiredCertificate, task.CertificateBadDate},
		{"not yet valid", origin.NotYetValidCertificate, task.CertificateNotYetValid},
		{"wrong host", origin.WrongHostCertificate, task.CertificateUntrusted},
		{"self-signed", origin.SelfSignedCertificate, task.CertificateUnknownRoot},
		{"unknown root", origin.UnknownRootCertificate, task.CertificateUnknownRoot},
		{"missing intermediate", origin.MissingIntermediate, task.CertificateUnknownRoot},
		{"client certificate", origin.ClientCertificate, task.ClientCertRequired},
		{"TLS 1.0", origin.TLS10Only, task.SecureConnectionFailed},
		{"TLS 1.1", origin.TLS11Only, task.SecureConnectionFailed},
		{"garbage", origin.HandshakeGarbage, task.SecureConnectionFailed},
		{"close", origin.HandshakeClose, task.SecureConnectionFailed},
		{"reset", origin.HandshakeReset, task.SecureConnectionFailed},
	} {
		eachJudge(t, c.name, TLS{Roots: origin.CAPool()}, func(t *testing.T, o TLS) {
			srv := origin.NewServer(origin.WithTLS(c.handshake))
			defer srv.Close()
			srv.Publish("/", origin.Resource{Content: origin.Bytes("hello")})
			tr := newTransport(t, Options{TLS: o})
			_, _, err := fetch(tr, get(t, srv.URL+"/"))
			tr.CloseIdleConnections()
			if c.code == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			e := wantCode(t, err, c.code)
			if c.code != task.ClientCertRequired && !e.Unsent { // TLS 1.3 says it after the handshake
				t.Errorf("%v: not Unsent", e)
			}
		})
	}
	eachJudge(t, "insecure", TLS{Insecure: true}, func(t *testing.T, o TLS) {
		srv := origin.NewServer(origin.WithTLS(origin.SelfSignedCertificate))
		defer srv.Close()
		srv.Publish("/", origin.Resource{})
		tr := newTransport(t, Options{TLS: o})
		defer tr.CloseIdleConnections()
		if _, _, err := fetch(tr, get(t, srv.URL+"/")); err != nil {
			t.Fatal(err)
		}
	})
	eachJudge(t, "plain server", TLS{}, func(t *testing.T, o TLS) {
		srv := origin.NewServer()
		defer srv.Close()
		wantCode(t, second(newTransport(t, Options{TLS: o}).RoundTrip(get(t, "https"+srv.URL[4:]))), task.SecureConnectionFailed)
	})
}

// eachJudge runs a test with o, and with one that is judged in place of crypto/tls: the outcomes are the same.
func eachJudge(t *testing.T, name string, o TLS, test func(*testing.T, TLS)) {
	t.Run(name, func(t *testing.T) { test(t, o) })
	o.Trust = func(_ context.Context, _ credential.Space, _ []*x509.Certificate, found error) error { return found }
	o.Choose = func(context.Context, credential.Space, *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return nil, nil
	}
	t.Run(name+", judged", func(t *testing.T) { test(t, o) })
}

// A server that speaks only what the minimum forbids, and the highest that it allows.
func TestMinimumVersion(t *testing.T) {
	for _, c := range []struct {
		server, minimum uint16
		code            task.Code // 0: success
	}{
		{tls.VersionTLS11, 0, task.SecureConnectionFailed},
		{tls.VersionTLS11, tls.VersionTLS13, task.SecureConnectionFailed},
		{tls.VersionTLS12, tls.VersionTLS13, task.SecureConnectionFailed},
		{tls.VersionTLS10, tls.VersionTLS11, task.SecureConnectionFailed},
		{tls.VersionTLS10, tls.VersionTLS10, 0},
		{tls.VersionTLS11, tls.VersionTLS11, 0},
		{tls.VersionTLS12, 0, 0},
		{tls.VersionTLS13, tls.VersionTLS13, 0},
	} {
		o := trusted()
		o.MinVersion = c.minimum
		name := fmt.Sprintf("%s of at least %#x", tls.VersionName(c.server), c.minimum)
		eachJudge(t, name, o, func(t *testing.T, o TLS) {
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			srv.Config.ErrorLog = quiet()
			srv.TLS = serverTLS()
			srv.TLS.MinVersion, srv.TLS.MaxVersion = c.server, c.server
			srv.StartTLS()
			defer srv.Close()
			tr := newTransport(t, Options{TLS: o})
			defer tr.CloseIdleConnections()
			_, _, err := fetch(tr, get(t, srv.URL))
			if c.code == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := wantCode(t, err, c.code); !e.Unsent {
				t.Errorf("%v: not Unsent", e)
			}
		})
	}
}

func TestClientCertificate(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		srv.Config.ErrorLog = quiet()
		srv.TLS = serverTLS()
		srv.TLS.ClientAuth, srv.TLS.ClientCAs = tls.RequireAndVerifyClientCert, origin.CAPool()
		srv.TLS.MinVersion, srv.TLS.MaxVersion = version, version
		srv.StartTLS()
		try := func(certs ...tls.Certificate) error {
			o := trusted()
			o.Certificates = certs
			tr := newTransport(t, Options{TLS: o})
			defer tr.CloseIdleConnections()
			return second3(fetch(tr, get(t, srv.URL)))
		}
		if err := try(origin.ClientIdentity()); err != nil {
			t.Errorf("TLS %x: %v", version, err)
		}
		wantCode(t, try(), task.ClientCertRequired)
		// One that the server's list of authorities rules out is sent all the same, and refused: the user gave one.
		err := try(selfSigned())
		wantCode(t, err, task.ClientCertRejected)
		if text := err.Error(); strings.Contains(text, "readLoop") {
			t.Errorf("%q speaks of net/http's inside", text)
		}
		srv.Close()

		srv = httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		srv.Config.ErrorLog = quiet()
		srv.TLS = serverTLS()
		srv.TLS.ClientAuth = tls.RequireAnyClientCert
		srv.TLS.MinVersion, srv.TLS.MaxVersion = version, version
		srv.TLS.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
			return errors.New("not this one")
		}
		srv.StartTLS()
		wantCode(t, try(selfSigned()), task.ClientCertRejected)
		srv.Close()
	}
}

// A server that says handshake_failure (as OpenSSL's do before TLS 1.3), with and without having asked for a
// certificate before: alerts are written by hand here.
func TestHandshakeFailureAlert(t *testing.T) {
	remote := &net.OpError{Op: "remote error", Err: tls.AlertError(40)}
	for _, c := range []struct {
		requested, sent bool
		code            task.Code
	}{
		{true, false, task.ClientCertRequired},
		{true, true, task.ClientCertRejected},
		{false, false, 0},
		{false, true, 0},
	} {
		if code, _ := clientCertCode(remote, c.requested, c.sent); code != c.code {
			t.Errorf("requested %v, sent %v: %d, want %d", c.requested, c.sent, code, c.code)
		}
	}
	addr := serveRaw(t, func(c net.Conn) {
		c.Read(make([]byte, 1024))
		c.Write([]byte{21, 3, 3, 0, 2, 2, 40}) // fatal handshake_failure instead of a ServerHello
		c.Read(make([]byte, 1024))
	})
	wantCode(t, second(newTransport(t, Options{}).RoundTrip(get(t, "https://"+addr))), task.SecureConnectionFailed)
}

// A body that only the connection's end ends: cut without close_notify it must not pass as whole, ended by one it is.
func TestCloseNotify(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, cut := range []bool{false, true} {
			config := serverTLS()
			config.MinVersion, config.MaxVersion = version, version
			addr := serveRaw(t, func(raw net.Conn) {
				c := tls.Server(raw, config)
				answer("HTTP/1.0 200 OK\r\n\r\n" + strings.Repeat("x", 100_000))(c)
				if !cut {
					c.Close()
				}
			})
			_, body, err := fetch(newTransport(t, Options{TLS: trusted()}), get(t, "https://"+addr))
			if len(body) != 100_000 {
				t.Errorf("%d bytes", len(body))
			}
			if cut {
				wantCode(t, err, task.ConnectionLost)
			} else if err != nil {
				t.Errorf("TLS %x: %v", version, err)
			}
		}
	}
}

// However the records are cut into reads, the answer is the same.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{22, 3, 3, 0, 1, 9, 21, 3, 3, 0, 2, 1, 0}, 3)
	f.Add([]byte{22, 3, 3, 0, 1, 9, 23, 3, 3, 0, 19}, 5)
	f.Add([]byte("HTTP/1.1 200 OK"), 1)
	f.Fuzz(func(t *testing.T, stream []byte, at int) {
		var whole, parts records
		whole.see(stream)
		for rest := stream; len(rest) > 0; {
			n := min(max(at, 1), len(rest))
			parts.see(rest[:n])
			rest = rest[n:]
		}
		if whole != parts {
			t.Errorf("%+v, in parts of %d %+v", whole, at, parts)
		}
	})
}

func second3[A, B any](_ A, _ B, err error) error { return err }

// identity is a certificate for 127.0.0.1 that its pool trusts.
var identity = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	c := selfSigned()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return c, pool
})

func serverTLS() *tls.Config {
	c, _ := identity()
	return &tls.Config{Certificates: []tls.Certificate{c}}
}

func trusted() TLS {
	_, pool := identity()
	return TLS{Roots: pool}
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func selfSigned() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestLastWord: a server's alert is known of a connection that was closed for it, whoever comes upon the one or the other first.
func TestLastWord(t *testing.T) {
	for name, asks := range map[string]tls.ClientAuthType{"an alert": tls.RequireAnyClientCert, "none": tls.NoClientCert} {
		ours, theirs := net.Pipe()
		server := tls.Server(theirs, &tls.Config{Certificates: serverTLS().Certificates, ClientAuth: asks, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			server.Handshake()
			theirs.Close()
		}()
		c := &conn{Conn: ours, readBegan: make(chan struct{}, 1), readEnded: make(chan struct{})}
		over := tls.Client(c, &tls.Config{RootCAs: trusted().Roots, ServerName: "127.0.0.1"})
		if err := over.Handshake(); err != nil {
			t.Fatal(err)
		}
		c.know(over)
		over.Read(make([]byte, 1))
		over.Close()
		<-ended
		_, closed := over.Write([]byte("GET"))
		if !errors.Is(closed, net.ErrClosed) {
			t.Errorf("%s: a write onto what is closed: %v", name, closed)
		}
		if _, alert := remoteAlert(c.lastWord(closed)); alert != (asks != tls.NoClientCert) {
			t.Errorf("%s: the last word is %v", name, c.lastWord(closed))
		}
		if err := c.lastWord(io.ErrUnexpectedEOF); err != io.ErrUnexpectedEOF {
			t.Errorf("%s: of another error %v", name, err)
		}
	}
}
