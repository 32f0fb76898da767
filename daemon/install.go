package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// Install writes a unit for the user's systemd, $XDG_CONFIG_HOME/systemd/user/urlsession.service, which runs command for
// the state folder from the next login on, and enables it; a daemon that runs is left alone. Another folder than the user's
// own has a unit of another name. It tells to w, in words for a person, what it did and what is left to do: without
// `loginctl enable-linger` the daemon runs only while the user is logged in. To call it again writes the unit anew.
func Install(ctx context.Context, state string, command []string, w io.Writer) error {
	return install(ctx, userManager(), state, command, w)
}

func install(ctx context.Context, m manager, state string, command []string, w io.Writer) error {
	fail := func(err error) error {
		return &task.Error{Op: "install the daemon of", URL: state, Code: task.CannotCreateFile, Err: err}
	}
	state, err := filepath.Abs(state)
	if err != nil {
		return fail(err)
	}
	if len(command) == 0 || !filepath.IsAbs(command[0]) {
		return fail(fmt.Errorf("the command %q is no absolute path of a program", command))
	}
	for _, word := range append([]string{state}, command...) {
		if strings.ContainsFunc(word, func(r rune) bool { return r < ' ' }) {
			return fail(fmt.Errorf("%q has a control character, which a unit cannot hold", word))
		}
	}
	unit := unitName(state) + ".service"
	path, err := unitPath(unit)
	if err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fail(err)
	}
	if err := durable.WriteFile(path, unitText(state, command), 0o644); err != nil {
		return fail(err)
	}
	fmt.Fprintf(w, "Wrote %s.\n", path)
	if !m.present {
		fmt.Fprintf(w, "No systemd of this user runs here; where it does, enable the unit by:\n  systemctl --user enable --now %s\n", unit)
	} else {
		if err := m.run(ctx, "systemctl", "--user", "daemon-reload"); err != nil {
			return fail(fmt.Errorf("have systemd read the unit: %w", err))
		}
		if err := m.run(ctx, "systemctl", "--user", "enable", unit); err != nil {
			return fail(fmt.Errorf("enable the unit: %w", err))
		}
		fmt.Fprintf(w, "Enabled it: the daemon starts when you log in, and when a session needs it.\n")
	}
	fmt.Fprintf(w, "It ends when you log out, unless your user lingers, which this turns on:\n  loginctl enable-linger %s\n", userName())
	return nil
}

// Uninstall removes what Install wrote, and disables it. A daemon that runs goes on until it is stopped. Where nothing is
// installed it says so to w, and that is no error.
func Uninstall(ctx context.Context, state string, w io.Writer) error {
	return uninstall(ctx, userManager(), state, w)
}

func uninstall(ctx context.Context, m manager, state string, w io.Writer) error {
	fail := func(err error) error {
		return &task.Error{Op: "uninstall the daemon of", URL: state, Code: task.CannotRemoveFile, Err: err}
	}
	state, err := filepath.Abs(state)
	if err != nil {
		return fail(err)
	}
	unit := unitName(state) + ".service"
	path, err := unitPath(unit)
	if err != nil {
		return fail(err)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(w, "Nothing is installed: there is no %s.\n", path)
		return nil
	}
	if m.present { // before the file goes, or the link that enables it stays
		if err := m.run(ctx, "systemctl", "--user", "disable", unit); err != nil {
			return fail(fmt.Errorf("disable the unit: %w", err))
		}
	}
	if err := os.Remove(path); err != nil {
		return fail(err)
	}
	if m.present {
		if err := m.run(ctx, "systemctl", "--user", "daemon-reload"); err != nil {
			return fail(fmt.Errorf("have systemd forget the unit: %w", err))
		}
	}
	fmt.Fprintf(w, "Removed %s. A daemon that runs goes on; end it by: urlsession daemon stop\n", path)
	return nil
}

// unitPath is where the user's own units stand (systemd.unit(5)).
func unitPath(unit string) (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the folder of the user's units: %w", err)
	}
	return filepath.Join(dir, "systemd", "user", unit), nil
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// unitText is the unit file.
func unitText(state string, command []string) []byte {
	words := make([]string, len(command))
	for i, word := range command {
		words[i] = quote(strings.ReplaceAll(word, "$", "$$")) // a variable is replaced in commands alone
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[Unit]\nDescription=urlsession: background transfers\nStartLimitIntervalSec=0\n\n")
	fmt.Fprintf(&b, "[Service]\nType=notify\nExecStart=%s\n", strings.Join(words, " "))
	fmt.Fprintf(&b, "Environment=%s\n", quote(control.StateVariable+"="+state))
	for _, p := range properties {
		fmt.Fprintln(&b, p)
	}
	fmt.Fprintf(&b, "\n[Install]\nWantedBy=default.target\n")
	return []byte(b.String())
}

// quote makes a word of a unit's command line or assignment (systemd.syntax(7)): % begins a specifier.
func quote(word string) string {
	r := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`)
	return `"` + r.Replace(word) + `"`
}
