package main

import (
	"os"
	"os/signal"
	"syscall"
)

// watchSignals makes the first SIGINT, SIGTERM or SIGHUP cancel the run, so that each task checkpoints what it has, and
// the second end the process at once. A signal that was ignored when the process began, as SIGHUP is under nohup, stays
// so. The function that it returns ends that.
func (r *run) watchSignals() (unwatch func()) {
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
		r.end(errInterrupted)
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
