package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// watchSignals calls first at the first SIGINT, SIGTERM or SIGHUP, and at the second ends the process at once. A signal
// that was ignored when the process began, as SIGHUP is under nohup, stays so. The function that it returns ends that.
func watchSignals(first func()) (unwatch func()) {
	signals := make(chan os.Signal, 2)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
		case <-done:
			return
		}
		first()
		select {
		case <-signals:
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// interruptible is a context that a signal ends, with errInterrupted as its cause. The function that it returns ends that.
func interruptible() (ctx context.Context, done func()) {
	ctx, stop := context.WithCancelCause(context.Background())
	unwatch := watchSignals(func() { stop(errInterrupted) })
	return ctx, func() {
		unwatch()
		stop(nil)
	}
}
