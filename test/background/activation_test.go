package background

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
)

// systemd makes the socket, and starts the daemon with it as descriptor 3 at the first connection (sd_listen_fds(3)). The
// daemon answers on it those who came before it too, leaves its name alone, and is started again the same way.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	if err := os.MkdirAll(k.state, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: k.socket(), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	origin := hello(t)
	ctx := bounded(t)
	for round := range 2 {
		early, err := net.Dial("unix", k.socket())
		if err != nil {
			t.Fatal(err)
		}
		defer early.Close()
		fmt.Fprint(early, "GET /v1/status HTTP/1.1\r\nHost: urlsession\r\nConnection: close\r\n\r\n")
		cmd := k.command()
		cmd.ExtraFiles = []*os.File{f}
		// LISTEN_PID is the process's own number, which exec keeps.
		cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, cmd.Args...)
		if cmd.Path, err = exec.LookPath("sh"); err != nil {
			t.Skip(err)
		}
		cmd.Env = append(cmd.Env, "LISTEN_FDS=1", "LISTEN_FDNAMES="+filepath.Base(k.socket()))
		k.startAs(cmd)
		k.ready()
		_ = early.SetReadDeadline(time.Now().Add(patience))
		if resp, err := http.ReadResponse(bufio.NewReader(early), nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("start %d: who came before it is answered %+v (%v)", round+1, resp, err)
		}
		s := k.session(k.configuration("com.example.activated"))
		if body, _, err := s.Data(ctx, urlsession.Get(origin.URL+"/f")); err != nil || string(body) != "hello from /f" {
			t.Errorf("start %d: %q (%v)", round+1, body, err)
		}
		k.terminate()
		if _, err := os.Stat(k.socket()); err != nil {
			t.Errorf("the socket is systemd's to remove: %v", err)
		}
	}
	// With nobody behind it, a connection waits in the socket's queue, as systemd wants it.
	conn, err := net.Dial("unix", k.socket())
	if err != nil {
		t.Fatal(errors.New("the socket listens no more: " + err.Error()))
	}
	conn.Close()
}
