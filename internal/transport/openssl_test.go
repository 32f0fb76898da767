package transport

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// OpenSSL's alerts are not crypto/tls's: the codes must be right with the peer that most servers have.
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	now := time.Now()
	ca := newAuthority(t, "the authority")
	other := newAuthority(t, "another authority")
	server := ca.issue(t, "127.0.0.1", now.Add(-time.Hour), now.Add(time.Hour))
	client := ca.issue(t, "client", now.Add(-time.Hour), now.Add(time.Hour))
	stranger := other.issue(t, "stranger", now.Add(-time.Hour), now.Add(time.Hour))
	late := ca.issue(t, "late", now.Add(-2*time.Hour), now.Add(-time.Hour))
	ask := []string{"-Verify", "2", "-verify_return_error", "-CAfile", ca.file}

	for _, c := range []struct {
		name   string
		server identityFiles
		flags  []string
		client []tls.Certificate
		code   task.Code // 0: success
	}{
		{"valid", server, nil, nil, 0},
		{"expired", ca.issue(t, "127.0.0.1", now.Add(-2*time.Hour), now.Add(-time.Hour)), nil, nil, task.CertificateBadDate},
		{"not yet valid", ca.issue(t, "127.0.0.1", now.Add(time.Hour), now.Add(2*time.Hour)), nil, nil, task.CertificateNotYetValid},
		{"wrong host", ca.issue(t, "127.0.0.2", now.Add(-time.Hour), now.Add(time.Hour)), nil, nil, task.CertificateUntrusted},
		{"self-signed", other.identityFiles, nil, nil, task.CertificateUnknownRoot},
		{"unknown root", other.issue(t, "127.0.0.1", now.Add(-time.Hour), now.Add(time.Hour)), nil, nil, task.CertificateUnknownRoot},
		{"no common cipher", server, []string{"-cipher", "AES128-SHA256", "-ciphersuites", "TLS_AES_128_CCM_SHA256"}, nil, task.SecureConnectionFailed},
		{"client certificate not sent", server, ask, nil, task.ClientCertRequired},
		{"client certificate accepted", server, ask, []tls.Certificate{client.certificate}, 0},
		{"client certificate of another authority", server, ask, []tls.Certificate{stranger.certificate}, task.ClientCertRejected},
		{"client certificate expired", server, ask, []tls.Certificate{late.certificate}, task.ClientCertRejected},
	} {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			eachJudge(t, c.name+version, TLS{Roots: ca.pool, Certificates: c.client}, func(t *testing.T, o TLS) {
				addr := serveOpenSSL(t, append([]string{version, "-cert", c.server.file, "-key", c.server.key}, c.flags...)...)
				tr := newTransport(t, Options{TLS: o})
				_, _, err := fetch(tr, get(t, "https://"+addr+"/"))
				t.Log(err)
				if c.code != 0 {
					wantCode(t, err, c.code)
				} else if err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

func TestOpenSSLBelowTheMinimumVersion(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	ca := newAuthority(t, "the authority")
	server := ca.issue(t, "127.0.0.1", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	eachJudge(t, "", TLS{Roots: ca.pool, MinVersion: tls.VersionTLS13}, func(t *testing.T, o TLS) {
		addr := serveOpenSSL(t, "-tls1_2", "-cert", server.file, "-key", server.key)
		wantCode(t, second3(fetch(newTransport(t, Options{TLS: o}), get(t, "https://"+addr+"/"))), task.SecureConnectionFailed)
	})
}

// serveOpenSSL runs openssl s_server until the test ends, and returns its address.
func serveOpenSSL(t *testing.T, flags ...string) string {
	cmd := exec.Command("openssl", append([]string{"s_server", "-accept", "127.0.0.1:0", "-www"}, flags...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if addr, ok := strings.CutPrefix(lines.Text(), "ACCEPT "); ok {
			return addr
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	t.Fatalf("openssl s_server does not listen: %s", complaint.String())
	return ""
}

// identityFiles is a certificate with its key, also as PEM files.
type identityFiles struct {
	certificate tls.Certificate
	file, key   string
}

type authority struct {
	identityFiles
	leaf *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T, name string) authority { return (*authority)(nil).authority(t, name) }

// authority makes another one that a vouches for, or where that is nil none does.
func (a *authority) authority(t *testing.T, name string) authority {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	made := authority{identityFiles: certify(t, template, a), pool: x509.NewCertPool()}
	made.leaf = made.certificate.Leaf
	made.pool.AddCert(made.leaf)
	return made
}

// issue makes a certificate for a name, which may be an address.
func (a authority) issue(t *testing.T, name string, from, to time.Time) identityFiles {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: from, NotAfter: to,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	return certify(t, template, &a)
}

// certify makes a certificate, signed by an authority or, where that is nil, by itself.
func certify(t *testing.T, template *x509.Certificate, by *authority) identityFiles {
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	parent, signer := template, any(key)
	if by != nil {
		parent, signer = by.leaf, by.certificate.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	must(err)
	leaf, err := x509.ParseCertificate(der)
	must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	dir := t.TempDir()
	f := identityFiles{
		certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		file:        filepath.Join(dir, "certificate.pem"), key: filepath.Join(dir, "key.pem"),
	}
	must(os.WriteFile(f.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(os.WriteFile(f.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return f
}
