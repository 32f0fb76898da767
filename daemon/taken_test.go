package daemon

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/store/sqlitestore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// TestTakenWhileTheSessionOpens: the tasks of an earlier daemon run, and are taken their credentials, before all of them are
// known.
func TestTakenWhileTheSessionOpens(t *testing.T) {
	const n = control.MaxBatch // many pages of them
	l := newLoginTest(t)
	child := startChild(t, l.state)
	c := l.dial("s")
	first := create(t, c, asking(data(l.srv.URL+"/d")))
	other := create(t, c, asking(data(l.srv.URL+"/d")))
	idle := data(l.srv.URL + "/d")
	idle.Suspended = true
	specs := make([]task.Spec, n)
	for i := range specs {
		specs[i] = idle
	}
	_, err := c.CreateBatch(within(t), specs)
	must(t, err)
	asked(t, c, other)
	asked(t, c, first)
	child.kill()
	db, err := sqlitestore.Open(within(t), filepath.Join(l.state, "urlsession.db"))
	must(t, err)
	rec, err := db.Session("s").Load(within(t), first)
	must(t, err)
	rec.Answered = []task.Answered{{Challenge: *rec.Waiting.Challenge, Answer: *answerOf("me", credentialMarker, "session").Answer}}
	rec.Waiting = nil
	_, err = db.Session("s").Save(within(t), &rec)
	must(t, err)
	must(t, db.Close())
	start(t, l.state)
	for _, id := range []task.ID{first, other} {
		if rec := succeed(t, c, id); rec.Response.Status != 200 {
			t.Errorf("task %d has status %d", id, rec.Response.Status)
		}
	}
}

// TestTakenBeforeAKill: a credential that lasts is tried by those that ask, although the daemon was killed before it told them.
func TestTakenBeforeAKill(t *testing.T) {
	l := newLoginTest(t)
	child := startChild(t, l.state)
	c := l.dial("s")
	id := create(t, c, asking(data(l.srv.URL+"/d")))
	none := create(t, l.dial("none", func(c *control.Configuration) { c.Chain.Credentials = false }), asking(data(l.srv.URL+"/d")))
	asked(t, c, id)
	child.kill()
	l.set(l.storage("s"), credential.Permanent)
	l.set(l.storage("none"), credential.Permanent)
	start(t, l.state)
	if rec := succeed(t, c, id); rec.Response.Status != 200 {
		t.Errorf("it has status %d", rec.Response.Status)
	}
	if w := asked(t, l.dial("none", func(c *control.Configuration) { c.Chain.Credentials = false }), none); w.Ticket != "1-1" {
		t.Errorf("a task that uses no stored credentials asks anew, by %s", w.Ticket)
	}
}

// TestAnsweredTaskAsksOnce what follows its answer's space: that it takes the answer again each time is nothing new.
func TestAnsweredTaskAsksOnce(t *testing.T) {
	srv := origin(t)
	state := t.TempDir()
	srv.Publish("/a", urlsessiontest.Resource{})
	srv.Always("/a", urlsessiontest.All(urlsessiontest.Redirect(http.StatusFound, "/b"),
		urlsessiontest.When(func(r *http.Request) bool { return r.Header.Get("Authorization") != basicMe }, urlsessiontest.Unauthorized(`Basic realm="r"`))))
	srv.Publish("/b", urlsessiontest.Resource{})
	srv.Always("/b", urlsessiontest.Unauthorized(`Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256`))
	start(t, state)
	c := dial(t, state, "s", func(c *control.Configuration) { c.Chain.Credentials = true })
	id := create(t, c, asking(data(srv.URL+"/a")))
	w := asked(t, c, id)
	must(t, c.Answer(within(t), id, w.Ticket, answerOf("me", credentialMarker, "session")))
	until(t, "the question of the second", func() bool {
		rec, err := c.Task(within(t), id)
		must(t, err)
		return rec.AwaitsAnswer() && rec.Waiting.Challenge.Space.Method == "Digest"
	})
	rec, err := c.Task(within(t), id)
	must(t, err)
	if rec.Attempt > 5 {
		t.Errorf("it took %d attempts to ask", rec.Attempt)
	}
}
