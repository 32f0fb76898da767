package server_test

import (
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// asking is behaviours of tasks that ask who they are to say they are.
var asking = []behaviour{
	{"challenges", func(t *testing.T, svc control.Service, _ *network) {
		use := func(password string) *task.Answer {
			return &task.Answer{Disposition: task.UseCredential, Credential: &task.Credential{User: "u", Password: password, Persistence: "session"}}
		}
		for name, c := range map[string]struct {
			answers []*task.Answer
			code    task.Code
			status  int
		}{
			"used":      {[]*task.Answer{use("ajar"), use("open")}, 0, 200},
			"default":   {[]*task.Answer{nil}, 0, 401},
			"rejected":  {[]*task.Answer{{Disposition: task.RejectSpace}}, 0, 401},
			"cancelled": {[]*task.Answer{{Disposition: task.CancelTask}}, task.UserCancelledAuth, 0},
		} {
			id := create(t, svc, get("door", func(s *task.Spec) { s.Policy.Ask.Challenge = true }))
			asked := 0
			for ev, err := range svc.Events(t.Context(), task.EventQuery{Task: id}) {
				if err != nil {
					t.Fatal(err)
				}
				q, ok := ev.Detail.(task.Challenge)
				if !ok {
					continue
				}
				if want := (task.Challenge{Space: door, User: "u", Failures: asked, Message: "why", Ticket: q.Ticket}); q != want || q.Ticket == "" {
					t.Errorf("%s: asked %+v, want %+v", name, q, want)
				}
				rec, err := svc.Task(t.Context(), id)
				if w := rec.Waiting; err != nil || w == nil || w.Reason != task.WaitAuthentication || w.Ticket != q.Ticket || w.Challenge == nil || *w.Challenge != q {
					t.Errorf("%s: it waits for %+v, %v", name, w, err)
				}
				code(t, svc.Answer(t.Context(), id, "no such", task.Decision{Answer: c.answers[asked]}), task.ResourceUnavailable)
				if err := svc.Answer(t.Context(), id, q.Ticket, task.Decision{Answer: c.answers[asked]}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				code(t, svc.Answer(t.Context(), id, q.Ticket, task.Decision{Answer: c.answers[asked]}), task.ResourceUnavailable)
				asked++
			}
			rec := end(t, svc, id)
			if asked != len(c.answers) {
				t.Errorf("%s: asked %d times", name, asked)
			}
			if c.code != 0 {
				code(t, rec.Failure.Err(), c.code)
			} else if rec.Failure != nil || rec.Response.Status != c.status {
				t.Errorf("%s: %v, %+v", name, rec.Failure.Err(), rec.Response)
			}
		}
	}},
}
