package daemon

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

func asking(spec task.Spec) task.Spec {
	spec.Policy.Ask.Challenge = true
	return spec
}

// asked waits until a task asks, and is what.
func asked(t *testing.T, c *control.Client, id task.ID) (w *task.Wait) {
	t.Helper()
	until(t, fmt.Sprintf("a question of task %d", id), func() bool {
		rec, err := c.Task(within(t), id)
		must(t, err)
		w = rec.Waiting
		return rec.AwaitsAnswer()
	})
	return w
}

func answerOf(user, password, keep string) task.Decision {
	return task.Decision{Answer: &task.Answer{Disposition: task.UseCredential,
		Credential: &task.Credential{User: user, Password: password, Persistence: keep}}}
}

// TestParkedTasksAreAnswered by one answer that is kept for the session, over kills of the daemon: while they wait, and as soon
// as the answer is there. Nothing of it stands in the open.
func TestParkedTasksAreAnswered(t *testing.T) {
	l := newLoginTest(t)
	child := startChild(t, l.state)
	c := l.dial("s")
	const n = 20
	for range n {
		create(t, c, asking(data(l.srv.URL+"/d")))
	}
	first := asked(t, c, 1)
	if want := (task.ProtectionSpace{Scheme: "http", Host: "127.0.0.1", Port: first.Challenge.Space.Port, Realm: "r", Method: "Basic"}); first.Challenge.Space != want {
		t.Errorf("asked for %+v", first.Challenge.Space)
	}
	for id := task.ID(1); id <= n; id++ {
		asked(t, c, id)
	}
	child.kill()
	child = startChild(t, l.state)
	if w := asked(t, c, 1); w.Ticket != first.Ticket || l.srv.Count("/d") != n {
		t.Errorf("it asks by %s after %s, and there were %d requests", w.Ticket, first.Ticket, l.srv.Count("/d"))
	}
	must(t, c.Answer(within(t), 1, first.Ticket, answerOf("me", "wrong", "")))
	var again *task.Wait
	until(t, "a question anew", func() bool {
		again = asked(t, c, 1)
		return again.Ticket != first.Ticket
	})
	if again.Challenge.Failures != 1 || again.Challenge.User != "me" || again.Challenge.Message == "" {
		t.Errorf("asked anew %+v", again.Challenge)
	}
	must(t, c.Answer(within(t), 1, again.Ticket, answerOf("me", credentialMarker, "session")))
	child.kill()
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
	startChild(t, l.state)
	for id := task.ID(1); id <= n; id++ {
		if rec := succeed(t, c, id); rec.Response.Status != 200 {
			t.Errorf("task %d has status %d", id, rec.Response.Status)
		}
	}
}

// TestQuestionWakesTheApp once nobody listens as the owner.
func TestQuestionWakesTheApp(t *testing.T) {
	l := newLoginTest(t)
	start(t, l.state)
	woke := filepath.Join(t.TempDir(), "woke")
	c := l.dial("s", func(c *control.Configuration) {
		c.Launch.Command = []string{"/bin/sh", "-c", "echo $URLSESSION_SESSION >>" + woke}
	})
	create(t, c, task.Spec{Kind: task.Data, Request: task.Request{Method: "GET", URL: l.srv.URL + "/d"}, Suspended: true})
	asked(t, c, create(t, c, asking(data(l.srv.URL+"/d"))))
	until(t, "the launch command", func() bool { return exists(woke) })
}

// TestBackgroundAsksOfNothingElse: redirects and responses need somebody who is there.
func TestBackgroundAsksOfNothingElse(t *testing.T) {
	l := newLoginTest(t)
	start(t, l.state)
	c := l.dial("s")
	for _, ask := range []task.Ask{{Redirect: true, Challenge: true}, {Response: true}} {
		spec := data(l.srv.URL + "/d")
		spec.Policy.Ask = ask
		_, err := c.Create(within(t), spec, nil)
		says(t, err, "redirects and responses")
	}
}

// TestParkedDownloadGoesOn from what it had when it was asked, over kills, and so does one that was cancelled meanwhile.
func TestParkedDownloadGoesOn(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		srv, state := origin(t), t.TempDir()
		file := urlsessiontest.Body{Seed: 2, Size: 32 << 20}
		srv.Publish("/f", urlsessiontest.Resource{Content: file, ETag: `"v1"`})
		srv.Script("/f", urlsessiontest.CloseAt(urlsessiontest.AtBody(file.Size/2)))
		srv.Always("/f", urlsessiontest.When(func(r *http.Request) bool { return r.Header.Get("Authorization") != basicMe },
			urlsessiontest.Unauthorized(`Basic realm="r"`)))
		child := startChild(t, state)
		c := dial(t, state, "s")
		spec := asking(download(srv.URL+"/f", filepath.Join(t.TempDir(), "f")))
		id := create(t, c, spec)
		asked(t, c, id)
		child.kill()
		startChild(t, state)
		w := asked(t, c, id)
		if cancelled {
			must(t, c.Cancel(within(t), id))
			rec := end(t, c, id)
			if rec.ResumeData == nil {
				t.Fatal("it has no resume data")
			}
			spec.Download.Resume = rec.ResumeData
			id = create(t, c, spec)
			w = asked(t, c, id)
		}
		must(t, c.Answer(within(t), id, w.Ticket, answerOf("me", credentialMarker, "")))
		must(t, file.CheckFile(succeed(t, c, id).Path))
		if again := srv.Sent("/f") - file.Size; again > 8<<20 {
			t.Errorf("%d bytes were sent twice", again)
		}
	}
}
