package main

import (
	"bytes"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/urlsession/urlsession/urlsessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A command leaves nothing behind in its process, well or ill ended. What it does is shown in test/, by the binary.
func TestExecuteLeavesNothing(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Bytes("content")})
	srv.Always("/gone", urlsessiontest.Status(http.StatusGone))
	dir := t.TempDir()
	for _, c := range []struct {
		status int
		args   []string
	}{
		{exitOK, []string{"download", "-o", filepath.Join(dir, "f"), srv.URL + "/f"}},
		{exitOK, []string{"data", srv.URL + "/f"}},
		{exitOK, []string{"upload", "-X", "PUT", "-d", "text", srv.URL + "/up"}},
		{exitFailed, []string{"download", "--fail-fast", "-i", "-", "-o", dir + "/"}},
	} {
		var stdout, stderr bytes.Buffer
		list := strings.Repeat(srv.URL+"/gone\n", 50)
		if status := execute(c.args, stdio{strings.NewReader(list), &stdout, &stderr}); status != c.status {
			t.Errorf("%q: exit status %d, want %d\n%s", c.args, status, c.status, &stderr)
		}
	}
	if n := srv.Count("/gone"); n > 20 {
		t.Errorf("--fail-fast went on for %d requests", n)
	}
}
