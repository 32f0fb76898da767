package daemon

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/control"
)

// TestActivation starts the daemon as systemd does: with a socket that is open already, and one to be told on.
func TestActivation(t *testing.T) {
	state := t.TempDir()
	must(t, os.Chmod(state, 0o700))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: control.Socket(state), Net: "unix"})
	must(t, err)
	defer l.Close()
	given, err := l.File()
	must(t, err)
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	must(t, err)
	defer told.Close()
	must(t, told.SetReadDeadline(time.Now().Add(patience)))

	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+state, "LISTEN_FDS=1", "NOTIFY_SOCKET="+told.LocalAddr().String())
	cmd.ExtraFiles = []*os.File{given}
	must(t, cmd.Start())
	given.Close()
	c := &child{t, cmd}
	t.Cleanup(c.kill)
	says := func(want string) {
		t.Helper()
		b := make([]byte, 64)
		n, err := told.Read(b)
		must(t, err)
		if string(b[:n]) != want {
			t.Errorf("systemd was told %q, want %q", b[:n], want)
		}
	}
	says("READY=1")
	s := dial(t, state, "s")
	must(t, s.Stop(within(t)))
	says("STOPPING=1")
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	await(t, "the end", ended)
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	if !exists(control.Socket(state)) {
		t.Error("systemd's socket was removed")
	}
}

// TestEmbedded does not touch what systemd gave to the program around it.
func TestEmbedded(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	state := t.TempDir()
	d := start(t, state)
	dial(t, state, "s")
	d.stop()
	if os.Getenv("LISTEN_FDS") != "1" {
		t.Error("a variable of the program was unset")
	}
}
