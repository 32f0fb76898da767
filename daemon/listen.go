package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/control/server"
)

// sockets are where clients connect.
type sockets struct {
	listeners []net.Listener // whose connections are of this user
	path      string         // of our own; empty: they are systemd's
	mine      fs.FileInfo    // what stands there
}

// listen opens the daemon's socket, or takes those that systemd has opened. The folder's lock is held.
func listen(f *folder, o Options) (*sockets, error) {
	logger := slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn)
	s := new(sockets)
	if o.OwnsProcess {
		given, err := activated()
		if err != nil {
			return nil, err
		}
		for _, l := range given {
			s.listeners = append(s.listeners, server.Listener(l, logger))
		}
	}
	if len(s.listeners) > 0 {
		return s, nil
	}
	l, err := s.open(control.Socket(f.path), f.path)
	if err != nil {
		return nil, fmt.Errorf("open the daemon's socket: %w", err)
	}
	s.listeners = []net.Listener{server.Listener(l, logger)}
	return s, nil
}

// open binds a socket at a path. There is no moment at which another user can connect: the folder that it is in is its
// owner's alone (0700), before the socket has a mode of its own.
func (s *sockets) open(path, state string) (net.Listener, error) {
	if dir := filepath.Dir(path); dir != state {
		if err := checkSocketFolder(dir); err != nil {
			return nil, err
		}
	}
	if err := clearStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // by then the name may be another daemon's
	err = os.Chmod(path, 0o600)
	if err == nil {
		s.mine, err = os.Lstat(path)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	s.path = path
	return l, nil
}

// checkSocketFolder makes the folder of a socket that is not in the state folder, and refuses one that others can reach.
func checkSocketFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil { // not durable: a socket is nothing that lasts
		return err
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir() || !ours(info) || info.Mode()&0o077 != 0:
		return fmt.Errorf("%s is no folder of yours alone (0700); move it away", dir)
	}
	return nil
}

// clearStale removes the socket that a daemon has left which was killed. The lock says that none runs on this folder.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket || !ours(info):
		return fmt.Errorf("%s is in the way, and is no socket of yours; move it away", path)
	}
	return os.Remove(path)
}

// remove takes the socket's name away, unless it is another's by now: one whose state folder was replaced must leave the
// socket of the daemon after it.
func (s *sockets) remove() {
	if s.path == "" {
		return
	}
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(s.mine, now) {
		_ = os.Remove(s.path) // or the next daemon clears it
	}
}

func (s *sockets) String() string {
	if s.path != "" {
		return s.path
	}
	var names []string
	for _, l := range s.listeners {
		names = append(names, l.Addr().String())
	}
	return strings.Join(names, " ") + " (of systemd)"
}
