package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/urlsession/urlsession"
)

// detached is --detach: it prints the tasks that were made, one a line.
type detached struct {
	out        *bufio.Writer
	identifier string
	json       bool
}

func newDetached(out io.Writer, identifier string, json bool) *detached {
	return &detached{bufio.NewWriter(out), identifier, json}
}

// made prints new tasks, at once.
func (d *detached) made(jobs []job, tasks []*urlsession.Task) error {
	for i, t := range tasks {
		if err := d.line(t.Identifier(), redact(jobs[i].url)); err != nil {
			return writeError(err)
		}
	}
	return writeError(d.out.Flush())
}

func (d *detached) line(id urlsession.TaskID, url string) error {
	if !d.json {
		_, err := fmt.Fprintf(d.out, "%s\t%s\n", taskName{d.identifier, id}, oneLine(url))
		return err
	}
	return writeJSON(d.out, struct {
		Session string            `json:"sessionIdentifier"`
		Task    urlsession.TaskID `json:"taskIdentifier"`
		URL     string            `json:"url"`
	}{d.identifier, id, url})
}

// writeJSON prints a value in one line that commands no terminal.
func writeJSON(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(escapeControls(line), '\n'))
	return err
}

// writeError is the error of standard output; nil for nil.
func writeError(err error) error {
	if err == nil {
		return nil
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return &urlsession.Error{Op: "write", URL: "standard output", Code: urlsession.ErrCannotWriteFile, Err: err}
}
