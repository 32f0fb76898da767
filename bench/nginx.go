//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// nginx serves one folder and receives into another, over loopback.
type nginx struct {
	cmd                    *exec.Cmd
	plain, tls1, tls2, put string // base URLs, without a last slash: HTTP/1.1, TLS with HTTP/1.1, TLS with HTTP/2, PUT
	ca                     string // the certificate, in PEM
}

// One worker: on a machine of few cores more would take the client's. sendfile and open_file_cache make the server as
// cheap as it can be, so that the client is what is measured.
const nginxConf = `daemon off;
worker_processes 1;
%[1]spid %[2]s/pid;
error_log %[2]s/error.log warn;
events { worker_connections 1024; }
http {
	access_log off;
	default_type application/octet-stream;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 1000000000;
	open_file_cache max=20000 inactive=1h;
	open_file_cache_valid 1h;
	client_max_body_size 0;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/t1; fastcgi_temp_path %[2]s/t2; uwsgi_temp_path %[2]s/t3; scgi_temp_path %[2]s/t4;
	ssl_certificate %[2]s/cert.pem;
	ssl_certificate_key %[2]s/key.pem;
	root %[3]s;
	server { listen 127.0.0.1:%[5]d; }
	server { listen 127.0.0.1:%[6]d ssl; }
	server { listen 127.0.0.1:%[7]d ssl http2; }
	server { listen 127.0.0.1:%[8]d; root %[4]s; location / { dav_methods PUT; } }
}
`

func startNginx(ctx context.Context, dir, www, received string) (*nginx, error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx"
		if _, err := os.Stat(path); err != nil {
			return nil, errors.New("nginx is not installed (Debian: nginx-light; make bench installs it as root)")
		}
	}
	if err := writeCertificate(dir); err != nil {
		return nil, err
	}
	var ports [4]int
	var held [len(ports)]net.Listener // all at once, so that they differ
	for i := range ports {
		if held[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
		ports[i] = held[i].Addr().(*net.TCPAddr).Port
	}
	for _, l := range held {
		l.Close()
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConf, user, dir, www, received, ports[0], ports[1], ports[2], ports[3])
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	n := &nginx{ca: filepath.Join(dir, "cert.pem")}
	for i, base := range []*string{&n.plain, &n.tls1, &n.tls2, &n.put} {
		scheme := "http"
		if i == 1 || i == 2 {
			scheme = "https"
		}
		*base = fmt.Sprintf("%s://127.0.0.1:%d", scheme, ports[i])
	}
	n.cmd = exec.Command(path, "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log"))
	n.cmd.Stderr = os.Stderr
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	err = waitFor(ctx, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(n.put, "http://"))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	if err != nil {
		n.stop()
		said, _ := os.ReadFile(filepath.Join(dir, "error.log"))
		return nil, fmt.Errorf("start nginx: %w: %s", err, said)
	}
	return n, nil
}

func (n *nginx) stop() {
	n.cmd.Process.Signal(syscall.SIGTERM)
	n.cmd.Wait()
}

// writeCertificate makes a certificate for 127.0.0.1 that vouches for itself.
func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "urlsession bench"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(48 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
}
