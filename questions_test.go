package urlsession

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/control"
)

// A daemon that is lost when a question's turn has come takes none away: it is called for once there is one again. A call for a
// task that has ended meanwhile ends too.
func TestQuestionsOutliveALostDaemon(t *testing.T) {
	srv := locked(t)
	d := startDaemon(t)
	d.lasting = true
	d.attach(t, nil) // which opens the session
	const n = questionsAtOnce + 4
	entered, enough, ended := make(chan TaskID, n), make(chan struct{}), make(chan struct{})
	c := d.configuration(func(c *Configuration) {
		c.OnChallenge = func(ctx context.Context, task *Task, _ Challenge) ChallengeAnswer {
			entered <- task.Identifier()
			turn := enough
			if task.Identifier() == 1 {
				turn = nil
				defer close(ended)
			}
			select {
			case <-turn:
			case <-ctx.Done():
			}
			return ChallengeAnswer{Disposition: AnswerLater}
		}
	})
	o := c.Daemon.options(c.Identifier)
	o.Patience = 50 * time.Millisecond
	s := newBackground(c, control.NewClient(o), refusing{})
	defer s.Close()
	called := make(map[TaskID]int)
	for i := range n {
		task, err := s.DataTask(within(t), Get(fmt.Sprint(srv.URL, "/", i)))
		if err != nil {
			t.Fatal(err)
		}
		challengeOfTask(t, task, 1)
		if task.Identifier() == 1 { // the first call is its
			called[<-entered]++
		}
	}
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
	calls(questionsAtOnce - 1)
	d.kill()
	close(enough)
	<-time.After(10 * o.Patience) // the daemon is lost to those whose turn it is
	for _, lost := range d.sessions() {
		if err := lost.Cancel(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	d.next(t)
	calls(n - questionsAtOnce)
	if len(called) != n {
		t.Errorf("called for %v", called)
	}
	select {
	case <-ended:
	case <-within(t).Done():
		t.Fatal("the call for a task that has ended goes on")
	}
}
