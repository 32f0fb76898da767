package background

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/daemon"
)

// A keeper keeps the daemon of a state folder: it starts its process, kills it, and starts it again. Its methods that begin
// or end a process are for one goroutine.
type keeper struct {
	t     testing.TB
	state string
	log   string   // a file: what all processes have said
	env   []string // of the process, beside its folders

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process has
	endedBy error
}

// newKeeper keeps the daemon of a fresh state folder, which is not started. At the test's end there is none.
func newKeeper(t testing.TB) *keeper {
	t.Helper()
	return keeperOf(t, filepath.Join(t.TempDir(), "state"))
}

func keeperOf(t testing.TB, state string) *keeper {
	t.Helper()
	k := &keeper{t: t, state: state, log: filepath.Join(t.TempDir(), "daemon.log")}
	t.Cleanup(func() {
		k.kill()
		said := k.said()
		if t.Failed() {
			t.Logf("the daemon said:\n%s", said[max(0, len(said)-16<<10):])
		}
		for _, bad := range []string{"panic: ", "fatal error: ", "DATA RACE"} {
			if strings.Contains(said, bad) {
				t.Errorf("the daemon said %q:\n%s", bad, said[strings.Index(said, bad):])
			}
		}
	})
	return k
}

// running is a daemon that answers.
func running(t testing.TB) *keeper {
	t.Helper()
	k := newKeeper(t)
	k.start()
	k.ready()
	return k
}

func (k *keeper) said() string {
	b, err := os.ReadFile(k.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		k.t.Error(err)
	}
	return string(b)
}

// command is the daemon's process, not started.
func (k *keeper) command() *exec.Cmd {
	cmd := exec.Command(binary, "daemon", "run", "--state", k.state)
	env := isolated(filepath.Dir(k.log))
	if *withRace {
		cmd = exec.Command(self(k.t))
		env = append(env, roleVariable+"=daemon")
	}
	cmd.Env = append(append(env, "URLSESSION_STATE="+k.state), k.env...)
	cmd.Dir = filepath.Dir(k.log)
	return cmd
}

// isolated is an environment whose folders are below dir. No proxy is in it.
func isolated(dir string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"),
		"XDG_CONFIG_HOME=" + filepath.Join(dir, "config"), "XDG_STATE_HOME=" + filepath.Join(dir, "xdg-state"),
		"XDG_DATA_HOME=" + filepath.Join(dir, "data"), "XDG_CACHE_HOME=" + filepath.Join(dir, "cache"),
	}
}

func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// daemonRole is this binary as the daemon.
func daemonRole() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return daemon.Run(ctx, daemon.Options{State: os.Getenv("URLSESSION_STATE"), Version: "test", OwnsProcess: true})
}

// start starts the process, and waits for nothing.
func (k *keeper) start() {
	k.t.Helper()
	k.startAs(k.command())
}

func (k *keeper) startAs(cmd *exec.Cmd) {
	k.t.Helper()
	log, err := os.OpenFile(k.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	defer log.Close() // the child has its own
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	ended := make(chan struct{})
	k.mu.Lock()
	k.cmd, k.ended, k.endedBy = cmd, ended, nil
	k.mu.Unlock()
	go func() {
		err := cmd.Wait()
		k.mu.Lock()
		k.endedBy = err
		k.mu.Unlock()
		close(ended)
	}()
}

func (k *keeper) process() (cmd *exec.Cmd, ended <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cmd, k.ended
}

// ready returns when the daemon answers. A process that ends instead fails the test.
func (k *keeper) ready() {
	k.t.Helper()
	cmd, ended := k.process()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if k.answers(cmd.Process.Pid) {
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			k.t.Fatalf("the daemon has ended at its start: %v\n%s", k.endedBy, k.said())
		case <-deadline:
			k.t.Fatalf("the daemon does not answer:\n%s", k.said())
		}
	}
}

// answers says whether the process with this number answers.
func (k *keeper) answers(pid int) bool {
	conn, err := net.Dial("unix", k.socket())
	if err != nil {
		return false
	}
	conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	st, err := k.daemon().Status(ctx)
	return err == nil && st.PID == pid
}

// kill ends the process at once, as SIGKILL does, and returns when it has. Where none runs it does nothing.
func (k *keeper) kill() {
	cmd, ended := k.process()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill() // it may have ended
	<-ended                // nothing outlives SIGKILL
}

// terminate ends the process by SIGTERM, which must end well.
func (k *keeper) terminate() {
	k.t.Helper()
	cmd, ended := k.process()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		k.t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		_ = cmd.Process.Signal(syscall.SIGQUIT) // its goroutines are the best clue
		<-ended
		k.t.Fatalf("the daemon still ran %v after SIGTERM", patience)
	}
	if k.endedBy != nil {
		k.t.Errorf("the daemon after SIGTERM: %v", k.endedBy)
	}
}

func (k *keeper) restart() {
	k.t.Helper()
	k.start()
	k.ready()
}

func (k *keeper) socket() string { return filepath.Join(k.state, "daemon.sock") }

// daemon is what an app's configuration says of it. The app starts none: that is the keeper's.
func (k *keeper) daemon() urlsession.Daemon { return daemonOf(k.state) }

func daemonOf(state string) urlsession.Daemon {
	return urlsession.Daemon{State: state, Command: []string{"/bin/true"}}
}

// configuration is of a background session of the daemon.
func (k *keeper) configuration(identifier string) urlsession.Configuration {
	c := urlsession.Background(identifier)
	c.Daemon = k.daemon()
	c.Proxy = urlsession.NoProxy()
	return c
}

// session opens a session of the daemon, until the test's end: then the app leaves it, as one that exits.
func (k *keeper) session(c urlsession.Configuration) *urlsession.Session {
	k.t.Helper()
	s, err := urlsession.New(c)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			k.t.Logf("close session %s: %v", c.Identifier, err)
		}
	})
	return s
}

// resident is VmRSS, and peak VmHWM, of the daemon in bytes.
func (k *keeper) resident() (now, peak int64) {
	k.t.Helper()
	cmd, _ := k.process()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		k.t.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		name, value, _ := strings.Cut(string(line), ":")
		kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		switch name {
		case "VmRSS":
			now = kib << 10
		case "VmHWM":
			peak = kib << 10
		}
	}
	return now, peak
}

// bounded is a context that ends a test which hangs.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
