package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/urlsession/urlsession/internal/task"
)

// ticket makes a question that Answer answers. r.mu is held.
func (r *run) ticket() (string, <-chan task.Decision) {
	name := r.ticketName()
	answer := make(chan task.Decision, 1)
	if r.tickets == nil {
		r.tickets = make(map[string]chan task.Decision)
	}
	r.tickets[name] = answer
	return name, answer
}

// ticketName is one that the task never had: the attempt's number is stored with what it asks. r.mu is held.
func (r *run) ticketName() string {
	r.asked++
	return strconv.Itoa(r.rec.Attempt) + "-" + strconv.Itoa(r.asked)
}

func await(ctx context.Context, answer <-chan task.Decision) (task.Decision, error) {
	select {
	case d := <-answer:
		return d, nil
	case <-ctx.Done():
		return task.Decision{}, context.Cause(ctx)
	}
}

// Answer is Service.Answer. In a session that outlives its process, the answer to a challenge does too once Answer has
// returned nil.
func (e *Engine) Answer(ctx context.Context, id task.ID, ticket string, d task.Decision) error {
	op := fmt.Sprintf("answer ticket %s of task %d", ticket, id)
	leave, err := e.enter(op)
	if err != nil {
		return err
	}
	defer leave()
	r, err := e.load(ctx, id)
	switch {
	case r != nil:
		defer r.unlock()
		if taken, err := r.take(ticket, d); err != nil {
			return e.storeError(op, err)
		} else if taken {
			return nil
		}
	case err != nil && !isUnknown(err):
		return e.storeError(op, err)
	}
	return &task.Error{Op: op, Code: task.ResourceUnavailable,
		Err: errors.New("no such ticket waits for an answer: it was answered, or what asked has ended or asks anew")}
}

// take gives a decision to what waits for it, if anything does. r.mu is held.
func (r *run) take(ticket string, d task.Decision) (taken bool, err error) {
	w := r.rec.Waiting
	mine := w != nil && w.Reason == task.WaitAuthentication && w.Ticket == ticket
	answer, ok := r.tickets[ticket]
	switch {
	case ok:
		delete(r.tickets, ticket)
		if mine {
			r.rec.Waiting = nil
			r.save()
		}
		answer <- d
		return true, nil
	case mine && r.rec.AwaitsAnswer():
		return true, r.answered(d)
	}
	return false, nil
}
