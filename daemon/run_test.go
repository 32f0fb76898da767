package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

func TestRun(t *testing.T) {
	srv := origin(t)
	file := urlsessiontest.Body{Seed: 1, Size: 1 << 20}
	srv.Publish("/f", urlsessiontest.Resource{Content: file, ETag: `"v1"`})
	srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	state := filepath.Join(t.TempDir(), "a", "b")
	d := start(t, state)
	for path, want := range map[string]os.FileMode{"": 0o700, "daemon.sock": 0o600, "daemon.lock": 0o600, "urlsession.db": 0o600} {
		info, err := os.Stat(filepath.Join(state, path))
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%q has mode %v, want %v", path, info.Mode(), want)
		}
	}
	c := dial(t, state, "s")
	to := filepath.Join(t.TempDir(), "f")
	succeed(t, c, create(t, c, download(srv.URL+"/f", to)))
	must(t, file.CheckFile(to))
	id := create(t, c, data(srv.URL+"/d"))
	succeed(t, c, id)

	st, err := c.Status(within(t))
	must(t, err)
	if st.PID != os.Getpid() || st.Version != "test" || st.State != state || st.Sessions != 1 || st.Tasks != 0 ||
		st.Used < 4096 || st.Free <= 0 || st.Started.IsZero() {
		t.Errorf("the status is %+v", st)
	}
	d.stop()
	if exists(control.Socket(state)) {
		t.Error("a stopped daemon leaves its socket")
	}

	d = start(t, state)
	body, err := c.Body(within(t), id)
	must(t, err)
	defer body.Close()
	got := make([]byte, 6)
	if n, _ := body.Read(got); string(got[:n]) != "hello" {
		t.Errorf("after a restart the body is %q", got[:n])
	}
	must(t, c.Stop(within(t)))
	await(t, "the end that a client has asked for", d.done)
	must(t, d.err)
}

func TestAnotherDaemon(t *testing.T) {
	state := t.TempDir()
	start(t, state)
	err := Run(within(t), Options{State: state})
	if !errors.Is(err, ErrRunning) {
		t.Fatalf("got %v, want ErrRunning", err)
	}
	says(t, err, state, "process")
	start(t, t.TempDir()) // side by side
	if _, err := client(t, state, "s").Status(within(t)); err != nil {
		t.Errorf("the first daemon does not answer any more: %v", err)
	}
}

func TestRunEndsBeforeItStands(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, Run(ctx, Options{State: t.TempDir()}))
}

func TestUnknownSession(t *testing.T) {
	state := t.TempDir()
	start(t, state)
	c := client(t, state, "nobody")
	_, err := c.Info(within(t))
	code(t, err, task.ResourceUnavailable)
	_, err = c.Create(within(t), data("http://example.com/"), nil)
	code(t, err, task.ResourceUnavailable)
	code(t, c.Flush(within(t)), task.ResourceUnavailable)
}
