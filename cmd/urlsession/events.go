package main

import (
	"encoding/json"
	"io"
	"sync"

	"github.com/urlsession/urlsession"
)

// eventWriter is --json: one event a line. It may be used from several goroutines.
type eventWriter struct {
	mu  sync.Mutex
	out io.Writer
}

func newEventWriter(out io.Writer) *eventWriter { return &eventWriter{out: out} }

// write prints one event, whole and at once. That the stored events have been delivered is news for a listener, not for
// a reader of lines, and is left out.
func (w *eventWriter) write(ev urlsession.Event) error {
	if _, ok := ev.(urlsession.EventsCompleted); ok {
		return nil
	}
	line, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err = w.out.Write(append(line, '\n'))
	return err
}
