package daemon

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// jarTest is an origin that sets a cookie once, and a session that asks it.
type jarTest struct {
	t     *testing.T
	srv   *urlsessiontest.Server
	state string
}

const cookieMarker = "marker5f1d"

func newJarTest(t *testing.T) *jarTest {
	t.Helper()
	j := &jarTest{t, origin(t), t.TempDir()}
	j.srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	j.srv.Script("/d", urlsessiontest.SetCookie("k="+cookieMarker+"; Max-Age=3600", "fleeting=1"))
	return j
}

// sent runs a task, and is the Cookie field that it sent.
func (j *jarTest) sent(c *control.Client) string {
	j.t.Helper()
	succeed(j.t, c, create(j.t, c, data(j.srv.URL+"/d")))
	reqs := j.srv.RequestsTo("/d")
	return reqs[len(reqs)-1].Header.Get("Cookie")
}

func (j *jarTest) wants(c *control.Client, want string) {
	j.t.Helper()
	if got := j.sent(c); got != want {
		j.t.Errorf("the task sends %q, want %q", got, want)
	}
}

// file is where a session's cookies are.
func (j *jarTest) file(id string) string {
	return filepath.Join(control.SessionFolder(j.state, id), "cookies")
}

// TestCookiesLast over restarts, in order and not, and over an end of the session, until Reset. Those without an expiry end
// with the daemon.
func TestCookiesLast(t *testing.T) {
	const kept, all = "k=" + cookieMarker, "k=" + cookieMarker + "; fleeting=1"
	j := newJarTest(t)
	d := start(t, j.state)
	c := dial(t, j.state, "s")
	j.wants(c, "")
	j.wants(c, all)
	d.stop()
	child := startChild(t, j.state)
	j.wants(c, kept)
	j.srv.Script("/d", urlsessiontest.SetCookie("k=2; Max-Age=3600"))
	j.sent(c)
	must(t, c.Flush(within(t)))
	child.kill()
	start(t, j.state)
	j.wants(c, "k=2")

	must(t, c.Invalidate(within(t)))
	until(t, "the session's end", func() bool {
		info, err := c.Info(within(t))
		must(t, err)
		return info.State == control.SessionInvalidated
	})
	acknowledgeAll(t, c)
	c = dial(t, j.state, "s")
	j.wants(c, "k=2")
	if other := j.sent(dial(t, j.state, "other")); other != "" {
		t.Errorf("another session sends %q", other)
	}
	must(t, c.Reset(within(t)))
	j.wants(c, "")
	if names, _ := filepath.Glob(j.file("s") + "*"); len(names) > 0 {
		t.Errorf("after Reset there are %v", names)
	}
}

// TestCookiesAreSealed: the value of a cookie stands in no file of the state folder, and only the owner can read the file.
func TestCookiesAreSealed(t *testing.T) {
	j := newJarTest(t)
	d := start(t, j.state)
	c := dial(t, j.state, "s")
	j.sent(c)
	j.sent(c)
	must(t, c.Flush(within(t)))
	grep := func() {
		t.Helper()
		must(t, filepath.WalkDir(j.state, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if bytes.Contains(b, []byte(cookieMarker)) {
				t.Errorf("%s has the cookie's value", path)
			}
			return err
		}))
	}
	grep()
	for _, path := range []string{j.file("s"), filepath.Join(j.state, "cookies.key")} {
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	d.stop()
	grep()
	if bytes.Contains([]byte(d.log.String()), []byte(cookieMarker)) {
		t.Error("the log has the cookie's value")
	}
}

// TestNoCookiesNoFiles: a session without cookies that last has no file, and the state folder no key.
func TestNoCookiesNoFiles(t *testing.T) {
	j := newJarTest(t)
	j.srv.Publish("/none", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	d := start(t, j.state)
	c := dial(t, j.state, "s")
	path := filepath.Join(t.TempDir(), "f")
	succeed(t, c, create(t, c, download(j.srv.URL+"/none", path)))
	must(t, c.Flush(within(t)))
	must(t, c.Reset(within(t)))
	d.stop()
	for _, path := range []string{control.SessionFolder(j.state, "s"), filepath.Join(j.state, "cookies.key")} {
		if exists(path) {
			t.Errorf("there is %s", path)
		}
	}
}

// TestDamagedCookies are set aside, and said; the session's tasks run. So are those whose key is lost.
func TestDamagedCookies(t *testing.T) {
	for name, damage := range map[string]func(j *jarTest) error{
		"changed":  func(j *jarTest) error { return os.WriteFile(j.file("s"), []byte("urlsession"), 0o600) },
		"lost key": func(j *jarTest) error { return os.Remove(filepath.Join(j.state, "cookies.key")) },
	} {
		t.Run(name, func(t *testing.T) {
			j := newJarTest(t)
			d := start(t, j.state)
			c := dial(t, j.state, "s")
			j.sent(c)
			d.stop()
			must(t, damage(j))
			d = start(t, j.state)
			j.wants(c, "")
			j.srv.Script("/d", urlsessiontest.SetCookie("k=3; Max-Age=3600"))
			j.sent(c)
			must(t, c.Flush(within(t)))
			if aside, _ := filepath.Glob(j.file("s") + ".corrupt-*"); len(aside) != 1 {
				t.Errorf("set aside are %v", aside)
			}
			says(t, errorOf(d.log.String()), "cookies of a session", "it was kept as")
			d.stop()
			start(t, j.state)
			j.wants(c, "k=3")
		})
	}
}

type errorOf string

func (e errorOf) Error() string { return string(e) }
