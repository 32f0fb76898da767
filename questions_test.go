package urlsession

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
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

// An answer that cannot be used is said, and the question stays.
func TestAnswerThatCannotBeUsed(t *testing.T) {
	srv := locked(t)
	d := startDaemon(t)
	said := make(chan string, 1)
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		select {
		case said <- string(p):
		default:
		}
		return len(p), nil
	}), nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	s := d.attach(t, func(c *Configuration) {
		c.OnChallenge = func(context.Context, *Task, Challenge) ChallengeAnswer {
			return ChallengeAnswer{Disposition: UseCredential, Credential: Credential{User: "me", Password: "pw7x", Token: "t0k"}}
		}
	})
	task, err := s.DataTask(within(t), Get(srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-said:
		if !strings.Contains(text, "task 1 ") || !strings.Contains(text, "both a password and a token") || strings.Contains(text, "pw7x") || strings.Contains(text, "t0k") {
			t.Errorf("it says %s", text)
		}
	case <-within(t).Done():
		t.Fatal("nothing is said")
	}
	if st, err := task.Status(within(t)); err != nil || st.Waiting == nil || st.Waiting.Reason != WaitAuthentication {
		t.Errorf("%+v, %v", st.Waiting, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
