package control

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// watcher ends an exchange with a daemon that is there and does nothing, as one that was stopped by a signal: it runs
// while something is awaited of the daemon, and not while the caller's own reader or loop takes its time.
type watcher struct {
	limit  time.Duration
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	over  bool
	cause error // errSilent, once the exchange was ended
}

// silentError is a daemon's silence; errSilent any of them.
type silentError struct{ after time.Duration }

var errSilent error = silentError{}

func (e silentError) Error() string {
	return fmt.Sprintf("the daemon was silent for %v: it hangs, and what was asked may have been done", e.after)
}

func (silentError) Is(target error) bool { return target == errSilent }

// watch is the context of an exchange, and its watcher, which does not run yet.
func watch(ctx context.Context, limit time.Duration) (context.Context, *watcher) {
	w := &watcher{limit: limit}
	ctx, w.cancel = context.WithCancelCause(ctx)
	return ctx, w
}

// await begins the time in which the daemon must do something, or begins it anew.
func (w *watcher) await() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
	case w.timer == nil:
		w.timer = time.AfterFunc(w.limit, w.expire)
	default:
		w.timer.Reset(w.limit)
	}
}

// pause says that nothing is awaited of the daemon now.
func (w *watcher) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watcher) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.cause = silentError{w.limit}
		w.cancel(w.cause)
	}
}

// end is the end of the exchange.
func (w *watcher) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over = true; w.timer != nil {
		w.timer.Stop()
	}
	w.cancel(nil)
}

// reason is the error of the exchange, or that the daemon was silent, where that is why.
func (w *watcher) reason(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != nil {
		return w.cause
	}
	return err
}

// sending is a body on its way to the daemon. The transport asks for more of it when the daemon has taken the last.
type sending struct {
	io.ReadCloser
	w *watcher
}

func (s sending) Read(p []byte) (int, error) {
	s.w.pause()
	defer s.w.await()
	return s.ReadCloser.Read(p)
}

// receiving is an answer's body. Close ends the exchange.
type receiving struct {
	io.ReadCloser
	w *watcher
}

func (r *receiving) Read(p []byte) (int, error) {
	r.w.await()
	defer r.w.pause()
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = r.w.reason(err)
	}
	return n, err
}

func (r *receiving) Close() error {
	defer r.w.end()
	return r.ReadCloser.Close()
}
