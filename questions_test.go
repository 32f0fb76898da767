package urlsession

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/control"
)

// A daemon that is lost when a question's turn has come takes none away: it is called for once there is one again.
func TestQuestionsOutliveALostDaemon(t *testing.T) {
	srv := locked(t)
	d := startDaemon(t)
	d.lasting = true
	d.attach(t, nil) // which opens the session
	const n = questionsAtOnce + 4
	entered, enough := make(chan TaskID, n), make(chan struct{})
	c := d.configuration(func(c *Configuration) {
		c.OnChallenge = func(ctx context.Context, task *Task, _ Challenge) ChallengeAnswer {
			entered <- task.Identifier()
			select {
			case <-enough:
			case <-ctx.Done():
			}
			return ChallengeAnswer{Disposition: AnswerLater}
		}
	})
	o := c.Daemon.options(c.Identifier)
	o.Patience = 50 * time.Millisecond
	s := newBackground(c, control.NewClient(o), refusing{})
	defer s.Close()
	tasks := make([]*Task, n)
	for i := range tasks {
		var err error
		if tasks[i], err = s.DataTask(within(t), Get(fmt.Sprint(srv.URL, "/", i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, task := range tasks {
		challengeOfTask(t, task, 1)
	}
	called := make(map[TaskID]int)
	calls := func(n int) {
		t.Helper()
		for range n {
			select {
			case id := <-entered:
				called[id]++
			case <-within(t).Done():
				t.Fatalf("called for %v", called)
			}
		}
	}
	calls(questionsAtOnce)
	d.kill()
	close(enough)
	<-time.After(10 * o.Patience) // the daemon is lost to those whose turn it is
	d.next(t)
	calls(n - questionsAtOnce)
	if len(called) != n {
		t.Errorf("called for %v", called)
	}
}
