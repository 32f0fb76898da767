package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/urlsession/urlsession"
)

// lineInterval is how often a line of progress is printed: transfers that are shorter print none.
const lineInterval = 5 * time.Second

// lines is progress for logs and pipes.
type lines struct {
	*board
	silence
	stop    chan struct{}
	stopped sync.WaitGroup
}

func newLines(out io.Writer) *lines {
	l := &lines{board: newBoard(), silence: silence{out: out}, stop: make(chan struct{})}
	l.stopped.Go(l.print)
	return l
}

func (l *lines) print() {
	tick := time.NewTicker(lineInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if line := l.line(); line != "" {
				l.note("urlsession: " + line)
			}
		case <-l.stop:
			return
		}
	}
}

// line is one task's progress, where there has been but one, else the sum of all; "" before the first.
func (l *lines) line() string {
	active, sum := l.look()
	if sum.running+sum.ended == 0 {
		return ""
	}
	if len(active) == 1 && sum.ended == 0 {
		return fmt.Sprintf("%s: %s", active[0].label, stateText(active[0].status))
	}
	return sum.String()
}

func (l *lines) begin(label string, t *urlsession.Task) func(error) {
	w := l.add(label, t)
	return func(err error) { l.remove(w, err) }
}

func (l *lines) close() {
	close(l.stop)
	l.stopped.Wait()
}
