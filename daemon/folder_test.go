package daemon

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/store/sqlitestore"
)

// refused is the error of a daemon that does not start.
func refused(t *testing.T, state string) error {
	t.Helper()
	err := Run(within(t), Options{State: state, Ready: func() { t.Error("it serves") }})
	if err == nil {
		t.Fatal("it ran")
	}
	says(t, err, state)
	return err
}

func TestFolderOpenToOthers(t *testing.T) {
	state := t.TempDir()
	must(t, os.Chmod(state, 0o755)) // empty: it is closed to others
	d := start(t, state)
	mode := func() os.FileMode {
		info, err := os.Stat(state)
		must(t, err)
		return info.Mode().Perm()
	}
	if mode() != 0o700 {
		t.Errorf("the folder's mode is %v", mode())
	}
	d.stop()
	must(t, os.Chmod(state, 0o755)) // ours: the same
	start(t, state).stop()
	if mode() != 0o700 {
		t.Errorf("after another start the folder's mode is %v", mode())
	}

	foreign := t.TempDir()
	must(t, os.Chmod(foreign, 0o755))
	must(t, os.WriteFile(filepath.Join(foreign, "thesis"), nil, 0o644))
	says(t, refused(t, foreign), "chmod 700")
	if exists(filepath.Join(foreign, lockName)) {
		t.Error("a folder that was refused was touched")
	}
}

func TestFolderThatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	says(t, refused(t, file), "no folder")
	says(t, refused(t, filepath.Join(file, "below")), "choose")
}

func TestFolderOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a folder of another user")
	}
	state := t.TempDir()
	must(t, os.Chown(state, 65534, 65534))
	says(t, refused(t, state), "another user")
}

// TestNewerSchema leaves the database of a newer program as it is.
func TestNewerSchema(t *testing.T) {
	state := t.TempDir()
	start(t, state).stop()
	path := filepath.Join(state, "urlsession.db")
	b, err := os.ReadFile(path)
	must(t, err)
	b[63] = 99 // user_version, big-endian at 60 of the header
	must(t, os.WriteFile(path, b, 0o600))
	if err := refused(t, state); !errors.Is(err, sqlitestore.ErrNewer) {
		t.Errorf("got %v", err)
	}
	now, err := os.ReadFile(path)
	must(t, err)
	if string(now) != string(b) {
		t.Error("the database was changed")
	}
	if exists(control.Socket(state)) {
		t.Error("there is a socket")
	}
}

func TestStaleSocket(t *testing.T) {
	state := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: control.Socket(state), Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	l.Close() // as kill -9 leaves it
	must(t, os.Chmod(state, 0o700))
	start(t, state)
	dial(t, state, "s")

	state = t.TempDir()
	must(t, os.Chmod(state, 0o700))
	must(t, os.WriteFile(control.Socket(state), []byte("mine"), 0o600))
	says(t, refused(t, state), "in the way")
	if b, _ := os.ReadFile(control.Socket(state)); string(b) != "mine" {
		t.Error("a file that is no socket was removed")
	}
}

// TestLongPath has the socket elsewhere, in a folder that must be the user's alone.
func TestLongPath(t *testing.T) {
	runtime := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	state := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	d := start(t, state)
	dial(t, state, "s")
	socket := control.Socket(state)
	if !strings.HasPrefix(socket, runtime) || !exists(socket) {
		t.Errorf("the socket is %s", socket)
	}
	d.stop()
	if exists(socket) {
		t.Error("the socket is left")
	}
	must(t, os.Chmod(filepath.Dir(socket), 0o755))
	says(t, refused(t, state), "yours alone")
}

// TestFolderTakenAway replaces the folder of a daemon that runs: it ends, and leaves its successor's socket.
func TestFolderTakenAway(t *testing.T) {
	for name, take := range map[string]func(string) error{
		"moved":   func(state string) error { return os.Rename(state, state+".old") },
		"removed": os.RemoveAll,
	} {
		t.Run(name, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "state")
			first := start(t, state)
			must(t, take(state))
			second := start(t, state)
			waitFor(t, "the end of a daemon without its folder", first.done)
			if !errors.Is(first.err, errTaken) {
				t.Errorf("it ended with %v", first.err)
			}
			dial(t, state, "s")
			second.stop()
		})
	}
}

// TestStoppingHolder waits for a daemon that stops already, in place of failing.
func TestStoppingHolder(t *testing.T) {
	state := t.TempDir()
	must(t, os.Chmod(state, 0o700))
	before, err := openFolder(within(t), state)
	must(t, err)
	if _, err := openFolder(within(t), state); !errors.Is(err, ErrRunning) {
		t.Errorf("got %v", err)
	}
	before.tellStopping()
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPause)
	defer cancel()
	if _, err := openFolder(ctx, state); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the holder stops: %v", err)
	}
	must(t, before.close())
	start(t, state)
}

func TestLockIsNoLink(t *testing.T) {
	state, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	must(t, os.Chmod(state, 0o700))
	must(t, os.WriteFile(victim, []byte("text"), 0o600))
	must(t, os.Symlink(victim, filepath.Join(state, lockName)))
	if err := refused(t, state); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(victim); string(b) != "text" {
		t.Error("the file behind a link was written")
	}
}

// TestSocketOfTheNext: a daemon whose folder was replaced leaves the socket of the one after it.
func TestSocketOfTheNext(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "daemon.sock")
	var first, next sockets
	for _, s := range []*sockets{&first, &next} {
		l, err := s.open(path, dir)
		must(t, err)
		defer l.Close()
		if s == &first {
			must(t, os.Rename(path, path+".old"))
		}
	}
	first.remove()
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	next.remove()
	if _, err := os.Lstat(path); err == nil {
		t.Error("its own stays")
	}
}
