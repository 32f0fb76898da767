package test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// On a terminal the tasks of the daemon have bars, too, and Ctrl-C leaves them alone.
func TestBackgroundBars(t *testing.T) {
	gate := urlsessiontest.NewGate()
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	file := urlsessiontest.Body{Seed: 1, Size: 24 << 20}
	for _, path := range []string{"/film", "/song"} {
		srv.Publish(path, urlsessiontest.Resource{Content: file, ETag: `"v"`, Header: unspread})
		srv.Script(path, urlsessiontest.HoldAt(urlsessiontest.AtBody(12<<20), gate))
	}
	dir := backgroundHome(t)
	r := runOnTerminal(t, dir, "download", "--session", "s", srv.URL+"/film", srv.URL+"/song")
	r.see(t, `/film +\[=*>? +\] (11\.9|12\.0) MiB of 24\.0 MiB \((49|50) %\)`)
	r.see(t, `/song +\[=*>? +\] (11\.9|12\.0) MiB of 24\.0 MiB \((49|50) %\)`)
	r.see(t, `0 done, 2 running: (23\.[89]|24\.0) MiB of 48\.0 MiB`)
	r.press(t, ctrlC)
	r.finish(t, 130)
	r.see(t, `urlsession: interrupted; the tasks go on: urlsession task list s`)

	gate.Open()
	waitUntil(t, "both files are there", func() bool {
		_, film := os.Stat(filepath.Join(dir, "film"))
		_, song := os.Stat(filepath.Join(dir, "song"))
		return film == nil && song == nil
	})
	for _, name := range []string{"film", "song"} {
		if err := file.CheckFile(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// What is typed is copied to the daemon until its end; interrupted before, it makes no task.
func TestBackgroundUploadFromTerminal(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Always("/up", urlsessiontest.Respond(200, "text/plain", "taken"))
	dir := backgroundHome(t)
	r := runOnTerminal(t, dir, "upload", "--session", "s", "-", srv.URL+"/up")
	r.press(t, "begun\n")
	r.see(t, `begun`)
	waitUntil(t, "the daemon takes it", func() bool {
		found, _ := filepath.Glob(filepath.Join(dir, ".local/state/urlsession/sessions/*/spool/*"))
		return len(found) > 0
	})
	r.press(t, ctrlC)
	r.finish(t, 130)
	r.see(t, `urlsession: interrupted; no task is known to have been made: urlsession task list s`)

	r = runOnTerminal(t, dir, "upload", "--session", "s", "-", srv.URL+"/up")
	r.press(t, "typed\n\x04")
	r.finish(t, 0)
	if all := srv.RequestsTo("/up"); len(all) != 1 || all[0].BodySize != int64(len("typed\n")) {
		t.Errorf("requests: %v", all)
	}
}

// A daemon holds nothing open of what its starter was given, such as a pipe whose reader waits for its end, and does not
// know the password of the command that it was started for.
func TestDaemonInheritsNothing(t *testing.T) {
	dir := backgroundHome(t)
	var pipes [2]*os.File
	for i, args := range [][]string{{"daemon", "start"}, {"download", "--session", "s", "--detach", "http://127.0.0.1:1/f"}} {
		pr, pw, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer pr.Close()
		pipes[i] = pr
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary, args...)
		state := filepath.Join(dir, "state"+args[0])
		cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir, "URLSESSION_STATE=" + state, "URLSESSION_PASSWORD=hunter2"}
		cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = pw, pw, []*os.File{pw}
		err = cmd.Run()
		pw.Close()
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		pid, err := os.ReadFile(filepath.Join(state, "daemon.lock"))
		if err != nil {
			t.Fatal(err)
		}
		environment, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "environ"))
		if err != nil || !strings.Contains(string(environment), state) || strings.Contains(string(environment), "hunter2") {
			t.Errorf("%q: the daemon's environment is %q, %v", args, environment, err)
		}
	}
	deadline := time.Now().Add(patience)
	for _, pr := range pipes {
		if err := pr.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(pr); err != nil {
			t.Errorf("the pipe is still held open: %v", err)
		}
	}
}

const ctrlC = "\x03"

func (r *terminalRun) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := r.ptm.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// backgroundHome is a home whose daemon ends with the test.
func backgroundHome(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { endDaemons(dir) })
	return dir
}
