package test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/urlsession/urlsession/test/tus"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// nginx as a proxy: it keeps a body until it has all of it before it asks the server, or hands on what comes.
const proxyConf = `
daemon off;
worker_processes 1;
pid %[1]s/pid;
error_log %[1]s/error.log;
events { worker_connections 128; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	client_max_body_size 0;
	server {
		listen %[2]s;
		location / {
			proxy_pass %[3]s;
			proxy_http_version 1.1;
			proxy_request_buffering %[4]s;
			%[5]s
		}
	}
}
`

// nginxBefore is nginx before the server at url. host has it say its own name to that.
func nginxBefore(t *testing.T, url, buffering string, host bool) string {
	t.Helper()
	program := nginxProgram()
	if program == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("nginx is missing: install it (Debian: nginx-light)")
		}
		t.Skip("nginx is missing: install it (Debian: nginx-light)")
	}
	state, err := os.MkdirTemp("", "urlsession-nginx-") // that of the test is root's alone, and workers run as nobody
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	if err := os.Chmod(state, 0o777); err != nil {
		t.Fatal(err)
	}
	name := ""
	if host {
		name = "proxy_set_header Host $http_host;"
	}
	address, stop, err := serveNginx(program, state, func(address string) []byte {
		return fmt.Appendf(nil, proxyConf, state, address, url, buffering, name)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return "http://" + address
}

// uploading runs urlsession upload with a file of body's bytes, in a folder of its own.
func uploading(t *testing.T, body urlsessiontest.Body, args ...string) error {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "film.mov"), body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"upload", "-q"}, args...)...)
	cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// cutsFirst cuts the first request with content after n bytes of it.
type cutsFirst struct {
	n    int64
	once sync.Once
}

func (c *cutsFirst) next(length int64) (cut bool) {
	if length > c.n {
		c.once.Do(func() { cut = true })
	}
	return cut
}

// nginx takes a 104 for the answer (1.22.1: it hands it on, and the true answer by chance alone), so that a request with content may
// wait for it until its time is up: here a second. Each upload is there whole in the end, with a body that nginx keeps back until it
// has all of it, and with one that it hands on as it comes. --resumable ietf needs no 104, and nothing that the server has is sent
// again; auto may have to send what came before a cut again.
func TestUploadThroughNginx(t *testing.T) {
	t.Parallel()
	body := urlsessiontest.Body{Seed: 9, Size: 5 * mib}
	for _, buffering := range []string{"on", "off"} {
		for _, how := range []string{"auto", "ietf", "no"} {
			origin := urlsessiontest.NewUploadServer()
			t.Cleanup(origin.Close)
			cut := &cutsFirst{n: 2 * mib}
			origin.Always("/film", func(r *urlsessiontest.UploadReply) {
				if cut.next(r.Request.ContentLength) {
					urlsessiontest.UploadCut(cut.n)(r)
				}
			})
			err := uploading(t, body, "--timeout", "1s", "--resumable", how, "film.mov", nginxBefore(t, origin.URL, buffering, true)+"/film")
			whole := 0
			for _, up := range origin.Uploads() {
				if up.Complete {
					whole++
					err = errors.Join(err, up.Check(body))
				}
			}
			if err != nil || whole != 1 {
				t.Errorf("buffering %s, %s: %v, and it is there %d times", buffering, how, err, whole)
			}
			most := cut.n
			if how == "ietf" {
				most = 0
			}
			if again := origin.Received() - body.Size; again > most {
				t.Errorf("buffering %s, %s: %d bytes came again", buffering, how, again)
			}
		}
	}
}

// tus needs no 104, and so goes on through nginx: nothing that tusd has is sent to it again. Where nginx does not tell it the name that
// it was asked by, it names the upload by its own.
func TestTusThroughNginx(t *testing.T) {
	t.Parallel()
	body := urlsessiontest.Body{Seed: 9, Size: 5 * mib}
	for _, buffering := range []string{"on", "off"} {
		for _, host := range []bool{true, false} {
			cut := &cutsFirst{n: 2 * mib}
			faults := tus.NewFaults(func(r tus.Request) tus.Fault {
				if r.Method == http.MethodPatch && cut.next(r.Length) {
					return tus.Fault{Cut: true, After: cut.n}
				}
				return tus.Fault{}
			})
			srv, err := tus.Start(t.TempDir(), 0, faults.Wrap)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(srv.Close)
			proxy := nginxBefore(t, strings.TrimSuffix(srv.URL, "/files/"), buffering, host)
			if err := uploading(t, body, "-X", "POST", "--resumable", "tus", "film.mov", proxy+"/files/"); err != nil {
				t.Errorf("buffering %s: %v", buffering, err)
			}
			if again := faults.Received() - body.Size; again != 0 {
				t.Errorf("buffering %s: %d bytes came again", buffering, again)
			}
			held, err := srv.Uploads()
			if err != nil || len(held) != 1 {
				t.Fatalf("buffering %s: %+v, %v", buffering, held, err)
			}
			if err := body.CheckFile(held[0].Path); err != nil {
				t.Errorf("buffering %s: %v", buffering, err)
			}
		}
	}
}
