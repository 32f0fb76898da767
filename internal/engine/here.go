package engine

import (
	"context"
	"errors"

	"github.com/urlsession/urlsession/internal/task"
)

type pins = interface { // as package control names it
	Pin(task.ID)
	Unpin(task.ID)
}

// Run is Runner.Run.
//
// The goroutine that waits for the task has nothing else to do, and a stack that has grown before: an attempt in it costs no
// goroutine, and nobody has to be woken at its end.
func (e *Engine) Run(ctx context.Context, spec task.Spec, pins pins) (_ *task.Record, _ []byte, err error) {
	r := e.newRun(spec, nil)
	r.here = true
	r.mu.Lock()
	err = e.create(ctx, r)
	r.unlock()
	if err != nil {
		return nil, nil, err
	}
	pins.Pin(r.id)
	done := false
	defer func() {
		if !done { // an error, or a panic: see attemptHere
			pins.Unpin(r.id)
		}
	}()
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { e.Cancel(context.WithoutCancel(ctx), r.id) })()
	}
	for {
		h, ended := r.turn()
		if h == nil && !ended {
			over := r.over.wait()
			if h, ended = r.turn(); h == nil && !ended {
				<-over
				continue
			}
		}
		if h == nil {
			break
		}
		r.attemptHere(h)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dirty {
		_, err = e.endOf(ctx, r.id)
		return nil, nil, err
	}
	done = true
	return &r.rec, r.result.Body, nil
}

// turn takes the slot that the run was granted, if it was, and says whether it has ended. One that has ended may have been
// granted a slot that is to be given back, which attempt does.
func (r *run) turn() (h *host, ended bool) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	h, r.granted = r.granted, nil
	return h, r.ended
}

// attemptHere is attempt in the goroutine of Run. Where that is left in the midst, since code of the caller's that is called in
// it, as that of a cookie storage, panics or calls runtime.Goexit, the task ends.
func (r *run) attemptHere(h *host) {
	returned := false
	defer func() {
		if !returned {
			r.abandon(h)
		}
	}()
	r.attempt(h)
	returned = true
}

func (r *run) abandon(h *host) {
	r.mu.Lock()
	underWay := r.phase == attempting
	r.mu.Unlock()
	if !underWay {
		return
	}
	r.returned(h)
	r.settle(nil, r.result, &task.Error{Op: string(r.kind), URL: task.Redact(r.rec.Spec.Request.URL), Code: task.Unknown,
		Err: errors.New("a function that it called has panicked, or ended its goroutine")})
}
