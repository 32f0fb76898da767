package daemon

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// standIn is a systemd that records what it is asked, and fails what fails names by its first words.
type standIn struct {
	calls []string
	fails map[string]int // how often
}

func (s *standIn) manager() manager {
	return manager{present: true, run: func(_ context.Context, program string, args ...string) error {
		call := program + " " + strings.Join(args, " ")
		s.calls = append(s.calls, call)
		for prefix, n := range s.fails {
			if strings.HasPrefix(call, prefix) && n > 0 {
				s.fails[prefix]--
				return errors.New("it fails")
			}
		}
		return nil
	}}
}

func (s *standIn) count(prefix string) (n int) {
	for _, call := range s.calls {
		if strings.HasPrefix(call, prefix) {
			n++
		}
	}
	return n
}

func home(t *testing.T) string {
	dir := t.TempDir()
	for name, value := range map[string]string{
		"HOME": dir, "XDG_CONFIG_HOME": filepath.Join(dir, "config"), "XDG_STATE_HOME": filepath.Join(dir, "state"), "URLSESSION_STATE": "",
	} {
		t.Setenv(name, value)
	}
	return dir
}

func TestManagerStartsTheInstalledUnit(t *testing.T) {
	own := filepath.Join(home(t), "state", "urlsession")
	var s standIn
	if err := install(t.Context(), s.manager(), own, []string{"/bin/urlsession", "daemon", "run"}, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	how, err := s.manager().start(t.Context(), own, []string{"/bin/urlsession"})
	if err != nil || !strings.Contains(how, "urlsession.service") {
		t.Errorf("%q, %v", how, err)
	}
	if s.calls[len(s.calls)-1] != "systemctl --user start urlsession.service" || s.count("systemd-run") != 0 {
		t.Errorf("%q", s.calls)
	}
}

func TestManagerRunsATransientUnit(t *testing.T) {
	home(t)
	t.Setenv("SSL_CERT_FILE", "/etc/own.pem")
	t.Setenv("HTTPS_PROXY", "http://user:secret@proxy")
	s := standIn{fails: map[string]int{"systemd-run": 2, "systemctl --user is-active": 2}} // its predecessor is on its way out
	if _, err := s.manager().start(t.Context(), "/srv/state", []string{"/bin/urlsession", "daemon", "run"}); err != nil {
		t.Fatal(err)
	}
	call := s.calls[len(s.calls)-1]
	for _, want := range []string{"--user", "--property=Restart=always", "--property=RestartPreventExitStatus=0",
		"--setenv=URLSESSION_STATE=/srv/state", "--setenv=SSL_CERT_FILE=/etc/own.pem", "-- /bin/urlsession daemon run"} {
		if !strings.Contains(call, want) {
			t.Errorf("it lacks %q: %s", want, call)
		}
	}
	if strings.Contains(call, "secret") || s.count("systemd-run") != 3 {
		t.Errorf("%q", s.calls)
	}
}

func TestManagerThatTakesNothingIsNone(t *testing.T) {
	home(t)
	s := standIn{fails: map[string]int{"systemd-run": 100, "systemctl --user is-active": 100}}
	if _, err := s.manager().start(t.Context(), "/srv/state", []string{"/bin/urlsession"}); !errors.Is(err, errNoManager) {
		t.Errorf("%v", err)
	}
	if _, err := (manager{}).start(t.Context(), "/srv/state", nil); !errors.Is(err, errNoManager) {
		t.Errorf("%v", err)
	}
}

func TestUnitText(t *testing.T) {
	home(t)
	text := string(unitText(`/srv/a "b" 50% $c\d`, []string{"/opt/$x/url session", "daemon", "run"}))
	for _, want := range []string{
		`ExecStart="/opt/$$x/url session" "daemon" "run"`, `Environment="URLSESSION_STATE=/srv/a \"b\" 50%% $c\\d"`, "Restart=always",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("it lacks %s:\n%s", want, text)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	path := filepath.Join(t.TempDir(), "urlsession.service")
	if err := os.WriteFile(path, unitText("/srv/state", []string{"/bin/true", "daemon", "run"}), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestInstallAndUninstall(t *testing.T) {
	dir := home(t)
	own := filepath.Join(dir, "state", "urlsession")
	path := filepath.Join(dir, "config", "systemd", "user", "urlsession.service")
	var s standIn
	var said bytes.Buffer
	for range 2 {
		if err := install(t.Context(), s.manager(), own, []string{"/bin/urlsession", "daemon", "run"}, &said); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); err != nil || !strings.Contains(said.String(), "loginctl enable-linger") {
		t.Errorf("%v; it says %s", err, &said)
	}
	if want := "systemctl --user enable urlsession.service"; !slices.Contains(s.calls, want) {
		t.Errorf("%q", s.calls)
	}
	if unitName("/srv/other") == "urlsession" || unitName("/srv/other") == unitName("/srv/third") {
		t.Error("two folders share a unit")
	}
	for _, want := range []string{"Removed", "Nothing is installed"} {
		said.Reset()
		if err := uninstall(t.Context(), s.manager(), own, &said); err != nil || !strings.Contains(said.String(), want) {
			t.Errorf("%v: %s", err, &said)
		}
	}
	if s.count("systemctl --user disable") != 1 {
		t.Errorf("%q", s.calls)
	}

	said.Reset()
	if err := install(t.Context(), manager{}, own, []string{"/bin/urlsession"}, &said); err != nil || !strings.Contains(said.String(), "enable --now") {
		t.Errorf("without systemd: %v: %s", err, &said)
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_CONFIG_HOME", "")
	if err := install(t.Context(), manager{}, own, []string{"/bin/urlsession"}, &said); !errors.Is(err, task.CannotCreateFile) {
		t.Errorf("without a home: %v", err)
	}
	if err := uninstall(t.Context(), manager{}, own, &said); err == nil {
		t.Error("without a home something was uninstalled")
	}
	for name, command := range map[string][]string{"no command": nil, "a relative one": {"urlsession"}, "a line break": {"/bin/a\nb"}} {
		if err := install(t.Context(), manager{}, own, command, &said); !errors.Is(err, task.CannotCreateFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStartSaysWhyTheDaemonEnded(t *testing.T) {
	home(t)
	t.Setenv("XDG_RUNTIME_DIR", "")
	state := filepath.Join(t.TempDir(), "state")
	_, err := Start(t.Context(), state, []string{"/bin/sh", "-c", "echo first; echo the disk is on fire >&2; exit 1"})
	if err == nil || !strings.Contains(err.Error(), "the disk is on fire") {
		t.Errorf("%v", err)
	}
	_, err = Start(t.Context(), state, []string{"/bin/true"})
	if err == nil || !strings.Contains(err.Error(), "ended at once") {
		t.Errorf("%v", err)
	}
	log, err := os.ReadFile(filepath.Join(state, logName))
	if err != nil || !strings.Contains(string(log), "setsid") || !strings.Contains(string(log), "first") {
		t.Errorf("%v: %s", err, log)
	}
	if _, err := Start(t.Context(), state, []string{"urlsession"}); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Errorf("%v", err)
	}
	if _, err := Start(t.Context(), os.DevNull, []string{"/bin/true"}); err == nil || !strings.Contains(err.Error(), "is no folder") {
		t.Errorf("a state folder that is a device: %v", err)
	}
	if _, err := Start(t.Context(), filepath.Join(os.DevNull, "x"), []string{"/bin/true"}); err == nil {
		t.Error("it stands below a device")
	}
}

// TestStartOfAnotherVersion: one that is there and cannot be had is told by its own code, and not taken for lost.
func TestStartOfAnotherVersion(t *testing.T) {
	home(t)
	state := t.TempDir()
	l, err := net.Listen("unix", control.Socket(state))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(control.VersionHeader, "0") })}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	defer func() {
		s.Close()
		<-done
	}()
	_, err = Start(t.Context(), state, []string{"/bin/true"})
	if !errors.Is(err, task.NoSharedContainer) || strings.Contains(err.Error(), "-997") {
		t.Errorf("%v", err)
	}
}
