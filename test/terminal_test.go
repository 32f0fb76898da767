package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// openTerminal opens a pseudo-terminal of so many columns: what a process writes to tty is read from ptm, and the other way round.
func openTerminal(t *testing.T, columns uint16) (ptm, tty *os.File) {
	t.Helper()
	ptm, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	t.Cleanup(func() { ptm.Close() })
	if err := unix.IoctlSetPointerInt(int(ptm.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("unlock the pseudo-terminal: %v", err)
	}
	n, err := unix.IoctlGetInt(int(ptm.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(ptm.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("open the pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { tty.Close() })
	return ptm, tty
}

// terminalRun is the binary with a terminal as its standard error and controlling terminal.
type terminalRun struct {
	cmd    *exec.Cmd
	ptm    *os.File
	screen output
	stdout bytes.Buffer
	read   chan struct{}
}

func runOnTerminal(t *testing.T, dir string, args ...string) *terminalRun {
	t.Helper()
	return runOnColumns(t, 120, dir, args...)
}

func runOnColumns(t *testing.T, columns uint16, dir string, args ...string) *terminalRun {
	t.Helper()
	ptm, tty := openTerminal(t, columns)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r := &terminalRun{cmd: exec.CommandContext(ctx, binary, args...), ptm: ptm, read: make(chan struct{})}
	r.cmd.Dir = dir
	r.cmd.Env = []string{"HOME=" + dir, "TERM=xterm", "DBUS_SESSION_BUS_ADDRESS=unix:path=" + filepath.Join(dir, "none")} // no keyring
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = tty, &r.stdout, tty
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	go func() {
		defer close(r.read)
		_, _ = io.Copy(&r.screen, ptm) // EIO when the last that has the terminal open is gone
	}()
	return r
}

// see waits until the screen has shown what matches.
func (r *terminalRun) see(t *testing.T, pattern string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); !re.MatchString(r.screen.String()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the terminal never showed %q; its last:\n%q", pattern, tail(r.screen.String()))
		}
	}
}

func (r *terminalRun) finish(t *testing.T, status int) {
	t.Helper()
	err := r.cmd.Wait()
	<-r.read
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if got != status {
		t.Fatalf("exit status %d, want %d; the last on the terminal:\n%q", got, status, tail(r.screen.String()))
	}
}

// tail is the end of a screen, for a failure's text.
func tail(s string) string { return s[max(0, len(s)-2<<10):] }

func TestBars(t *testing.T) {
	gate := urlsessiontest.NewGate()
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	file := urlsessiontest.Body{Seed: 1, Size: 24 << 20}
	for _, path := range []string{"/film", "/song"} {
		srv.Publish(path, urlsessiontest.Resource{Content: file, ETag: `"v"`})
		srv.Script(path, urlsessiontest.HoldAt(urlsessiontest.AtBody(12<<20), gate))
	}
	dir := t.TempDir()
	r := runOnTerminal(t, dir, "download", srv.URL+"/film", srv.URL+"/song", srv.URL+"/none")
	r.see(t, `/film +\[=*>? +\] (11\.9|12\.0) MiB of 24\.0 MiB \((49|50) %\)`)
	r.see(t, `/song +\[=*>? +\] (11\.9|12\.0) MiB of 24\.0 MiB \((49|50) %\)`)
	r.see(t, `urlsession: http://\S*/none: bad server response \(-1011\), HTTP 404`)
	r.see(t, `0 done, 2 running, 1 failed: (23\.[89]|24\.0) MiB of 48\.0 MiB \((49|50) %\)`)
	gate.Open()
	r.finish(t, 1)
	r.see(t, `film  24\.0 MiB in `)
	r.see(t, `song  24\.0 MiB in `)
	r.see(t, `urlsession: 2 done, 0 running, 1 failed: 48\.0 MiB`)
	for _, name := range []string{"film", "song"} {
		if err := file.CheckFile(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// However narrow the terminal, a bar is one line, and says how far it is.
func TestBarsOnNarrowTerminal(t *testing.T) {
	gate := urlsessiontest.NewGate()
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/film", urlsessiontest.Resource{Content: urlsessiontest.Body{Seed: 1, Size: 24 << 20}, ETag: `"v"`})
	srv.Script("/film", urlsessiontest.HoldAt(urlsessiontest.AtBody(12<<20), gate))
	r := runOnColumns(t, 20, t.TempDir(), "download", srv.URL+"/film")
	r.see(t, `…/film (11\.9|12\.0) MiB`)
	gate.Open()
	r.finish(t, 0)
	text := regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]").ReplaceAllString(r.screen.String(), "")
	for line := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == '\r' || c == '\n' }) {
		if n := utf8.RuneCountInString(line); n > 20 && !strings.HasPrefix(line, "film ") { // the line that stays may wrap
			t.Errorf("a line of %d columns: %q", n, line)
		}
	}
}

func TestBarsSayWhyTheyWait(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Bytes("content")})
	srv.Script("/f", urlsessiontest.Status(503, urlsessiontest.RetryAfter(2*time.Second)))
	r := runOnTerminal(t, t.TempDir(), "download", srv.URL+"/f")
	r.see(t, `waiting to try again \(bad server response\), \d+m?s left`)
	r.finish(t, 0)
}

func TestBarsAreQuiet(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Body{Seed: 1, Size: 1 << 20}})
	srv.Always("/f", urlsessiontest.Slow(1<<21))
	r := runOnTerminal(t, t.TempDir(), "download", "-q", srv.URL+"/f")
	r.finish(t, 0)
	if s := r.screen.String(); s != "" {
		t.Errorf("-q showed %q", s)
	}
}

// A password is asked for on the terminal, without being shown.
func TestPasswordPrompt(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Bytes("content")})
	r := runOnTerminal(t, t.TempDir(), "download", "--user", "me", srv.URL+"/f")
	r.see(t, `Password for me: `)
	if _, err := r.ptm.WriteString(secret + "\n"); err != nil {
		t.Fatal(err)
	}
	r.finish(t, 0)
	if got := srv.RequestsTo("/f")[0].Header.Get("Authorization"); got != "Basic bWU6UzNDUkVU" {
		t.Errorf("Authorization %q", got)
	}
	if strings.Contains(r.screen.String()+r.stdout.String(), secret) {
		t.Error("the terminal showed the password")
	}
}

// What is stored is asked for in the same way.
func TestCredentialPrompt(t *testing.T) {
	home := t.TempDir()
	for prompt, args := range map[string][]string{
		"Password for me at https://example.com:443: ": {"credential", "set", "--user", "me", "https://example.com/path"},
		"Token for https://example.com:443: ":          {"credential", "set", "--token", "https://example.com"},
	} {
		r := runOnTerminal(t, home, args...)
		r.see(t, prompt)
		if _, err := r.ptm.WriteString(secret + "\n"); err != nil {
			t.Fatal(err)
		}
		r.finish(t, 0)
		if strings.Contains(r.screen.String()+r.stdout.String(), secret) {
			t.Error("the terminal showed the secret")
		}
	}
	r := runOnTerminal(t, home, "credential", "list", "--json")
	r.finish(t, 0)
	if got := strings.Count(r.stdout.String(), `"url":"https://example.com:443"`); got != 2 {
		t.Errorf("stored are %s", r.stdout.String())
	}
}

// The second Ctrl-C does not wait for anything, such as here for a full pipe that nobody reads.
func TestSecondInterrupt(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Body{Seed: 1, Size: 24 << 20}})
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pr.Close()
	cmd := exec.CommandContext(t.Context(), binary, "download", "-q", "-o", "-", srv.URL+"/f")
	cmd.Env = []string{"HOME=" + t.TempDir()}
	cmd.Stdout = pw
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pw.Close()
	const pipeSize = 64 << 10
	waitUntil(t, "the pipe is full", func() bool {
		n, err := unix.IoctlGetInt(int(pr.Fd()), unix.TIOCINQ)
		return err == nil && n >= pipeSize
	})
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for signals := 1; ; signals++ {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 130 {
				t.Fatalf("it ended with %v, want exit status 130", err)
			}
			if signals != 2 {
				t.Fatalf("it took %d signals to end, want 2", signals)
			}
			return
		case <-time.After(2 * time.Second): // the second ends it at once; the first never
			if signals > 1 {
				t.Fatal("it goes on after the second")
			}
		}
	}
}

// waitUntil waits for what becomes true without telling.
func waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not yet after %v: %s", patience, what)
		}
	}
}
