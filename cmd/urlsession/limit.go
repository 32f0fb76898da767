package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// rateHelp says what RATE is, to those who ask for help.
const rateHelp = `RATE is in bytes a second, such as 500K or 10MiB, of what is received, and as many of what is sent; none or 0 lifts the limit.`

// parseRate reads a number of bytes a second, such as 10MiB; none and 0 are 0.
func parseRate(s string) (int64, error) {
	if n, err := strconv.ParseFloat(s, 64); s == "none" || err == nil && n == 0 {
		return 0, nil
	}
	n, err := parseSize(s)
	if err != nil {
		return 0, errors.New("a rate is in bytes a second: 500000, 64KiB, 10MiB, or none")
	}
	return n, nil
}

func rateArgument(s string) (int64, error) {
	n, err := parseRate(s)
	if err != nil {
		return 0, usagef("RATE %q: %w", s, err)
	}
	return n, nil
}

// formatRate writes a rate limit for people.
func formatRate(n int64) string {
	if n == 0 {
		return "none"
	}
	return formatSize(n) + "/s"
}

func newTaskLimit() *cobra.Command {
	return &cobra.Command{
		Use:   "limit ID/N RATE",
		Short: "Bound the bytes a second of a task, at once",
		Long:  "Bound the bytes a second of a task, at once, beside what its session and the daemon may.\n\n" + rateHelp,
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			rate, err := rateArgument(args[1])
			if err != nil {
				return err
			}
			return eachTask(cmd, args[:1], func(t *urlsession.Task, ctx context.Context) error { return t.SetRateLimit(ctx, rate) })
		},
	}
}

func newSessionLimit() *cobra.Command {
	return &cobra.Command{
		Use:   "limit ID RATE",
		Short: "Bound the bytes a second of all tasks of a session together, at once",
		Long: `Bound the bytes a second of all tasks of a session together, at once, until its app opens it anew: then the app's own
limit holds.

` + rateHelp,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			rate, err := rateArgument(args[1])
			if err != nil {
				return err
			}
			return withSession(cmd, args[0], func(ctx context.Context, s *urlsession.Session) error { return s.SetRateLimit(ctx, rate) })
		},
	}
}

func newDaemonLimit() *cobra.Command {
	return &cobra.Command{
		Use:   "limit RATE",
		Short: "Bound the bytes a second of all sessions together, at once",
		Long: `Bound the bytes a second of all sessions together, at once, in place of what the config file says: until its schedule
changes the limit next, urlsession daemon reload, or the daemon's end.

` + rateHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rate, err := rateArgument(args[0])
			if err != nil {
				return err
			}
			return withDaemon(cmd, func(ctx context.Context, d urlsession.Daemon) error { return noDaemon(d, d.SetRateLimit(ctx, rate)) })
		},
	}
}
