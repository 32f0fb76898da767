package urlsession

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// question is a challenge of a task that waits for its call of OnChallenge.
type question struct {
	ctx       context.Context
	id        task.ID
	challenge task.Challenge
}

const (
	// questionsAtOnce is how many calls of OnChallenge are under way for a session's tasks: of many that wait for one password,
	// most need not be asked for once the first has it.
	questionsAtOnce = 16
	// askAgain is how long a background session waits for a daemon that is lost before it looks again for what is asked.
	askAgain = 10 * time.Second
)

// challenge has the function be asked, once a ticket.
func (d *decider) challenge(ctx context.Context, id task.ID, c task.Challenge) {
	if c.Ticket == "" || d.s.config.OnChallenge == nil || d.asked[id].ticket == c.Ticket {
		return
	}
	ctx = d.begin(ctx, id, c.Ticket)
	d.s.handles.Pin(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.questions = append(d.questions, question{ctx, id, c})
	if d.asking < questionsAtOnce {
		d.asking++
		d.calls.Go(d.answer)
	}
}

// answer takes questions until there is none.
func (d *decider) answer() {
	for {
		d.mu.Lock()
		if len(d.questions) == 0 {
			d.asking--
			d.questions = nil
			d.mu.Unlock()
			return
		}
		q := d.questions[0]
		d.questions = d.questions[1:]
		d.mu.Unlock()
		d.answerOne(q)
		d.s.handles.Unpin(q.id)
	}
}

func (d *decider) answerOne(q question) {
	rec, err := d.s.svc.Task(q.ctx, q.id)
	for errors.Is(err, task.DaemonLost) && pause(q.ctx, askAgain) {
		rec, err = d.s.svc.Task(q.ctx, q.id)
	}
	if err != nil || rec.Waiting == nil || rec.Waiting.Ticket != q.challenge.Ticket {
		return // it was answered meanwhile, by whomever
	}
	a := d.s.config.OnChallenge(q.ctx, d.s.handles.handle(d.s, q.id), challengeOf(&q.challenge))
	if a.Disposition == AnswerLater {
		return
	}
	decision, err := a.decision() // in process what is none fails where it is used
	if _, background := d.s.svc.(*control.Client); err != nil && background {
		slog.Warn(fmt.Sprintf("urlsession: task %d of session %q waits on for an answer: that of OnChallenge cannot be used: %v",
			q.id, d.s.config.Identifier, err))
		return
	}
	for {
		err := d.s.svc.Answer(q.ctx, q.id, q.challenge.Ticket, decision)
		if !errors.Is(err, task.DaemonLost) || !pause(q.ctx, askAgain) {
			return // or it is no longer wanted
		}
	}
}

// attend is listen of a background session: what its tasks asked before counts, and a daemon that was lost may come again.
func (d *decider) attend(ctx context.Context, c *control.Client) {
	for {
		info, err := c.Info(ctx)
		open := make(map[task.ID]string) // tickets
		for rec, listed := range c.Tasks(ctx) {
			if err = errors.Join(err, listed); err != nil {
				break
			}
			if w := rec.Waiting; w != nil && w.Challenge != nil {
				open[rec.ID] = w.Challenge.Ticket
				d.challenge(ctx, rec.ID, *w.Challenge)
			}
		}
		if err == nil {
			for id, c := range d.asked { // of which it was not heard that they ended
				if open[id] != c.ticket {
					d.stop(id)
				}
			}
			err = d.hear(ctx, task.EventQuery{After: &info.Last, DurableOnly: true})
		}
		if err == nil || errors.Is(err, task.SessionInvalidated) || errors.Is(err, task.ResourceUnavailable) || !pause(ctx, askAgain) {
			return
		}
	}
}

// pause waits, and false says that ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
