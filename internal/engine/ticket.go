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
	r.asked++
	name := strconv.Itoa(r.rec.Attempt) + "-" + strconv.Itoa(r.asked)
	answer := make(chan task.Decision, 1)
	if r.tickets == nil {
		r.tickets = make(map[string]chan task.Decision)
	}
	r.tickets[name] = answer
	return name, answer
}

func await(ctx context.Context, answer <-chan task.Decision) (task.Decision, error) {
	select {
	case d := <-answer:
		return d, nil
	case <-ctx.Done():
		return task.Decision{}, context.Cause(ctx)
	}
}

// Answer is Service.Answer.
func (e *Engine) Answer(_ context.Context, id task.ID, ticket string, d task.Decision) error {
	if r := e.run(id); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if answer, ok := r.tickets[ticket]; ok {
			delete(r.tickets, ticket)
			answer <- d
			return nil
		}
	}
	return &task.Error{Op: fmt.Sprintf("answer ticket %s of task %d", ticket, id), Code: task.ResourceUnavailable,
		Err: errors.New("no such ticket waits for an answer: it was answered, or its attempt has ended")}
}
