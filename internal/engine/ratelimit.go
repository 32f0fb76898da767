package engine

import (
	"context"
	"fmt"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// SetRateLimit is Service.SetRateLimit. That of the session (id 0) is not stored here: it is of its configuration.
func (e *Engine) SetRateLimit(_ context.Context, id task.ID, bytesPerSecond int64) error {
	const op = "set rate limit"
	if bytesPerSecond < 0 {
		return &task.Error{Op: op, Code: task.Unknown, Err: fmt.Errorf("it is %d bytes a second; 0 is none", bytesPerSecond)}
	}
	if id == 0 {
		e.limit.Set(bytesPerSecond)
		return nil
	}
	return e.change("set rate limit of task", id, func(r *run) error {
		before := r.rec
		r.rec.Spec.RateLimit = bytesPerSecond
		if err := r.saveOr(before); err != nil {
			return err
		}
		r.limit.Set(bytesPerSecond)
		return nil
	})
}

// RateLimit is the session's; 0: none.
func (e *Engine) RateLimit() int64 { return e.limit.Rate() }

// limits are an attempt's. They cost no memory of their own: most tasks have no limit, and each may get one while it runs.
type limits [3]*transfer.Limit

func (ls *limits) of(r *run) transfer.Limits {
	return append(append(ls[:0], &r.limit), r.e.limits...)
}
