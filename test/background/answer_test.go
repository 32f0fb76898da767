package background

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
)

// A task that asks who it is to say it is survives kills of the daemon while it waits, and its answer one that comes at once
// after Answer has returned. Each task is answered by another password, for itself alone, so that none goes on by another's.
func TestKilledAroundAnAnswer(t *testing.T) {
	t.Parallel()
	const rounds = 8
	password := func(path string) string { return "of " + path }
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, got, _ := r.BasicAuth(); got != password(r.URL.Path) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", r.URL.Path))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "welcome at ", r.URL.Path)
	}))
	defer origin.Close()
	k := running(t)
	c := k.configuration("com.example.answers")
	c.OnChallenge = func(context.Context, *urlsession.Task, urlsession.Challenge) urlsession.ChallengeAnswer {
		return urlsession.ChallengeAnswer{Disposition: urlsession.AnswerLater}
	}
	s := k.session(c)
	ctx := bounded(t)
	question := func(task *urlsession.Task) *urlsession.Wait {
		for {
			status, err := task.Status(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if status.Waiting != nil && status.Waiting.Challenge != nil {
				return status.Waiting
			}
			if status.State == urlsession.StateCompleted {
				t.Fatalf("the task has ended: %v", status.Err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	tasks, tickets := make([]*urlsession.Task, rounds), make([]string, rounds)
	for i := range tasks {
		var err error
		if tasks[i], err = s.DataTask(ctx, urlsession.Get(fmt.Sprintf("%s/%d", origin.URL, i))); err != nil {
			t.Fatal(err)
		}
		tickets[i] = question(tasks[i]).Ticket
	}
	k.kill()
	k.restart()
	for i, task := range tasks {
		path := fmt.Sprintf("/%d", i)
		if w := question(task); w.Ticket != tickets[i] || w.Challenge.Space.Realm != path {
			t.Errorf("task %d asks %+v by %s, after %s", i, w.Challenge.Space, w.Ticket, tickets[i])
		}
		answer := urlsession.ChallengeAnswer{Disposition: urlsession.UseCredential, Credential: urlsession.Credential{User: "u", Password: password(path)}}
		if err := task.Answer(ctx, tickets[i], answer); err != nil {
			t.Fatal(err)
		}
		k.kill() // at once
		k.restart()
		if _, err := task.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if body, err := task.Body(ctx); err != nil || string(body) != "welcome at "+path {
			t.Errorf("task %d: %q, %v", i, body, err)
		}
	}
	told := make(map[urlsession.TaskID]int)
	for _, ev := range stored(ctx, t, s) {
		if _, ok := ev.(urlsession.Challenged); ok {
			told[ev.Task()]++
		}
	}
	for _, task := range tasks {
		if told[task.Identifier()] != 1 {
			t.Errorf("task %d was told to ask %d times", task.Identifier(), told[task.Identifier()])
		}
	}
}
