package engine

import (
	"context"
	"errors"

	"github.com/urlsession/urlsession/internal/task"
)

// Wait is Service.Wait.
func (e *Engine) Wait(ctx context.Context, id task.ID) (task.Record, error) {
	r, err := e.attend(ctx, id)
	if err != nil {
		return task.Record{}, err
	}
	if r != nil {
		defer r.unattend()
		for {
			over := r.over.wait()
			if r.hasEnded() {
				break
			}
			select {
			case <-over:
			case <-ctx.Done():
				return task.Record{}, ctx.Err()
			}
		}
	}
	return e.endOf(ctx, id)
}

// attend finds a task that has not ended, loads it where it is in the store alone, lets it go on, and keeps it in memory
// until unattend. nil: it has ended.
func (e *Engine) attend(ctx context.Context, id task.ID) (*run, error) {
	const op = "listen to task"
	leave, err := e.enter(op)
	if err != nil {
		return nil, err
	}
	defer leave()
	r, err := e.load(ctx, id)
	if err != nil {
		return nil, e.storeError(op, err)
	}
	if r != nil {
		r.listeners++
		r.unlock()
	}
	return r, nil
}

func (r *run) unattend() {
	r.mu.Lock()
	r.listeners--
	r.unlock()
}

func (r *run) hasEnded() bool {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	return r.ended
}

// endOf is the record of a task that has ended, or why there is none.
func (e *Engine) endOf(ctx context.Context, id task.ID) (task.Record, error) {
	rec, err := e.store.Load(ctx, id)
	if err == nil && rec.State != task.Completed {
		err = errors.New("its end could not be stored")
	}
	if err != nil {
		return task.Record{}, e.storeError("listen to task", err)
	}
	return rec, nil
}
