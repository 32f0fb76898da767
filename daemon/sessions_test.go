package daemon

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/store/sqlitestore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// TestTwoClients has two apps on one identifier: they have the same tasks and events, and one owner.
func TestTwoClients(t *testing.T) {
	srv := origin(t)
	srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	state := t.TempDir()
	start(t, state)
	a, b := dial(t, state, "s"), dial(t, state, "s")
	succeed(t, b, create(t, a, data(srv.URL+"/d")))

	owning := false
	for ev, err := range a.Events(within(t), task.EventQuery{Own: true, DurableOnly: true}) {
		must(t, err)
		switch ev.Detail.(type) {
		case task.BackgroundTransfer:
			owning = true
		case task.EventsCompleted:
			info, err := b.Info(within(t))
			must(t, err)
			if !info.Owned || info.Tasks != 0 || info.Acknowledged != 0 || info.Last == 0 {
				t.Errorf("the session is %+v", info)
			}
			for _, err := range b.Events(within(t), task.EventQuery{Own: true}) {
				code(t, err, task.SessionInUse)
				break
			}
			code(t, b.Acknowledge(within(t), 1), task.SessionInUse)
			must(t, a.Acknowledge(within(t), info.Last))
		}
		if _, ok := ev.Detail.(task.EventsCompleted); ok {
			break
		}
	}
	if !owning {
		t.Error("an owner who was away is not told that events wait")
	}
	until(t, "the end of the claim", func() bool { info, err := b.Info(within(t)); return err == nil && !info.Owned })
	info, err := b.Info(within(t))
	must(t, err)
	if info.Acknowledged != info.Last {
		t.Errorf("the cursor is at %d of %d", info.Acknowledged, info.Last)
	}
}

func TestInvalidatedAndReopened(t *testing.T) {
	srv := origin(t)
	srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	gate := urlsessiontest.NewGate()
	srv.Always("/slow", urlsessiontest.HoldAt(urlsessiontest.AtByte(0), gate))
	srv.Publish("/slow", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	state := t.TempDir()
	d := start(t, state)
	c := dial(t, state, "s")
	slow := create(t, c, data(srv.URL+"/slow"))
	must(t, srv.WaitRequests(within(t), "/slow", 1))
	must(t, c.Finish(within(t)))
	_, err := c.Create(within(t), data(srv.URL+"/d"), nil)
	code(t, err, task.SessionInvalidated)
	err = c.Open(within(t))
	code(t, err, task.SessionInvalidated)
	says(t, err, "have not ended")
	d.stop()
	d = start(t, state) // which goes on ending it
	code(t, c.Open(within(t)), task.SessionInvalidated)
	gate.Open()
	succeed(t, c, slow)
	for ev, err := range c.Events(within(t), task.EventQuery{DurableOnly: true}) { // to its last
		must(t, err)
		_ = ev
	}
	err = c.Open(within(t))
	code(t, err, task.SessionInvalidated)
	says(t, err, "acknowledge")
	acknowledgeAll(t, c)
	must(t, c.Open(within(t)))
	id := create(t, c, data(srv.URL+"/d"))
	if id != slow+1 {
		t.Errorf("in the session that was opened anew the next task is %d, want %d", id, slow+1)
	}
	succeed(t, c, id)
	info, err := c.Info(within(t))
	must(t, err)
	if info.State != control.SessionOpen {
		t.Errorf("the session is %s", info.State)
	}

	must(t, c.Invalidate(within(t)))
	acknowledgeAll(t, c)
	d.stop()
	start(t, state)
	must(t, c.Open(within(t))) // also after a restart
	succeed(t, c, create(t, c, data(srv.URL+"/d")))
}

func TestCookies(t *testing.T) {
	srv := origin(t)
	srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	srv.Always("/d", urlsessiontest.SetCookie("k=v"))
	state := t.TempDir()
	start(t, state)
	c := dial(t, state, "s")
	sent := func(c *control.Client) string {
		succeed(t, c, create(t, c, data(srv.URL+"/d")))
		reqs := srv.RequestsTo("/d")
		return reqs[len(reqs)-1].Header.Get("Cookie")
	}
	if first, second := sent(c), sent(c); first != "" || second != "k=v" {
		t.Errorf("cookies %q, then %q", first, second)
	}
	if other := sent(dial(t, state, "other")); other != "" {
		t.Errorf("another session sends %q", other)
	}
	must(t, c.Flush(within(t)))
	must(t, c.Reset(within(t)))
	if after := sent(c); after != "" {
		t.Errorf("after Reset the cookies are %q", after)
	}
}

func TestRefusedSpecs(t *testing.T) {
	state := t.TempDir()
	start(t, state)
	c := dial(t, state, "s")
	for name, test := range map[string]struct {
		change func(*task.Spec)
		code   task.Code
	}{
		"redirect": {func(s *task.Spec) { s.Policy.Ask.Redirect = true }, task.Unknown},
		"response": {func(s *task.Spec) { s.Policy.Ask.Response = true }, task.Unknown},
		"stream":   {func(s *task.Spec) { s.Stream = true }, task.Unknown},
		"scheme":   {func(s *task.Spec) { s.Request.URL = "ftp://example.com/" }, task.UnsupportedURL},
		"URL":      {func(s *task.Spec) { s.Request.URL = "/f" }, task.BadURL},
	} {
		spec := data("http://example.com/")
		test.change(&spec)
		_, err := c.Create(within(t), spec, nil)
		if !errors.Is(err, test.code) {
			t.Errorf("%s: got %v, want %v", name, err, test.code)
		}
	}
	for name, change := range map[string]func(*control.Configuration){
		"negative": func(c *control.Configuration) { c.RateLimit = -1 },
		"roots":    func(c *control.Configuration) { c.Chain.TLS.Roots = []byte("none") },
		"certificate": func(c *control.Configuration) {
			c.Chain.TLS.Certificates = []control.Certificate{{Key: []byte("secret")}}
		},
		"pins": func(c *control.Configuration) {
			c.Chain.TLS.Pins = map[string][]string{"example.com": {"sha256//AAAA"}}
		},
		"pinned":  func(c *control.Configuration) { c.Chain.TLS.Pins = map[string][]string{"example.com:443": nil} },
		"proxy":   func(c *control.Configuration) { c.Chain.Proxy.URL = "gopher://secret@proxy" },
		"cookies": func(c *control.Configuration) { c.Chain.AcceptPolicy = "some" },
		"folder":  func(c *control.Configuration) { c.Launch = control.Launch{Command: []string{"x"}, Directory: "here"} },
		"program": func(c *control.Configuration) { c.Launch.Command = []string{""} },
	} {
		err := client(t, state, "new", change).Open(within(t))
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := client(t, state, "new").Info(within(t)); !errors.Is(err, task.ResourceUnavailable) {
		t.Errorf("a session that was refused is there: %v", err)
	}
}

// TestManySessions starts with a thousand sessions, a hundred of which have a task.
func TestManySessions(t *testing.T) {
	state := t.TempDir()
	d := start(t, state)
	const sessions = 1000
	b := []byte(`{"chain":{"cookies":true,"setCookies":true}}`)
	var openers sync.WaitGroup
	for i := range 16 {
		openers.Go(func() {
			for n := i; n < sessions; n += 16 {
				c := control.NewClient(control.ClientOptions{Socket: control.Socket(state), Session: fmt.Sprint("s", n), Configuration: b})
				err := c.Open(within(t))
				if err == nil && n%10 == 0 {
					spec := data("http://127.0.0.1:1/")
					spec.Suspended = true
					_, err = c.Create(within(t), spec, nil)
				}
				if c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	openers.Wait()
	d.stop()
	begin := time.Now()
	start(t, state)
	c := client(t, state, "s0")
	st, err := c.Status(within(t))
	must(t, err)
	t.Logf("%d sessions, %d of them with tasks: ready after %v", st.Sessions, st.Tasks, time.Since(begin))
	if st.Sessions != sessions || st.Tasks != sessions/10 {
		t.Errorf("the status is %+v", st)
	}
	if list, err := c.Sessions(within(t)); err != nil || len(list) != sessions || list[1].ID != "s1" {
		t.Errorf("%d sessions: %v", len(list), err)
	}
}

// TestListenersEnd has the daemon stop while somebody listens.
func TestListenersEnd(t *testing.T) {
	state := t.TempDir()
	d := start(t, state)
	c := dial(t, state, "s")
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	for ev, err := range c.Events(ctx, task.EventQuery{}) {
		if err != nil {
			break
		}
		if _, ok := ev.Detail.(task.EventsCompleted); ok {
			d.stop()
			cancel()
		}
	}
}

// A session that nobody asks for forgets its history all the same.
func TestSessionWithOldHistory(t *testing.T) {
	srv := origin(t)
	srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	state := t.TempDir()
	d := start(t, state)
	c := dial(t, state, "s")
	succeed(t, c, create(t, c, data(srv.URL+"/d")))
	old := func(o Options) bool {
		t.Helper()
		d.stop()
		db, err := sqlitestore.Open(within(t), filepath.Join(state, "urlsession.db"))
		must(t, err)
		defer db.Close()
		info, err := db.Info(within(t), "s")
		must(t, err)
		old, err := newSessions(state, db, o).old(within(t), info)
		must(t, err)
		return old
	}
	if old(Options{Retention: time.Nanosecond}) {
		t.Error("nobody has acknowledged its events")
	}
	d = start(t, state)
	acknowledgeAll(t, c)
	for _, c := range []struct {
		Options
		want bool
	}{{Options{Retention: time.Nanosecond}, true}, {Options{Retention: time.Hour, History: 1}, false}, {Options{Retention: -1, History: -1}, false}} {
		if got := old(c.Options); got != c.want {
			t.Errorf("with a retention of %v and %d: %v", c.Retention, c.History, got)
		}
	}
	db, err := sql.Open("sqlite", filepath.Join(state, "urlsession.db"))
	must(t, err)
	_, err = db.Exec("UPDATE tasks SET ended = ended - ?", int64(defaultRetention))
	must(t, errors.Join(err, db.Close()))
	if !old(Options{}) {
		t.Error("the retention that is the default is none")
	}
}
