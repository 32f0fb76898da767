package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// taskListFlags are those of task list.
type taskListFlags struct{ all, json bool }

func newTaskList() *cobra.Command {
	f := new(taskListFlags)
	cmd := &cobra.Command{
		Use:   "list [ID]",
		Short: "List the tasks that have not ended, of a session or of all",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withDaemon(cmd, func(ctx context.Context, d urlsession.Daemon) error {
				if len(args) == 1 {
					s, err := d.Session(ctx, args[0])
					if err != nil {
						return opening(err)
					}
					defer s.Close()
					return f.list(ctx, cmd.OutOrStdout(), args[0], s)
				}
				return f.listAll(ctx, cmd.OutOrStdout(), d)
			})
		},
	}
	cmd.Flags().BoolVar(&f.all, "all", false, "list those that have ended too, as long as they are kept")
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object a line")
	return cmd
}

func (f *taskListFlags) listAll(ctx context.Context, out io.Writer, d urlsession.Daemon) error {
	sessions, err := d.Sessions(ctx)
	if err != nil {
		return err
	}
	p := f.printer(out)
	for _, info := range sessions {
		s, err := d.Session(ctx, info.Identifier)
		if errors.Is(err, urlsession.ErrResourceUnavailable) {
			continue // it is gone by now
		}
		if err != nil {
			return err
		}
		err = f.print(ctx, p, info.Identifier, s)
		s.Close()
		if err != nil {
			return err
		}
	}
	return p.flush()
}

func (f *taskListFlags) list(ctx context.Context, out io.Writer, identifier string, s *urlsession.Session) error {
	p := f.printer(out)
	if err := f.print(ctx, p, identifier, s); err != nil {
		return err
	}
	return p.flush()
}

// print prints a session's tasks as they come: there may be a million.
func (f *taskListFlags) print(ctx context.Context, p *taskPrinter, identifier string, s *urlsession.Session) error {
	for status, err := range s.Statuses(ctx, 0) {
		if err == nil && (f.all || status.State != urlsession.StateCompleted) {
			err = p.add(taskName{identifier, status.Identifier}, status)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// taskPrinter prints tasks as a table or as JSON.
type taskPrinter struct {
	json  *bufio.Writer // nil: a table
	table *table
}

func (f *taskListFlags) printer(out io.Writer) *taskPrinter {
	if f.json {
		return &taskPrinter{json: bufio.NewWriter(out)}
	}
	return &taskPrinter{table: newTable(out, "TASK", "STATE", "DONE", "BYTES", "RATE", "LEFT", "WHAT")}
}

func (p *taskPrinter) add(name taskName, s urlsession.Status) error {
	if p.json != nil {
		return writeError(writeJSON(p.json, taskJSON(name, s)))
	}
	moved, expected := bytesOf(s)
	done, bytes, rate, left := "-", formatSize(moved), "-", "-"
	if expected >= 0 {
		bytes += " of " + formatSize(expected)
	}
	if s.Progress >= 0 {
		done = fmt.Sprintf("%d %%", int(100*s.Progress))
	}
	if s.Rate >= 1 {
		rate = formatSize(int64(s.Rate)) + "/s"
		if s.ETA > 0 {
			left = formatDuration(s.ETA)
		}
	}
	what := redact(s.OriginalURL)
	if s.Description != "" {
		what = s.Description + " " + what
	}
	return p.table.add(name.String(), stateWord(s), done, bytes, rate, left, what)
}

func (p *taskPrinter) flush() error {
	if p.json != nil {
		return writeError(p.json.Flush())
	}
	return p.table.flush()
}

// stateWord is a task's state in a word or two.
func stateWord(s urlsession.Status) string {
	switch {
	case s.Waiting != nil:
		return "waits: " + string(s.Waiting.Reason)
	case s.State != urlsession.StateCompleted:
		return string(s.State)
	case s.Err == nil:
		return "succeeded"
	}
	if e, ok := errors.AsType[*urlsession.Error](s.Err); ok {
		return fmt.Sprintf("failed %d", int(e.Code))
	}
	return "failed"
}

// taskJSON is a task in JSON, by the names of the wire. URLs are redacted, and unknown sizes are -1.
func taskJSON(name taskName, s urlsession.Status) any {
	type wait struct {
		Reason  urlsession.WaitReason `json:"reason"`
		Detail  string                `json:"detail,omitempty"`
		Since   time.Time             `json:"since"`
		Until   time.Time             `json:"until,omitzero"`
		Code    int                   `json:"errorCode,omitempty"`
		Message string                `json:"message,omitempty"`
		Ticket  string                `json:"ticket,omitempty"`
		Asked   any                   `json:"challenge,omitempty"`
	}
	t := struct {
		Session     string            `json:"sessionIdentifier"`
		Task        urlsession.TaskID `json:"taskIdentifier"`
		Kind        urlsession.Kind   `json:"kind"`
		State       urlsession.State  `json:"state"`
		Waiting     *wait             `json:"waiting,omitempty"`
		URL         string            `json:"url"`
		CurrentURL  string            `json:"currentURL,omitempty"`
		Destination string            `json:"destination,omitempty"`
		Path        string            `json:"path,omitempty"`
		Description string            `json:"description,omitempty"`
		Metadata    map[string]string `json:"metadata,omitempty"`
		Priority    float64           `json:"priority"`
		RateLimit   int64             `json:"rateLimit,omitempty"`
		Attempt     int               `json:"attempt"`
		Sent        int64             `json:"bytesSent"`
		ToSend      int64             `json:"bytesExpectedToSend"`
		Received    int64             `json:"bytesReceived"`
		ToReceive   int64             `json:"bytesExpectedToReceive"`
		Rate        float64           `json:"rate"`
		Parts       []uploadedPart    `json:"uploaded,omitempty"`
		StatusCode  int               `json:"statusCode,omitempty"`
		Success     *bool             `json:"success,omitempty"` // of one that has ended
		Code        int               `json:"errorCode,omitempty"`
		Message     string            `json:"message,omitempty"`
		Created     time.Time         `json:"created"`
		Ended       time.Time         `json:"ended,omitzero"`
	}{
		Session: name.session, Task: name.id, Kind: s.Kind, State: s.State, URL: redact(s.OriginalURL),
		Destination: s.Destination, Path: s.Path, Description: s.Description, Metadata: s.Metadata, Priority: float64(s.Priority), RateLimit: s.RateLimit,
		Attempt: s.Attempt, Sent: s.BytesSent, ToSend: s.BytesExpectedToSend, Received: s.BytesReceived,
		ToReceive: s.BytesExpectedToReceive, Rate: s.Rate, Created: s.Created, Ended: s.Ended,
	}
	if len(s.UploadedParts) > 0 {
		t.Parts = uploadedOf(s.UploadedParts)
	}
	if s.CurrentURL != s.OriginalURL {
		t.CurrentURL = redact(s.CurrentURL)
	}
	if w := s.Waiting; w != nil {
		t.Waiting = &wait{Reason: w.Reason, Detail: w.Detail, Since: w.Since, Until: w.Until}
		t.Waiting.Code, t.Waiting.Message = codeOf(w.Err)
		if w.Challenge != nil {
			t.Waiting.Ticket, t.Waiting.Asked = w.Ticket, challengeJSON(w.Challenge)
		}
	}
	if s.Response != nil {
		t.StatusCode = s.Response.StatusCode
	}
	if s.State == urlsession.StateCompleted {
		success := s.Err == nil
		t.Success = &success
		t.Code, t.Message = codeOf(s.Err)
	}
	return t
}

// codeOf is an error's number and words; 0 and none for nil.
func codeOf(err error) (int, string) {
	e, ok := errors.AsType[*urlsession.Error](err)
	switch {
	case err == nil:
		return 0, ""
	case !ok:
		return int(urlsession.ErrUnknown), err.Error()
	}
	return int(e.Code), e.Error()
}
