package control_test

import (
	"path/filepath"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
)

func TestStateFolder(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	for _, c := range []struct{ own, xdg, home, want string }{
		{"/srv/state", "/xdg", "/home/u", "/srv/state"},
		{"state", "/xdg", "/home/u", filepath.Join(here, "state")},
		{"", "/xdg", "/home/u", "/xdg/urlsession"},
		{"", "xdg", "/home/u", "/home/u/.local/state/urlsession"}, // relative: ignored, as its specification wants
		{"", "", "home", ""},
		{"", "", "", ""},
	} {
		t.Setenv("URLSESSION_STATE", c.own)
		t.Setenv("XDG_STATE_HOME", c.xdg)
		t.Setenv("HOME", c.home)
		if got, err := control.StateFolder(); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}
