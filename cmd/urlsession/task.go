package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

func newTask() *cobra.Command {
	cmd := group("task", "List background tasks, look at one, suspend, resume, cancel, limit or answer it", "list, show, suspend, resume, cancel, limit, url or answer")
	cmd.AddCommand(newTaskList(), newTaskShow())
	for _, verb := range []struct {
		name, short string
		do          func(*urlsession.Task, context.Context) error
	}{
		{"suspend", "Stop tasks, each until as many resumes: a download keeps what it has", (*urlsession.Task).Suspend},
		{"resume", "Have suspended tasks go on", (*urlsession.Task).Resume},
		{"cancel", "End tasks with cancelled (-999); a download's part file stays", (*urlsession.Task).Cancel},
	} {
		cmd.AddCommand(&cobra.Command{
			Use:   verb.name + " ID/N...",
			Short: verb.short,
			Args:  cobra.MinimumNArgs(1),
			RunE:  func(cmd *cobra.Command, args []string) error { return eachTask(cmd, args, verb.do) },
		})
	}
	cmd.AddCommand(newTaskLimit(), newTaskURL(), newTaskAnswer())
	return cmd
}

// eachTask does something to each task that is named. One that cannot be done to is told in a line, and the others go on.
func eachTask(cmd *cobra.Command, args []string, do func(*urlsession.Task, context.Context) error) error {
	names := make([]taskName, len(args))
	for i, arg := range args {
		var err error
		if names[i], err = parseTaskName(arg); err != nil {
			return err
		}
	}
	return withDaemon(cmd, func(ctx context.Context, d urlsession.Daemon) error {
		failed := false
		for _, name := range names {
			err := withTask(ctx, d, name, func(t *urlsession.Task) error {
				if err := checkLive(ctx, t); err != nil {
					return err
				}
				return do(t, ctx)
			})
			if isLost(err) || ctx.Err() != nil {
				return err
			}
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), failureLine(name.String(), "", err))
				failed = true
			}
		}
		if failed {
			return errFailed
		}
		return nil
	})
}

// checkLive is an error where the task has ended.
func checkLive(ctx context.Context, t *urlsession.Task) error {
	status, err := t.Status(ctx)
	if err == nil && status.State == urlsession.StateCompleted {
		err = errors.New("the task has ended")
	}
	return err
}

func withTask(ctx context.Context, d urlsession.Daemon, name taskName, do func(*urlsession.Task) error) error {
	s, err := d.Session(ctx, name.session)
	if err != nil {
		return opening(err)
	}
	defer s.Close()
	t, err := s.Task(ctx, name.id)
	if err != nil {
		return err
	}
	return do(t)
}

func newTaskURL() *cobra.Command {
	return &cobra.Command{
		Use:   "url ID/N NEWURL|-",
		Short: "Move a task to another URL, in place of one that has expired",
		Long: `Move a task to another URL, in place of one that has expired. What a download holds is kept, and gone on from where
the new URL is of the same content.

NEWURL - is read from standard input, one line: a signed URL is a secret, and every user of the machine can read
arguments by ps.`,
		Example: `  urlsession task url films/3 - <url.txt`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseSecretArguments(cmd.Flags(), args[1:]); err != nil {
				return err
			}
			name, err := parseTaskName(args[0])
			if err != nil {
				return err
			}
			url := args[1]
			if url == "-" {
				if url, err = readURL(cmd.InOrStdin()); err != nil {
					return err
				}
			}
			return withDaemon(cmd, func(ctx context.Context, d urlsession.Daemon) error {
				return withTask(ctx, d, name, func(t *urlsession.Task) error {
					if err := checkLive(ctx, t); err != nil {
						return failedf("%s: %w", name, err)
					}
					return t.ReplaceURL(ctx, url)
				})
			})
		},
	}
}

// readURL reads a URL of one line.
func readURL(in io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxLine))
	if err != nil {
		return "", usagef("read the URL from standard input: %w", err)
	}
	url := strings.TrimSpace(string(text))
	if url == "" || len(text) == maxLine || strings.ContainsAny(url, "\r\n") {
		return "", usagef("standard input is to hold one URL, in one line")
	}
	return url, nil
}
