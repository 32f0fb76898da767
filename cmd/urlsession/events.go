package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/urlsession/urlsession"
)

// eventWriter is --json: one event a line. It may be used from several goroutines.
type eventWriter struct {
	mu     sync.Mutex
	out    io.Writer
	broken bool
}

func newEventWriter(out io.Writer) *eventWriter { return &eventWriter{out: out} }

// write prints one event, whole and at once. That the stored events have been delivered is news for a listener, not for
// a reader of lines, and is left out. The first error is told, and nothing is written after it.
func (w *eventWriter) write(ev urlsession.Event) error {
	if _, ok := ev.(urlsession.EventsCompleted); ok {
		return nil
	}
	return w.line(ev)
}

// line prints one event of any kind.
func (w *eventWriter) line(ev urlsession.Event) error {
	line, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	line = escapeControls(line)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return nil
	}
	_, err = w.out.Write(append(line, '\n'))
	w.broken = err != nil
	return err
}

// escapeControls writes the characters that could command a terminal, and that JSON leaves as they are, as escapes: they
// stand in strings alone, and mean the same there.
func escapeControls(line []byte) []byte {
	if !bytes.ContainsFunc(line, commandsTerminal) {
		return line
	}
	var out bytes.Buffer
	for _, r := range string(line) {
		if commandsTerminal(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}
