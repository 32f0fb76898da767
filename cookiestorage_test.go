package urlsession

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// runCookiesProcess is a program of the application: it asks for a URL, flushes, and is killed.
func runCookiesProcess() int {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := Default()
	c.Application = "app"
	s, err := New(c)
	if err == nil {
		_, _, err = s.Data(ctx, Get(os.Getenv("COOKIES_URL")))
	}
	if err == nil {
		err = s.Flush(ctx)
	}
	if err == nil {
		var self *os.Process
		if self, err = os.FindProcess(os.Getpid()); err == nil {
			if err = self.Kill(); err == nil {
				<-ctx.Done() // it does not end in order
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

const cookieMarker = "marker8c2e"

// jarTest is an origin, and a home of its own for sessions that ask it.
type jarTest struct {
	t    *testing.T
	srv  *urlsessiontest.Server
	home string
}

func newJarTest(t *testing.T) *jarTest {
	t.Helper()
	j := &jarTest{t, urlsessiontest.NewServer(), t.TempDir()}
	t.Cleanup(j.srv.Close)
	j.srv.Publish("/", urlsessiontest.Resource{})
	t.Setenv("XDG_DATA_HOME", j.home)
	return j
}

// session is a default session of the application.
func (j *jarTest) session(application string) *Session {
	j.t.Helper()
	c := Default()
	c.Application = application
	s, err := New(c)
	if err != nil {
		j.t.Fatal(err)
	}
	j.t.Cleanup(func() { s.Close() })
	return s
}

// sent runs a task whose answer sets cookies, and is the Cookie field that it sent.
func (j *jarTest) sent(s *Session, set ...string) string {
	j.t.Helper()
	j.srv.Script("/", urlsessiontest.SetCookie(set...))
	ctx, cancel := context.WithTimeout(j.t.Context(), patience)
	defer cancel()
	if _, _, err := s.Data(ctx, Get(j.srv.URL+"/")); err != nil {
		j.t.Fatal(err)
	}
	return j.last()
}

func (j *jarTest) last() string {
	reqs := j.srv.RequestsTo("/")
	return reqs[len(reqs)-1].Header.Get("Cookie")
}

// files are those below a folder.
func files(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && path != dir {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// forget has this process open the applications' files anew, as another would.
func forget() {
	applications.Lock()
	defer applications.Unlock()
	applications.all = nil
}

func TestDefaultCookiesLast(t *testing.T) {
	j := newJarTest(t)
	s := j.session("app")
	if got := files(t, j.home); len(got) > 0 {
		t.Errorf("New has made %v", got)
	}
	j.sent(s, "fleeting=1")
	if err := s.Flush(t.Context()); err != nil || len(files(t, j.home)) > 0 {
		t.Errorf("without a cookie that lasts there are %v, %v", files(t, j.home), err)
	}
	j.sent(s, "k="+cookieMarker+"; Max-Age=3600")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := j.sent(j.session("other")); got != "" {
		t.Errorf("another application sends %q", got)
	}
	if got := j.sent(j.session("app")); !strings.Contains(got, "k="+cookieMarker) {
		t.Errorf("another session of the application sends %q", got)
	}
	for _, path := range files(t, j.home) {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
		if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(cookieMarker)) {
			t.Errorf("%s has the cookie's value", path)
		}
	}
	forget()
	s = j.session("app")
	if got := j.sent(s); got != "k="+cookieMarker {
		t.Errorf("the next process sends %q", got)
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := j.sent(s); got != "" {
		t.Errorf("after Reset it sends %q", got)
	}
	if got, _ := filepath.Glob(filepath.Join(j.home, "urlsession", "app", "*")); len(got) != 1 || filepath.Base(got[0]) != "cookies.key" {
		t.Errorf("after Reset there are %v", got)
	}
}

// TestTwoProcessesOneJar: each sends what the other's answers set, although it is killed as soon as it has flushed.
func TestTwoProcessesOneJar(t *testing.T) {
	j := newJarTest(t)
	s := j.session("app")
	j.sent(s, "a=1; Max-Age=3600")
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.srv.Script("/", urlsessiontest.SetCookie("b=2; Max-Age=3600"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "cookies")
	cmd.Env = append(os.Environ(), "COOKIES_URL="+j.srv.URL+"/")
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != -1 {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("the other process was not killed: %v\n%s", err, text)
	}
	if got := j.last(); got != "a=1" {
		t.Errorf("the other process sends %q", got)
	}
	forget() // in place of the second in which the storage does not look
	if got := j.sent(j.session("app")); got != "a=1; b=2" {
		t.Errorf("this process sends %q", got)
	}
}

// TestNoPlaceForCookies: sessions work, with cookies in memory, and Flush and Close say why they do not last.
func TestNoPlaceForCookies(t *testing.T) {
	for name, spoil := range map[string]func(j *jarTest){
		"a folder that cannot be made": func(j *jarTest) {
			if err := os.Symlink("nowhere", filepath.Join(j.home, "urlsession")); err != nil {
				t.Fatal(err)
			}
		},
		"no home": func(j *jarTest) {
			j.t.Setenv("XDG_DATA_HOME", "relative")
			j.t.Setenv("HOME", "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJarTest(t)
			spoil(j)
			s := j.session("app")
			j.sent(s, "fleeting=1")
			if err := s.Flush(t.Context()); err != nil {
				t.Errorf("with nothing to keep: %v", err)
			}
			j.sent(s, "k=1; Max-Age=3600")
			if got := j.sent(s); got != "fleeting=1; k=1" {
				t.Errorf("it sends %q", got)
			}
			for _, err := range []error{s.Flush(t.Context()), s.Close()} {
				if err == nil || !strings.Contains(err.Error(), "cookie file") {
					t.Errorf("it says %v", err)
				}
			}
			c := Default()
			c.Application = "app"
			again, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			if err := again.Reset(t.Context()); err != nil {
				t.Errorf("Reset: %v", err)
			}
			if err := again.Close(); err != nil {
				t.Errorf("after Reset: %v", err)
			}
		})
	}
}

// TestEphemeralLeavesNoFile where a session could leave one, but for the download that was asked for.
func TestEphemeralLeavesNoFile(t *testing.T) {
	j := newJarTest(t)
	root := t.TempDir()
	for _, name := range []string{"HOME", "TMPDIR", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"} {
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv(name, dir)
	}
	before := len(files(t, root))
	t.Chdir(filepath.Join(root, "HOME"))
	s, err := New(Ephemeral())
	if err != nil {
		t.Fatal(err)
	}
	j.sent(s, "k=1; Max-Age=3600")
	if got := j.sent(s); got != "k=1" {
		t.Errorf("it sends %q", got)
	}
	out := t.TempDir()
	if _, err := s.Download(t.Context(), Get(j.srv.URL+"/"), filepath.Join(out, "f")); err != nil {
		t.Error(err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if after := files(t, root); len(after) != before {
		t.Errorf("there are %v", after)
	}
	if got := files(t, out); len(got) != 1 {
		t.Errorf("beside the download there are %v", got)
	}
}

func TestApplicationNames(t *testing.T) {
	for _, name := range []string{"a/b", "..", ".", `a\b`, "a\x00", strings.Repeat("a", 256)} {
		c := Default()
		c.Application = name
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), "Configuration.Application") {
			t.Errorf("%q: %v", name, err)
		}
		c = Ephemeral()
		c.Application = name
		if s, err := New(c); err != nil {
			t.Errorf("ephemeral, %q: %v", name, err)
		} else {
			s.Close()
		}
	}
	c := Default()
	c.Application = ""
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Configuration().CookieStorage != Default().CookieStorage {
		t.Error("the empty name is not the executable's")
	}
}
