package daemon

import (
	"errors"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// TestRateLimits: a task's, its session's and the daemon's hold all three; the first two outlive the daemon. At a byte a second
// nothing ends before it is let go.
func TestRateLimits(t *testing.T) {
	srv := origin(t)
	srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Body{Seed: 1, Size: 1 << 20}})
	state := t.TempDir()
	d := start(t, state)
	c := dial(t, state, "s")
	spec := data(srv.URL + "/d")
	spec.RateLimit = 1
	id := create(t, c, spec)
	moves := func() {
		t.Helper()
		rec, err := c.Task(within(t), id)
		must(t, err)
		before := rec.Counts.Received
		until(t, "a byte", func() bool {
			rec, err = c.Task(within(t), id)
			must(t, err)
			return rec.Counts.Received > before
		})
		if rec.State != task.Running || rec.Counts.Received > before+100 {
			t.Errorf("%s, with %d bytes after %d", rec.State, rec.Counts.Received, before)
		}
	}
	limits := func(ofTask, ofSession, ofDaemon int64) {
		t.Helper()
		rec, err := c.Task(within(t), id)
		must(t, err)
		info, err := c.Info(within(t))
		must(t, err)
		st, err := c.Status(within(t))
		must(t, err)
		if rec.Spec.RateLimit != ofTask || info.RateLimit != ofSession || st.RateLimit != ofDaemon {
			t.Errorf("the limits are %d, %d and %d; want %d, %d and %d", rec.Spec.RateLimit, info.RateLimit, st.RateLimit, ofTask, ofSession, ofDaemon)
		}
	}
	moves()
	must(t, c.SetRateLimit(within(t), 0, 1))
	must(t, c.SetRateLimit(within(t), id, 3))
	must(t, c.SetDaemonRateLimit(within(t), 1))
	limits(3, 1, 1)
	d.stop()
	start(t, state)
	limits(3, 1, 0)
	moves()
	must(t, c.SetRateLimit(within(t), id, 0)) // and the session's holds
	moves()
	must(t, c.SetDaemonRateLimit(within(t), 1))
	must(t, c.SetRateLimit(within(t), 0, 0)) // and the daemon's does
	limits(0, 0, 1)
	moves()
	must(t, c.SetDaemonRateLimit(within(t), 0))
	succeed(t, c, id)
	limits(0, 0, 0)
}

// TestSessionsRateLimit: one that was set stands beside the configuration of the app, until an app opens the session.
func TestSessionsRateLimit(t *testing.T) {
	state := t.TempDir()
	d := start(t, state)
	limited := func(c *control.Configuration) { c.RateLimit = 5 }
	c := dial(t, state, "s", limited)
	want := func(rate int64) {
		t.Helper()
		if info, err := c.Info(within(t)); err != nil || info.RateLimit != rate {
			t.Errorf("%d, %v; want %d", info.RateLimit, err, rate)
		}
	}
	want(5)
	must(t, c.SetRateLimit(within(t), 0, 7))
	want(7)
	d.stop()
	d = start(t, state)
	want(7) // of a session that is not open
	dial(t, state, "s", limited)
	want(5)
	must(t, c.SetRateLimit(within(t), 0, 0))
	want(0)
	code(t, c.SetRateLimit(within(t), 0, -1), task.Unknown)
	must(t, dial(t, state, "other").SetRateLimit(within(t), 0, 9))
	want(0)
	d.stop()
}

// TestReload: a client has the daemon read its settings, and is told what is wrong with them.
func TestReload(t *testing.T) {
	state := t.TempDir()
	settings, err := Settings{RateLimit: 5}, error(nil)
	start(t, state, func(o *Options) { o.Settings = func() (Settings, error) { return settings, err } })
	c := client(t, state, "s")
	want := func(rate int64, failure string) {
		t.Helper()
		if st, err := c.Status(within(t)); err != nil || st.RateLimit != rate || st.SettingsError != failure {
			t.Errorf("%d, %q, %v; want %d, %q", st.RateLimit, st.SettingsError, err, rate, failure)
		}
	}
	want(5, "")
	must(t, c.SetDaemonRateLimit(within(t), 8))
	want(8, "")
	settings.RateLimit = 6
	must(t, c.Reload(within(t)))
	want(6, "")
	err = errors.New("config.toml:7: a mistake")
	got := c.Reload(within(t))
	code(t, got, task.Unknown)
	says(t, got, "config.toml:7: a mistake; those before")
	want(6, err.Error())
	code(t, c.SetDaemonRateLimit(within(t), -1), task.Unknown)
}
