package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mccutchen/go-httpbin/v2/httpbin"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/credential/credentialtest"
	"github.com/urlsession/urlsession/internal/transport"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// client is a Transport that knows c for all of an origin, or of a proxy.
func client(t *testing.T, at credential.Space, c credential.Credential, proxy string) *transport.Transport {
	t.Helper()
	known := credential.New()
	if err := known.Set(t.Context(), at, c); err != nil {
		t.Fatal(err)
	}
	rt, err := transport.New(transport.Options{
		Authenticator: credential.NewAuthenticator(known, credential.Policy{}),
		Proxy:         transport.Proxy{URL: proxy}, TLS: transport.TLS{Insecure: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rt.CloseIdleConnections)
	return rt
}

func spaceOf(t *testing.T, raw string, of func(*url.URL) credential.Space) credential.Space {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return of(u)
}

// status asks for a URL, and how many sendings that took.
func status(t *testing.T, rt http.RoundTripper, url string) (status, sendings int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ctx, m := transport.Trace(ctx, nil)
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return resp.StatusCode, len(m.Transactions())
}

// A server of another maker takes what we send for each scheme that it has.
func TestHTTPBin(t *testing.T) {
	srv := httptest.NewServer(httpbin.New())
	t.Cleanup(srv.Close)
	user := credential.Credential{User: "alice", Password: credential.NewSecret("p"), Persistence: credential.Session}
	wrong := credential.Credential{User: "alice", Password: credential.NewSecret("q"), Persistence: credential.Session}
	token := credential.Credential{Token: credential.NewSecret("t"), Persistence: credential.Session}
	for _, c := range []struct {
		path             string
		cred             credential.Credential
		status, sendings int
	}{
		{"/basic-auth/alice/p", user, 200, 2},
		{"/basic-auth/alice/p", wrong, 401, 2},
		{"/digest-auth/auth/alice/p/MD5", user, 200, 2},
		{"/digest-auth/auth/alice/p/MD5", wrong, 401, 2},
		{"/digest-auth/auth/alice/p/SHA-256", user, 200, 2},
		{"/digest-auth/auth/alice/p/SHA-256", wrong, 401, 2},
		{"/bearer", token, 200, 2},
		{"/bearer", user, 401, 1},                            // nobody has a token
		{"/hidden-basic-auth/alice/p", user, 404, 1},         // it does not ask
		{"USERINFO/hidden-basic-auth/alice/p", user, 200, 1}, // and what a URL has goes unasked
	} {
		target := srv.URL + c.path
		if path, ok := strings.CutPrefix(c.path, "USERINFO"); ok {
			target = strings.Replace(srv.URL, "//", "//alice:p@", 1) + path
		}
		rt := client(t, spaceOf(t, srv.URL, credential.Origin), c.cred, "")
		if got, n := status(t, rt, target); got != c.status || n != c.sendings {
			t.Errorf("%s by %v: %d after %d sendings, want %d after %d", c.path, c.cred, got, n, c.status, c.sendings)
		}
	}
}

// nginx refuses a request before its body has come, by Expect, and gets it whole once it knows who sends it.
func TestNginxAsks(t *testing.T) {
	program := nginxProgram()
	if program == "" {
		t.Skip("nginx is missing: install it (Debian: nginx-light)")
	}
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o777) // workers of root run as nobody
	}
	root, state := filepath.Join(dir, "root"), filepath.Join(dir, "state")
	for _, d := range []string{root, state} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
		_ = os.Chmod(d, 0o777)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	users := write("users", "alice:{PLAIN}pässword\n")
	guarded := "auth_basic \"staff\";\n\t\tauth_basic_user_file " + users + ";"
	srv := startNginx(t, program, guarded, state, root)

	content := urlsessiontest.Body{Seed: 9, Size: 5 << 20}
	source := write("source", string(content.Bytes()))
	file, err := os.Open(source)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	open := func() (io.ReadCloser, error) {
		return transport.NewFileBody(file, 0, content.Size, false, nil), nil
	}
	rt := client(t, spaceOf(t, srv, credential.Origin), credential.Credential{User: "alice", Password: credential.NewSecret("pässword"), Persistence: credential.Session}, "")
	for i, sendings := range []int{2, 1} { // the second time it is known
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		ctx, m := transport.Trace(ctx, nil)
		req, err := http.NewRequestWithContext(ctx, "PUT", fmt.Sprintf("%s/up%d", srv, i), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Body, _ = open()
		req.GetBody, req.ContentLength = open, content.Size
		req.Header.Set("Expect", "100-continue")
		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated || len(m.Transactions()) != sendings {
			t.Errorf("%d after %d sendings", resp.StatusCode, len(m.Transactions()))
		}
		got, err := os.ReadFile(filepath.Join(root, fmt.Sprintf("up%d", i)))
		if err != nil || !bytes.Equal(got, content.Bytes()) {
			t.Errorf("nginx has stored %d bytes, %v", len(got), err)
		}
	}
	bad := client(t, spaceOf(t, srv, credential.Origin), credential.Credential{User: "alice", Password: credential.NewSecret("x"), Persistence: credential.Session}, "")
	if got, _ := status(t, bad, srv+"/up0"); got != 401 {
		t.Errorf("a wrong password: %d", got)
	}
}

// startNginx starts nginx, which asks for what the directives auth say, and returns its URL.
func startNginx(t *testing.T, program, auth, state, root string) string {
	t.Helper()
	for range 5 { // each time another may take the port first
		l := httptest.NewUnstartedServer(nil).Listener
		address := l.Addr().String()
		l.Close()
		path := filepath.Join(state, "nginx.conf")
		if err := os.WriteFile(path, fmt.Appendf(nil, nginxConf, state, address, root, auth), 0o666); err != nil {
			t.Fatal(err)
		}
		log := new(output)
		cmd := exec.Command(program, "-p", state, "-c", path, "-e", filepath.Join(state, "start.log"))
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan error, 1)
		go func() { exited <- cmd.Wait() }()
		if listening(address, exited) {
			t.Cleanup(func() {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				<-exited
			})
			return "http://" + address
		}
		t.Logf("nginx does not start: %s", log)
	}
	t.Fatal("nginx does not start")
	return ""
}

// What curl, which has nothing of ours, can log in at, we can: a server's or a proxy's every gate.
func TestGatesOfTheTests(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is missing: install it (Debian: curl)")
	}
	ntlm := credential.Credential{User: credentialtest.NTLMUser, Password: credential.NewSecret(credentialtest.NTLMPassword), Persistence: credential.Session}
	user := credential.Credential{User: "alice", Password: credential.NewSecret("p"), Persistence: credential.Session}
	for _, c := range []struct {
		flag string
		gate func() credentialtest.Gate
		cred credential.Credential
	}{
		{"ntlm", func() credentialtest.Gate { return credentialtest.NTLM("NTLM") }, ntlm},
		{"digest", func() credentialtest.Gate { return credentialtest.Digest("MD5", "alice", "p") }, user},
		{"digest", func() credentialtest.Gate { return credentialtest.Digest("SHA-256", "alice", "p") }, user},
		{"basic", func() credentialtest.Gate { return credentialtest.Basic("alice", "p") }, user},
	} {
		run := func(args ...string) string {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			out := new(output)
			cmd := exec.CommandContext(ctx, curl, append([]string{"-q", "-s", "-k", "-o", "/dev/null", "-w", "%{http_code} %{http_connect}", "--noproxy", ""}, args...)...)
			cmd.Stdout = out
			cmd.WaitDelay = patience
			_ = cmd.Run() // a refused CONNECT is an error of curl's
			return out.String()
		}
		login := c.cred.User + ":" + c.cred.Password.Reveal()
		srv := credentialtest.NewServer(c.gate(), nil)
		srv.Start()
		t.Cleanup(srv.Close)
		if got := run("--"+c.flag, "-u", login, "-d", "body", srv.URL+"/"); got != "200 000" {
			t.Errorf("curl --%s: %s", c.flag, got)
		}
		if got := run("--"+c.flag, "-u", login+"x", "-d", "body", srv.URL+"/"); got != "401 000" {
			t.Errorf("curl --%s with a wrong password: %s", c.flag, got)
		}
		if got, _ := status(t, client(t, spaceOf(t, srv.URL, credential.Origin), c.cred, ""), srv.URL+"/"); got != 200 {
			t.Errorf("we by %s: %d", c.flag, got)
		}
		proxy := credentialtest.NewProxy(c.gate())
		proxy.Start()
		t.Cleanup(proxy.Close)
		open := func(*http.Request, string) (string, bool) { return "", true }
		plain, secure := credentialtest.NewServer(open, nil), credentialtest.NewServer(open, nil)
		plain.Start()
		secure.StartTLS()
		t.Cleanup(plain.Close)
		t.Cleanup(secure.Close)
		for url, want := range map[string]string{plain.URL: "200 000", secure.URL: "200 200"} {
			if got := run("-x", proxy.URL, "--proxy-"+c.flag, "-U", login, url); got != want {
				t.Errorf("curl --proxy-%s %s: %s", c.flag, url, got)
			}
			if got, _ := status(t, client(t, spaceOf(t, proxy.URL, credential.Proxy), c.cred, proxy.URL), url); got != 200 {
				t.Errorf("we by proxy %s, %s: %d", c.flag, url, got)
			}
		}
		if got := run("-x", proxy.URL, "--proxy-"+c.flag, "-U", login+"x", secure.URL); got != "000 407" {
			t.Errorf("curl --proxy-%s with a wrong password: %s", c.flag, got)
		}
	}
}
