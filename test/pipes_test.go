package test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// unread is the writing end of a pipe whose reader is gone, as that of `urlsession … | head`.
func unread(t *testing.T) *os.File {
	t.Helper()
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	pr.Close()
	t.Cleanup(func() { pw.Close() })
	return pw
}

// runWith runs the binary in dir with standard output and error as given (nil: kept), and returns its exit status, -1 for
// one that a signal ended, and what it printed.
func runWith(t *testing.T, dir string, stdout, stderr *os.File, args ...string) (status int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var kept, keptErr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, []string{"HOME=" + dir}, &kept, &keptErr
	if stdout != nil {
		cmd.Stdout = stdout
	}
	if stderr != nil {
		cmd.Stderr = stderr
	}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), kept.String(), keptErr.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, kept.String(), keptErr.String()
}

// A body that nobody reads is an error, and no signal's end.
func TestUnreadBody(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Body{Seed: 1, Size: 1 << 20}})
	status, _, errs := runWith(t, t.TempDir(), unread(t), nil, "data", srv.URL+"/f")
	if status != 1 || !strings.Contains(errs, "cannot write file (-3003)") || strings.Count(errs, "\n") != 1 {
		t.Errorf("exit status %d, and it said %q", status, errs)
	}
}

// Events that nobody reads end the run, those of transfers too that have not failed; it is said once.
func TestUnreadEvents(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	gate := urlsessiontest.NewGate() // never opened
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Body{Seed: 1, Size: 1 << 20}})
	srv.Always("/f", urlsessiontest.HoldAt(urlsessiontest.AtBody(1<<19), gate))
	status, _, errs := runWith(t, t.TempDir(), unread(t), nil, "download", "--json", "-j", "2", srv.URL+"/f?1", srv.URL+"/f?2", srv.URL+"/f?3")
	if status != 1 || !strings.Contains(errs, "cannot write file (-3003)") || strings.Count(errs, "\n") != 1 {
		t.Errorf("exit status %d, and it said %q", status, errs)
	}
}

// A download goes on although nobody reads what is said of it.
func TestUnreadErrors(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	file := urlsessiontest.Body{Seed: 1, Size: 1 << 20}
	srv.Publish("/f", urlsessiontest.Resource{Content: file})
	dir := t.TempDir()
	status, _, _ := runWith(t, dir, nil, unread(t), "download", "-j", "1", srv.URL+"/none", srv.URL+"/f")
	if status != 1 {
		t.Errorf("exit status %d, want 1: one of two failed", status)
	}
	if err := file.CheckFile(filepath.Join(dir, "f")); err != nil {
		t.Error(err)
	}
}
