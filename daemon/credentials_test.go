package daemon

import (
	"bytes"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/seal"
	"github.com/urlsession/urlsession/urlsessiontest"
)

const (
	credentialMarker = "marker2b77"
	basicMe          = "Basic bWU6bWFya2VyMmI3Nw=="
)

// loginTest is an origin that wants Basic of me, and the state folder of daemons that ask it.
type loginTest struct {
	t     *testing.T
	srv   *urlsessiontest.Server
	state string
}

func newLoginTest(t *testing.T) *loginTest {
	t.Helper()
	l := &loginTest{t, origin(t), t.TempDir()}
	l.srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	l.srv.Always("/d", urlsessiontest.When(func(r *http.Request) bool { return r.Header.Get("Authorization") != basicMe },
		urlsessiontest.Unauthorized(`Basic realm="r"`)))
	return l
}

// dial opens a session that keeps credentials.
func (l *loginTest) dial(id string, change ...func(*control.Configuration)) *control.Client {
	l.t.Helper()
	keeps := func(c *control.Configuration) { c.Chain.Credentials = true }
	return dial(l.t, l.state, id, append([]func(*control.Configuration){keeps}, change...)...)
}

// wants compares what a task sends.
func (l *loginTest) wants(c *control.Client, sent ...string) {
	l.t.Helper()
	before := len(l.srv.Requests())
	rec := succeed(l.t, c, create(l.t, c, data(l.srv.URL+"/d")))
	var got []string
	for _, r := range l.srv.Requests()[before:] {
		got = append(got, r.Header.Get("Authorization"))
	}
	status := http.StatusUnauthorized
	if sent[len(sent)-1] == basicMe {
		status = http.StatusOK
	}
	if strings.Join(got, "|") != strings.Join(sent, "|") || rec.Response.Status != status {
		l.t.Errorf("the task sends %q and gets %d, want %q and %d", got, rec.Response.Status, sent, status)
	}
}

// storage is a session's, opened by another process than its daemon.
func (l *loginTest) storage(id string) *credential.Storage {
	file, key := control.SessionCredentials(l.state, id)
	return credential.Later(file, credential.Options{Holders: []seal.Holder{seal.InFile(key)}})
}

// set stores me for the origin.
func (l *loginTest) set(s *credential.Storage, p credential.Persistence) {
	l.t.Helper()
	req, err := http.NewRequest(http.MethodGet, l.srv.URL, nil)
	must(l.t, err)
	c := credential.Credential{User: "me", Password: credential.NewSecret(credentialMarker), Persistence: p}
	must(l.t, s.Set(within(l.t), credential.Origin(req.URL), c))
}

// TestCredentialsLast over restarts, in order and not, and over an end of the session, until Reset, which removes all but the
// key.
func TestCredentialsLast(t *testing.T) {
	l := newLoginTest(t)
	d := start(t, l.state)
	c := l.dial("s")
	must(t, c.Flush(within(t)))
	if file, key := control.SessionCredentials(l.state, "s"); exists(file) || exists(key) {
		t.Error("without a credential there is a file")
	}
	l.set(l.storage("s"), credential.Permanent)
	l.wants(c, "", basicMe)
	l.wants(c, basicMe)
	d.stop()
	child := startChild(t, l.state)
	l.wants(c, "", basicMe)
	child.kill()
	d = start(t, l.state)
	l.wants(c, "", basicMe)
	l.wants(l.dial("other"), "")
	l.wants(l.dial("none", func(c *control.Configuration) { c.Chain.Credentials = false }), "")

	must(t, c.Invalidate(within(t)))
	until(t, "the session's end", func() bool {
		info, err := c.Info(within(t))
		must(t, err)
		return info.State == control.SessionInvalidated
	})
	acknowledgeAll(t, c)
	c = l.dial("s")
	l.wants(c, "", basicMe)
	must(t, filepath.WalkDir(l.state, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(credentialMarker)) || bytes.Contains(b, []byte(basicMe)) {
			t.Errorf("%s has the password", path)
		}
		return err
	}))

	must(t, c.Reset(within(t)))
	l.wants(c, "")
	file, key := control.SessionCredentials(l.state, "s")
	if names, _ := filepath.Glob(file + "*"); len(names) > 0 || !exists(key) {
		t.Errorf("after Reset there are %v, and the key: %v", names, exists(key))
	}
	if text := d.log.String(); strings.Contains(text, credentialMarker) || strings.Contains(text, basicMe) {
		t.Error("the log has the password")
	}
}

// TestResetForgetsUsers of all generations of the configuration, also those that were never in a file.
func TestResetForgetsUsers(t *testing.T) {
	l := newLoginTest(t)
	start(t, l.state)
	netrc := func(text string) func(*control.Configuration) {
		return func(c *control.Configuration) { c.Chain.Netrc = text }
	}
	c := l.dial("s", netrc("machine 127.0.0.1 login me password "+credentialMarker))
	l.wants(c, "", basicMe)
	l.wants(c, basicMe)
	must(t, c.Reset(within(t)))
	l.wants(c, "", basicMe)
	c = l.dial("s", netrc(""))
	l.wants(c, "")

	for _, bad := range []string{"machine h\npassword", strings.Repeat("#\n", control.MaxNetrc)} {
		err := client(t, l.state, "bad", netrc(bad)).Open(within(t))
		says(t, err, ".netrc")
	}
}

// TestCredentialsThatCannotBeWritten are in memory, that is said, and they are written once that can be.
func TestCredentialsThatCannotBeWritten(t *testing.T) {
	log := new(lines)
	ss := &sessions{state: t.TempDir(), log: slog.New(slog.NewTextHandler(log, nil))}
	s := &session{ss: ss, id: "s", jar: ss.cookies("s"), credentials: ss.credentials("s")}
	_, key := control.SessionCredentials(ss.state, "s")
	must(t, os.WriteFile(key, []byte("none"), 0o600))
	taken := credential.Stored{Space: credential.Space{Scheme: "http", Host: "h"}.Canonical(),
		Credential: credential.Credential{User: "me", Password: credential.NewSecret(credentialMarker), Persistence: credential.Permanent}}
	says(t, s.keep(t.Context(), taken), "write credential file")
	if text := log.String(); !strings.Contains(text, "in memory alone") || strings.Contains(text, credentialMarker) {
		t.Errorf("the log says %s", text)
	}
	if _, ok := s.credentials.Default(taken.Space); !ok {
		t.Error("it is not in memory")
	}
	says(t, s.flush(t.Context()), "write credential file")
	must(t, os.Remove(key))
	must(t, s.flush(t.Context()))
	if _, ok := ss.credentials("s").Default(taken.Space); !ok {
		t.Error("it is not in the file")
	}
}
