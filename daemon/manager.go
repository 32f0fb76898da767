package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/urlsession/urlsession/internal/control"
)

// manager is the user's systemd.
type manager struct {
	present bool
	run     func(ctx context.Context, program string, args ...string) error
}

// errNoManager: the user has no systemd that could keep the daemon.
var errNoManager = errors.New("the user has no systemd here")

// commandFor bounds one call of systemctl: a manager that hangs must not hang everybody.
const commandFor = 10 * time.Second

// userManager is the systemd of this process's user. It is there if its socket is.
func userManager() manager {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	_, err := os.Stat(filepath.Join(dir, "systemd", "private"))
	return manager{present: filepath.IsAbs(dir) && err == nil, run: runCommand}
}

// runCommand's error is the last line that the program said.
func runCommand(ctx context.Context, program string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandFor)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if text := strings.TrimSpace(string(out)); err != nil && text != "" {
		return fmt.Errorf("%s: %s", program, text[strings.LastIndexByte(text, '\n')+1:])
	}
	return err
}

// unitName is the name of a state folder's unit, without its suffix: the user's own folder has the plain one.
func unitName(state string) string {
	if own, err := ownFolder(); err == nil && own == state {
		return "urlsession"
	}
	sum := sha256.Sum256([]byte(state))
	return "urlsession-" + hex.EncodeToString(sum[:4])
}

// ownFolder is the state folder where URLSESSION_STATE does not say another.
func ownFolder() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "urlsession"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state", "urlsession"), err
}

// handedOn are the variables that a daemon needs of its starter's environment, which systemd's own lacks: where its folders
// and its socket are, and whom the system trusts. Proxies are not among them: an app resolves its own.
var handedOn = []string{
	"HOME", "PATH", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "LANG",
}

// installed says whether a unit of the user's own is there.
func installed(unit string) bool {
	path, err := unitPath(unit)
	if err == nil {
		_, err = os.Stat(path)
	}
	return err == nil
}

// start leaves the daemon to the manager: to its installed unit, else to a transient one. errNoManager where there is none,
// or it takes neither.
func (m manager) start(ctx context.Context, state string, command []string) (how string, err error) {
	if !m.present {
		return "", errNoManager
	}
	unit := unitName(state) + ".service"
	if installed(unit) {
		if err := m.run(ctx, "systemctl", "--user", "start", unit); err != nil {
			return "", fmt.Errorf("start its unit %s: %w", unit, err)
		}
		return "started by its systemd unit " + unit, nil
	}
	args := []string{"--user", "--quiet", "--collect", "--unit=" + unit, "--service-type=notify",
		"--description=urlsession: background transfers"}
	for _, p := range properties {
		args = append(args, "--property="+p)
	}
	for _, name := range handedOn {
		if v, ok := os.LookupEnv(name); ok {
			args = append(args, "--setenv="+name+"="+v)
		}
	}
	args = append(args, "--setenv="+control.StateVariable+"="+state, "--")
	args = append(args, command...)
	// A unit of this name that is on its way out, or has failed, is in the way for a moment.
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		err := m.run(ctx, "systemd-run", args...)
		if err == nil {
			return "started as the transient systemd unit " + unit, nil
		}
		if m.run(ctx, "systemctl", "--user", "is-active", "--quiet", unit) == nil {
			return "started as the transient systemd unit " + unit, nil // somebody was faster
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if pause > time.Second {
			return "", fmt.Errorf("%w: %w", errNoManager, err)
		}
		_ = m.run(ctx, "systemctl", "--user", "reset-failed", unit) // an error: it has not failed
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// properties of the daemon's unit, installed or transient.
//
// A clean end, which `daemon stop` is, is not followed by a new start; every other end is. Only the daemon itself is
// signalled: a program that it has launched goes on.
var properties = []string{
	"Restart=always",
	"RestartSec=1s",
	"RestartPreventExitStatus=0",
	"KillMode=process",
	"TimeoutStopSec=30s",
	"UMask=0077",
}
