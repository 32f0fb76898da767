package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

func newTaskShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID/N",
		Short: "Explain a task: what it does or waits for, and since when, its attempts and their errors",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := parseTaskName(args[0])
			if err != nil {
				return err
			}
			return withDaemon(cmd, func(ctx context.Context, d urlsession.Daemon) error {
				return withTask(ctx, d, name, func(t *urlsession.Task) error {
					status, err := t.Status(ctx)
					if err != nil {
						return err
					}
					if asJSON {
						return writeError(writeJSON(cmd.OutOrStdout(), taskJSON(name, status)))
					}
					past, err := pastOf(ctx, t)
					if err != nil {
						return err
					}
					c := card{out: cmd.OutOrStdout()}
					showTask(&c, name, status)
					for i, line := range past {
						c.add([]string{"events", " "}[min(i, 1)], line)
					}
					return c.print()
				})
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// showTask is what a status tells of a task.
func showTask(c *card, name taskName, s urlsession.Status) {
	c.add("task", fmt.Sprintf("%s, %s", name, s.Kind))
	c.add("description", s.Description)
	c.add("state", explain(s))
	if s.Waiting != nil && s.Waiting.Challenge != nil {
		c.add("asked", challengeText(s.Waiting.Challenge))
		c.add("answer by", "urlsession task answer "+shellWord(name.String()))
	}
	c.add("url", redact(s.OriginalURL))
	if s.CurrentURL != s.OriginalURL {
		c.add("now at", redact(s.CurrentURL))
	}
	switch {
	case s.Path != "":
		c.add("file", s.Path)
	case s.Kind == urlsession.KindDownload && s.Destination == "":
		c.add("destination", "a temporary file of the daemon's")
	default:
		c.add("destination", s.Destination)
	}
	moved, expected := bytesOf(s)
	rate := s.Rate
	if s.State != urlsession.StateRunning || s.Waiting != nil {
		rate = 0 // it stands still
	}
	c.add("progress", movement(moved, expected, rate))
	if s.Kind != urlsession.KindUpload && s.BytesSent > 0 {
		c.add("sent", movement(s.BytesSent, s.BytesExpectedToSend, 0))
	}
	if n := len(s.UploadedParts); n > 0 {
		c.add("parts", fmt.Sprintf("%d on the server", n))
	}
	if s.Response != nil {
		c.add("response", fmt.Sprintf("%d %s, %s", s.Response.StatusCode, http.StatusText(s.Response.StatusCode), s.Response.Proto))
	}
	if s.Attempt > 1 {
		c.add("attempt", fmt.Sprint(s.Attempt))
	}
	if s.Priority != urlsession.PriorityDefault {
		c.add("priority", fmt.Sprint(float64(s.Priority)))
	}
	if s.RateLimit > 0 {
		c.add("limit", formatRate(s.RateLimit))
	}
	for _, key := range slices.Sorted(maps.Keys(s.Metadata)) {
		c.add("metadata", key+" = "+s.Metadata[key])
	}
	c.add("created", formatMoment(s.Created))
	if !s.Ended.IsZero() {
		c.add("ended", formatMoment(s.Ended)+", after "+formatDuration(s.Ended.Sub(s.Created)))
	}
}

// explain says what a task does, or what it waits for, since when and until when.
func explain(s urlsession.Status) string {
	switch {
	case s.Waiting != nil:
		text := waitText(s.Waiting)
		text += ", since " + formatMoment(s.Waiting.Since)
		if !s.Waiting.Until.IsZero() {
			text += ", until " + s.Waiting.Until.Local().Format(time.TimeOnly)
		}
		if s.Waiting.Err != nil {
			text += "; the last attempt: " + s.Waiting.Err.Error()
		}
		return text
	case s.State == urlsession.StateSuspended:
		return "suspended: urlsession task resume has it go on"
	case s.State == urlsession.StateCompleted && s.Err == nil:
		return "succeeded"
	case s.State == urlsession.StateCompleted:
		return "failed: " + s.Err.Error()
	}
	return string(s.State)
}

const (
	// pastMost is how many of a task's events are shown, the newest.
	pastMost = 12
	// pastFor bounds the time for which they are read.
	pastFor = 30 * time.Second
)

// pastOf is what happened to a task, a line an event, as far as its events are kept.
func pastOf(ctx context.Context, t *urlsession.Task) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, pastFor)
	defer cancel()
	var past []string
	for ev, err := range t.Events(ctx) {
		if err != nil {
			return nil, err
		}
		if _, ok := ev.(urlsession.EventsCompleted); ok {
			break
		}
		if text := eventText(ev); text != "" {
			past = append(past, ev.Time().Local().Format("2006-01-02 15:04:05")+"  "+text)
		}
		if len(past) > 2*pastMost {
			past = append(past[:0], past[len(past)-pastMost:]...)
		}
	}
	return past[max(0, len(past)-pastMost):], nil
}

// eventText is an event in words; "" for one that the task's status tells as well.
func eventText(ev urlsession.Event) string {
	switch ev := ev.(type) {
	case urlsession.ResponseReceived:
		text := fmt.Sprintf("response %d", ev.StatusCode)
		if ev.TotalBytesExpected >= 0 {
			text += ", of " + formatSize(ev.TotalBytesExpected)
		}
		return text
	case urlsession.Redirected:
		return fmt.Sprintf("redirect %d to %s", ev.StatusCode, redact(ev.To))
	case urlsession.Challenged:
		return challengeText(&urlsession.Challenge{Space: ev.Space, PreviousFailures: ev.PreviousFailures, Err: ev.Err})
	case urlsession.Waiting:
		return waitText(&urlsession.Wait{Reason: ev.Reason, Detail: ev.Detail})
	case urlsession.WillRetry:
		text := fmt.Sprintf("attempt %d failed: %v", ev.Attempt, ev.Err)
		if !ev.At.IsZero() {
			text += "; the next is at " + ev.At.Local().Format(time.TimeOnly)
		}
		return text
	case urlsession.DownloadCompleted:
		if ev.Digest != "" {
			return "the file is whole, and verified by " + ev.Digest
		}
		return "the file is whole"
	case urlsession.Completed:
		if ev.Err == nil {
			return "succeeded"
		}
		if e, ok := errors.AsType[*urlsession.Error](ev.Err); ok {
			return fmt.Sprintf("failed: %s (%d)", e.Code.Error(), int(e.Code))
		}
		return "failed: " + ev.Err.Error()
	case urlsession.Gap:
		return "(earlier events are not kept any more)"
	}
	return ""
}
