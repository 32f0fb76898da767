package test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// traced are the system calls that make, change or remove a file, or may open one to do so.
const traced = "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,rename,renameat,renameat2,link,linkat,symlink,symlinkat," +
	"unlink,unlinkat,rmdir,truncate,ftruncate,fallocate,memfd_create,bind,chmod,fchmodat,chown,fchownat,utimensat"

var (
	call    = regexp.MustCompile(`^\d+ +(\w+)\((.*)`)
	named   = regexp.MustCompile(`(?:\w+<([^>]*)>, )?"((?:[^"\\]|\\.)*)"`) // a path, and the folder that it begins in
	writing = regexp.MustCompile(`\bO_(WRONLY|RDWR|CREAT|TRUNC|TMPFILE|APPEND)\b`)
)

// writes are the calls of a trace that touch a file outside a folder, but to read it.
func writes(t *testing.T, trace, but string) (all []string) {
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	calls := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		m := call.FindStringSubmatch(lines.Text())
		if m == nil {
			continue // a signal, the end of a process, the end of a call whose beginning was a line
		}
		calls++
		if m[1] == "bind" && !strings.Contains(m[2], "AF_UNIX") || strings.HasPrefix(m[1], "open") && !writing.MatchString(m[2]) {
			continue
		}
		if !within(m[2], but) {
			all = append(all, lines.Text())
		}
	}
	if calls == 0 {
		t.Fatal("the trace is empty")
	}
	return all
}

// within says whether all files that a call's arguments name are below a folder.
func within(args, folder string) bool {
	paths := named.FindAllStringSubmatch(args, -1)
	for _, path := range paths {
		full := path[2]
		if !filepath.IsAbs(full) {
			full = filepath.Join(path[1], full)
		}
		if !strings.HasPrefix(full, folder+"/") {
			return false
		}
	}
	return len(paths) > 0 || strings.Contains(args, "<"+folder+"/") // or the file is one that is open
}

// tracing is a home without a file, and an origin whose answers ask to be remembered.
type tracing struct {
	srv       *urlsessiontest.Server
	home, out string
}

func newTracing(t *testing.T) *tracing {
	t.Helper()
	probe := exec.Command("strace", "-o", os.DevNull, "true")
	if err := probe.Run(); errors.Is(err, exec.ErrNotFound) {
		if os.Getenv("CI") == "true" {
			t.Fatal("strace is missing: install it (Debian: strace)")
		}
		t.Skip("strace is missing: install it (Debian: strace)")
	} else if err != nil {
		t.Skipf("processes may not be traced here (ptrace): strace ends with %v", err)
	}
	w := &tracing{urlsessiontest.NewServer(), t.TempDir(), t.TempDir()}
	t.Cleanup(w.srv.Close)
	remember := urlsessiontest.All(urlsessiontest.SetCookie("k=v; Max-Age=3600"), urlsessiontest.SetHeader("Cache-Control", "max-age=3600"))
	w.srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Body{Seed: 1, Size: 1 << 20}, ETag: `"v1"`})
	w.srv.Always("/f", remember)
	w.srv.Publish("/login", urlsessiontest.Resource{})
	w.srv.Always("/login", urlsessiontest.When(urlsessiontest.Without("Authorization"), urlsessiontest.Unauthorized(`Basic realm="r"`)))
	w.srv.Always("/put", urlsessiontest.Respond(http.StatusCreated, "text/plain", "taken", remember))
	return w
}

// run is the trace of a program, whose exit status is to be 0.
func (w *tracing) run(t *testing.T, args ...string) (trace string) {
	t.Helper()
	trace = filepath.Join(t.TempDir(), "trace")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "strace", append([]string{"-f", "-qq", "-y", "-s", "4096", "-e", "trace=" + traced, "-o", trace}, args...)...)
	cmd.Dir = w.home
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.home, "TMPDIR=" + w.home, "URLSESSION_PASSWORD=secret"}
	for _, name := range []string{"DATA", "CACHE", "STATE", "CONFIG", "RUNTIME"} {
		folder := "HOME"
		if name == "RUNTIME" {
			folder = "DIR"
		}
		cmd.Env = append(cmd.Env, "XDG_"+name+"_"+folder+"="+filepath.Join(w.home, strings.ToLower(name)))
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // what it traces too
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("%v: %v\n%s", args, err, text)
	}
	return trace
}

// leavesNothing expects that a program has touched no file but below w.out.
func (w *tracing) leavesNothing(t *testing.T, args ...string) {
	t.Helper()
	for _, line := range writes(t, w.run(t, args...), w.out) {
		t.Errorf("%v: %s", args, line)
	}
	left, err := os.ReadDir(w.home)
	if err != nil || len(left) > 0 {
		t.Errorf("%v: the home has %v, %v", args, left, err)
	}
}

// TestEphemeralTouchesNoFile: a session that gets cookies, responses to be cached and a credential to be kept opens no file
// to write it, and makes, moves and removes none, but for the download that was asked for. A default one does.
func TestEphemeralTouchesNoFile(t *testing.T) {
	w := newTracing(t)
	w.leavesNothing(t, os.Args[0], "session", "ephemeral", w.srv.URL, w.out)
	if got := w.srv.RequestsTo("/f"); len(got) < 2 || got[len(got)-1].Header.Get("Cookie") != "k=v" {
		t.Error("it does not send the cookie")
	}
	if got := w.srv.RequestsTo("/login"); len(got) != 2 || got[1].Header.Get("Authorization") == "" {
		t.Errorf("it does not log in: %+v", got)
	}
	w.srv.Always("/f", urlsessiontest.SetCookie("k=v; Max-Age=3600"))
	made := strings.Join(writes(t, w.run(t, os.Args[0], "session", "default", w.srv.URL, w.out), w.out), "\n")
	if !strings.Contains(made, "O_CREAT") || !strings.Contains(made, "/cookies") {
		t.Errorf("of a default session the trace shows only:\n%s", made)
	}
}

// TestCommandTouchesNoFile but those that its flags name.
func TestCommandTouchesNoFile(t *testing.T) {
	w := newTracing(t)
	url := w.srv.URL
	w.leavesNothing(t, binary, "data", url+"/f")
	w.leavesNothing(t, binary, "data", "--user", "me", url+"/login")
	w.leavesNothing(t, binary, "upload", "-d", "text", url+"/put")
	w.leavesNothing(t, binary, "download", "-o", filepath.Join(w.out, "f"), url+"/f")
	w.leavesNothing(t, binary, "data", "--cookie-jar", filepath.Join(w.out, "jar"), url+"/f")
}

// sessionProcess is a program with a session that does what sessions do, of the arguments "session", its kind, an origin's URL
// and a folder.
func sessionProcess(args []string) error {
	kind, url, out := args[2], args[3], args[4]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := urlsession.Ephemeral()
	if kind == "default" {
		c = urlsession.Default()
		c.Application = "traced"
	}
	c.OnChallenge = answer
	s, err := urlsession.New(c)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, do := range []func() error{
		func() error { _, _, err := s.Data(ctx, urlsession.Get(url+"/f")); return err },
		func() error { _, _, err := s.Data(ctx, urlsession.Get(url+"/f")); return err },
		func() error { _, _, err := s.Data(ctx, urlsession.Get(url+"/login")); return err },
		func() error {
			_, _, err := s.Upload(ctx, urlsession.Put(url+"/put", urlsession.Text("text")))
			return err
		},
		func() error {
			resp, err := (&http.Client{Transport: s.RoundTripper(), Timeout: time.Minute}).Get(url + "/f")
			if err == nil {
				err = resp.Body.Close()
			}
			return err
		},
		func() error {
			_, err := s.Download(ctx, urlsession.Get(url+"/f"), filepath.Join(out, kind))
			return err
		},
		func() error { return s.Flush(ctx) },
		s.Close,
	} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}
