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

// Run is Runner.Run, of an engine of New.
//
// The goroutine that waits for the task has nothing else to do, and a stack that has grown before: an attempt in it costs no
// goroutine, and nobody has to be woken at its end.
func (e *Engine) Run(ctx context.Context, spec task.Spec, pins pins) (rec *task.Record, body []byte, err error) {
	r := e.newRun(spec, nil)
	r.within, r.here = ctx, true
	r.mu.Lock()
	err = e.create(ctx, r)
	r.unlock()
	if err != nil {
		return nil, nil, err
	}
	pins.Pin(r.id)
	defer func() {
		if rec == nil { // an error, or a panic: see attemptHere
			pins.Unpin(r.id)
		}
	}()
	over, end := (<-chan struct{})(nil), ctx.Done()
	for h, ended := r.turn(); !ended || h != nil; h, ended = r.turn() {
		switch {
		case h != nil:
			r.attemptHere(h)
		case over == nil:
			over = r.over.wait() // and another look
		default:
			select {
			case <-over:
				over = nil
			case <-end:
				end = nil
				_ = e.Cancel(ctx, r.id) // it is canceling also where that could not be stored
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dirty {
		_, err = e.endOf(ctx, r.id)
		return nil, nil, err
	}
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

// attemptHere is attempt in the goroutine of Run. Where that is left in the midst, since the app's code that is called in it, as
// that of a cookie storage, panics or calls runtime.Goexit, the task ends.
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
	r.e.mu.Lock()
	r.here = false
	if r.granted != nil {
		go r.attemptAlone(r.granted)
		r.granted = nil
	}
	r.e.mu.Unlock()
	underWay, res := r.phase == attempting, r.result
	err := &task.Error{Op: string(r.kind), URL: task.Redact(r.rec.CurrentURL()), Code: task.Unknown,
		Err: errors.New("a function that it called has panicked, or ended its goroutine")}
	r.mu.Unlock()
	if underWay {
		r.returned(h)
		r.settle(nil, res, err)
	}
}
