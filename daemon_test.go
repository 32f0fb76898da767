package urlsession

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// startable is a daemon that runs in a process of its own, once it is started; it is stopped at the test's end.
func startable(t *testing.T) Daemon {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := Daemon{State: filepath.Join(t.TempDir(), "state"), Command: []string{exe, "daemon-start"}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := d.Stop(ctx); err != nil && !errors.Is(err, ErrDaemonLost) {
			t.Error(err)
		}
	})
	return d
}

func TestTheDaemonIsStarted(t *testing.T) {
	d := startable(t)
	_, err := d.Status(within(t))
	wantCode(t, err, ErrDaemonLost)
	wantCode(t, d.Stop(within(t)), ErrDaemonLost)
	c := Background("com.example.sync")
	c.Daemon = d
	t.Chdir(t.TempDir())
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	st, err := d.Status(within(t))
	if err != nil || st.PID == os.Getpid() || st.PID == 0 || st.State != d.State || st.Sessions != 1 || st.Free != -1 {
		t.Errorf("%+v, %v", st, err)
	}
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	if _, _, err := s.Data(within(t), Get(srv.URL)); err != nil {
		t.Error(err)
	}
	if err := d.Start(within(t)); err != nil { // it runs
		t.Error(err)
	}
	if again, err := d.Status(within(t)); err != nil || again.PID != st.PID {
		t.Errorf("another process: %+v, %v", again, err)
	}
	if err := d.Stop(within(t)); err != nil {
		t.Fatal(err)
	}
	_, err = d.Status(within(t))
	wantCode(t, err, ErrDaemonLost)
	if err := d.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	if after, err := d.Status(within(t)); err != nil || after.PID == st.PID {
		t.Errorf("%+v, %v", after, err)
	}
}

func TestSessionsOfADaemon(t *testing.T) {
	d := startDaemon(t)
	at := Daemon{State: d.state}
	_, err := at.Session(within(t), "com.example.b")
	wantCode(t, err, ErrResourceUnavailable)
	for _, id := range []string{"com.example.b", "com.example.a"} {
		d.attach(t, func(c *Configuration) { c.Identifier = id })
	}
	infos, err := at.Sessions(within(t))
	if err != nil || len(infos) != 2 || infos[0].Identifier != "com.example.a" || infos[1].State != "open" || infos[1].Created.IsZero() {
		t.Errorf("%+v, %v", infos, err)
	}
	before := d.all["com.example.b"].configuration
	s, err := at.Session(within(t), "com.example.b")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if task, err := s.DataTask(within(t), Request{URL: "http://example.com", Suspended: true}); err != nil || task.Identifier() != 1 {
		t.Errorf("%v, %v", task, err)
	}
	if c := s.Configuration(); c.Identifier != "com.example.b" || c.Daemon.State != d.state || c.Retries != -1 {
		t.Errorf("%+v", c)
	}
	if after := d.all["com.example.b"].configuration; after.Chain.SetCookies != before.Chain.SetCookies || after.MaximumConnectionsPerHost != before.MaximumConnectionsPerHost {
		t.Error("it has changed the configuration")
	}
	_, err = at.Session(within(t), "")
	if err == nil || !strings.Contains(err.Error(), "Configuration.Identifier") {
		t.Error(err)
	}
}

func TestDaemonsThatCannotBeHad(t *testing.T) {
	script := func(lines string) string {
		path := filepath.Join(t.TempDir(), "start")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := Background("com.example.sync")
	t.Setenv("PATH", t.TempDir())
	for name, want := range map[string]struct {
		daemon Daemon
		words  []string
	}{
		"no program":      {Daemon{}, []string{`"urlsession"`, "PATH", "Configuration.Daemon.Command"}},
		"no such program": {Daemon{Command: []string{"./none"}}, []string{"none", "correct Configuration.Daemon.Command"}},
		"it fails":        {Daemon{Command: []string{script("echo no room >&2; echo at all >&2; exit 3"), "secret"}}, []string{"exit status 3: no room; at all"}},
	} {
		c.Daemon = want.daemon
		c.Daemon.State = t.TempDir()
		_, err := New(c)
		wantCode(t, err, ErrDaemonLost)
		for _, w := range want.words {
			if !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v; it should say %s", name, err, w)
			}
		}
	}
}

func TestADaemonOfAnotherVersion(t *testing.T) {
	for version, words := range map[string]string{"2": "stop the daemon", "": "no daemon of urlsession"} {
		d := newFakeDaemon(t.TempDir())
		l, err := net.Listen("unix", control.Socket(d.state))
		if err != nil {
			t.Fatal(err)
		}
		d.serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(control.VersionHeader, version)
			w.WriteHeader(http.StatusNotFound)
		}))
		defer d.end()
		_, err = New(d.configuration(nil))
		if wantCode(t, err, ErrNoSharedContainer); !strings.Contains(err.Error(), words) {
			t.Errorf("%v; it should say %q", err, words)
		}
	}
}

// TestADaemonThatHangs: the kernel takes its connections, and it answers nothing, as one that SIGSTOP has stopped.
func TestADaemonThatHangs(t *testing.T) {
	state := t.TempDir()
	l, err := net.Listen("unix", control.Socket(state))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Daemon{State: state}.status(within(t), 20*time.Millisecond)
	if wantCode(t, err, ErrDaemonLost); !strings.Contains(err.Error(), "20ms") {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(within(t), 20*time.Millisecond)
	defer cancel()
	_, err = Daemon{State: state}.Status(ctx)
	wantCode(t, err, ErrTimedOut)
}

// TestAStartIsNotBrokenOff: who starts the daemon and loses patience leaves the start to the next, who joins it.
func TestAStartIsNotBrokenOff(t *testing.T) {
	dir := t.TempDir()
	program, gate := filepath.Join(dir, "start"), filepath.Join(dir, "gate")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho x >>"+dir+"/started\nwhile ! [ -e "+gate+" ]; do sleep 0.01; done\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &starter{command: []string{program}, state: dir}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	joined := make(chan error)
	go func() { joined <- s.start(within(t)) }()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-joined; err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "started")); err != nil || string(b) != "x\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestBackgroundConfigurationsThatAreRefused(t *testing.T) {
	jar, _ := cookiejar.New(nil)
	for field, change := range map[string]func(*Configuration){
		"Configuration.Identifier cannot be used": func(c *Configuration) { c.Identifier = "" },
		"Configuration.Identifier cannot":         func(c *Configuration) { c.Identifier = "a\nb" },
		"Configuration.OnRedirect": func(c *Configuration) {
			c.OnRedirect = func(context.Context, *Task, Redirect) *NewRequest { return nil }
		},
		"Configuration.OnResponse": func(c *Configuration) {
			c.OnResponse = func(context.Context, *Task, *Response) Disposition { return Allow }
		},
		"Configuration.CookieStorage is":            func(c *Configuration) { c.CookieStorage = jar },
		"Configuration.CookieStorage is another":    func(c *Configuration) { c.CookieStorage = NewCookieStorage() },
		"Configuration.WaitsForConnectivity":        func(c *Configuration) { c.WaitsForConnectivity = false },
		"Configuration.LaunchCommand names":         func(c *Configuration) { c.LaunchCommand = []string{""} },
		"Configuration.LaunchCommand cannot be run": func(c *Configuration) { c.LaunchCommand = []string{"./none"} },
		"Configuration.Daemon.Command":              func(c *Configuration) { c.Daemon.Command = []string{""} },
		"Configuration.Retries":                     func(c *Configuration) { c.TimeoutForResource = -1 },
		"Configuration.Proxy":                       func(c *Configuration) { c.Proxy = ProxyURL("gopher://h") },
		"Configuration.RootCAs":                     func(c *Configuration) { c.RootCAs = []byte("x") },
		"Configuration.Pins of the host":            func(c *Configuration) { c.Pins = map[string][]string{"example.com": {"x"}} },
		"Configuration.ClientCertificates[0] has a private key": func(c *Configuration) {
			c.ClientCertificates = []tls.Certificate{{Certificate: [][]byte{{1}}, PrivateKey: "in a device"}}
		},
	} {
		c := Background("com.example.sync")
		c.Daemon.State = t.TempDir()
		change(&c)
		_, err := New(c)
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != ErrUnknown || !strings.Contains(e.Error(), field) {
			t.Errorf("%v; it should name %s", err, field)
		}
	}
	for field, change := range map[string]func(*Configuration){
		"Configuration.Daemon":        func(c *Configuration) { c.Daemon.State = "x" },
		"Configuration.Discretionary": func(c *Configuration) { c.Discretionary = true },
		"Configuration.LaunchCommand": func(c *Configuration) { c.LaunchCommand = []string{"true"} },
	} {
		for _, c := range []Configuration{Default(), Ephemeral()} {
			change(&c)
			if _, err := New(c); err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("%v; it should name %s", err, field)
			}
		}
	}
}

func TestWhatTheDaemonIsTold(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("PATH", "/bin:/usr/bin")
	t.Setenv("HTTPS_PROXY", "http://proxy:1")
	t.Setenv("NO_PROXY", "example.com")
	const pin = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	d := startDaemon(t)
	s := d.attach(t, func(c *Configuration) {
		c.LaunchCommand = []string{"sh", "-c", "true"}
		c.RateLimit, c.MaximumConnectionsPerHost, c.CookieAcceptPolicy, c.Discretionary = 7, 3, CookieAcceptNever, true
		c.RootCAs, c.ClientCertificates = urlsessiontest.CAPEM(), []tls.Certificate{urlsessiontest.ClientIdentity()}
		c.TLSMinimumVersion, c.Pins = tls.VersionTLS13, map[string][]string{"example.com": {pin}}
	})
	got := d.all["com.example.sync"].configuration
	chain := got.Chain
	if pins := chain.TLS.Pins["example.com"]; len(chain.TLS.Pins) != 1 || !slices.Equal(pins, []string{pin}) {
		t.Errorf("the pins are %v", chain.TLS.Pins)
	}
	if got.RateLimit != 7 || got.MaximumConnectionsPerHost != 3 || chain.AcceptPolicy != control.CookiesNever || !chain.Cookies || !chain.SetCookies ||
		chain.Proxy.HTTPS != "http://proxy:1" || chain.Proxy.Except != "example.com" ||
		string(chain.TLS.Roots) != string(urlsessiontest.CAPEM()) || len(chain.TLS.Certificates) != 1 || len(chain.TLS.Certificates[0].Key) == 0 || chain.TLS.MinVersion != tls.VersionTLS13 {
		t.Errorf("%+v", got)
	}
	wd, _ := os.Getwd()
	if l := got.Launch; len(l.Command) != 3 || !filepath.IsAbs(l.Command[0]) || !slices.Equal(l.Command[1:], []string{"-c", "true"}) || l.Directory != wd {
		t.Errorf("%+v", l)
	}
	if p := s.policy; p.Retries != 0 || !p.WaitsForConnectivity || !p.WaitsForSpace || !p.Discretionary || p.Ask.Redirect || p.Ask.Response {
		t.Errorf("%+v", p)
	}
	if c := Background("x"); c.Retries != -1 || !c.SendsLaunchEvents || c.CookieStorage.Cookies(nil) != nil {
		t.Errorf("%+v", c)
	}
	// What a session returns makes a session; and less of it is told.
	c := s.Configuration()
	c.CookieStorage, c.SendsLaunchEvents = nil, false
	again, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if got := d.all["com.example.sync"].configuration; got.Chain.Cookies || len(got.Launch.Command) != 0 {
		t.Errorf("%+v", got)
	}
}
