package main

import (
	"io"
	"os"

	"github.com/urlsession/urlsession"
)

// output is a place that takes a body as it comes, and cannot give it back: standard output, a device, a pipe.
type output struct {
	w      io.Writer
	name   string
	closer io.Closer // nil: it is not ours to close
}

// openOutput opens what -o says where that takes a body as it comes: out for "-", or an existing device or pipe. It is
// nil for a file's or a folder's name, which a download task is for.
func openOutput(name string, out io.Writer) (*output, error) {
	switch {
	case name == "-":
		return &output{w: out, name: "standard output"}, nil
	case !isStream(name):
		return nil, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return nil, usagef("-o: %w", err)
	}
	return &output{w: f, name: name, closer: f}, nil
}

// isStream says whether -o names standard output, or an existing device or pipe.
func isStream(name string) bool {
	if name == "-" {
		return true
	}
	info, err := os.Stat(name)
	return err == nil && !info.Mode().IsRegular() && !info.IsDir()
}

// onTerminal says whether the body is for somebody's eyes: then nothing else is shown there. A nil output is not.
func (o *output) onTerminal() bool { return o != nil && isTerminal(o.w) }

// event is told every event of the task, from one goroutine. An error says that the task is to be cancelled, and why. A
// task is not tried again once a piece of its body has been handed over, so that no byte comes twice.
func (o *output) event(ev urlsession.Event) error {
	piece, ok := ev.(urlsession.DataReceived)
	if !ok {
		return nil
	}
	return o.write(piece.Data)
}

// write hands a piece of the body over.
func (o *output) write(body []byte) error {
	if _, err := o.w.Write(body); err != nil {
		return &urlsession.Error{Op: "write body", URL: o.name, Code: urlsession.ErrCannotWriteFile, Err: err}
	}
	return nil
}

// close is called once, after the last event, with how the task ended, and returns how it ended in all.
func (o *output) close(err error) error {
	if o.closer == nil {
		return err
	}
	if cerr := o.closer.Close(); err == nil {
		err = cerr
	}
	return err
}
