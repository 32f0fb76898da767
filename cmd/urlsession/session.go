package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

func newSession() *cobra.Command {
	cmd := group("session", "List background sessions, look at one, limit, flush, reset or end it", "list, show, limit, flush, reset, finish or invalidate")
	cmd.AddCommand(newSessionList(), newSessionShow(), newSessionLimit())
	for _, verb := range []struct {
		name, short string
		do          func(*urlsession.Session, context.Context) error
	}{
		{"flush", "Have the daemon write what the session remembers, and drop its idle connections", (*urlsession.Session).Flush},
		{"reset", "Have the daemon forget the session's cookies and credentials and remove their files, then flush", (*urlsession.Session).Reset},
		{"finish", "Close the session to new tasks; those that it has go on to their end", (*urlsession.Session).FinishTasksAndInvalidate},
		{"invalidate", "Close the session to new tasks and cancel those that it has", (*urlsession.Session).InvalidateAndCancel},
	} {
		cmd.AddCommand(&cobra.Command{
			Use:   verb.name + " ID",
			Short: verb.short,
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return withSession(cmd, args[0], func(ctx context.Context, s *urlsession.Session) error { return verb.do(s, ctx) })
			},
		})
	}
	return cmd
}

// group is a command that only has others; which says what they are.
func group(name, short, which string) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("give a command: urlsession %s %s", name, which)
		},
	}
}

func newSessionList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the daemon's sessions",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDaemon(cmd, func(ctx context.Context, d urlsession.Daemon) error {
				sessions, err := d.Sessions(ctx)
				if err != nil {
					return err
				}
				out := cmd.OutOrStdout()
				t := newTable(out, "SESSION", "STATE", "TASKS", "EVENTS", "WAITING", "OWNER", "CREATED")
				for _, s := range sessions {
					if asJSON {
						if err := writeError(writeJSON(out, sessionJSON(s))); err != nil {
							return err
						}
						continue
					}
					err := t.add(s.Identifier, s.State, fmt.Sprint(s.Tasks), fmt.Sprint(s.Last), fmt.Sprint(s.Last-s.Acknowledged),
						yes(s.Owned), formatMoment(s.Created))
					if err != nil {
						return err
					}
				}
				if asJSON {
					return nil
				}
				return t.flush()
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func newSessionShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a session: its state, its tasks that have not ended, its events",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withSession(cmd, args[0], func(ctx context.Context, s *urlsession.Session) error {
				info, err := s.Info(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return writeError(writeJSON(cmd.OutOrStdout(), sessionJSON(info)))
				}
				c := card{out: cmd.OutOrStdout()}
				c.add("session", info.Identifier)
				c.add("state", stateOfSession(info.State))
				c.add("tasks", fmt.Sprintf("%d that have not ended", info.Tasks))
				c.add("events", fmt.Sprintf("%d, of which %d wait to be acknowledged", info.Last, info.Last-info.Acknowledged))
				if info.Owned {
					c.add("owner", "an app listens")
				} else {
					c.add("owner", "nobody listens")
				}
				if info.RateLimit > 0 {
					c.add("limit", formatRate(info.RateLimit))
				}
				c.add("created", formatMoment(info.Created))
				return c.print()
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// stateOfSession says what a session's state means.
func stateOfSession(state string) string {
	switch state {
	case "finishing":
		return "finishing: no new tasks; it is invalid once those that it has have ended"
	case "canceling":
		return "canceling: no new tasks; those that it has are being cancelled"
	case "invalidated":
		return "invalidated: it can be opened anew once its events are acknowledged"
	}
	return state
}

// sessionJSON is a session in JSON, by the names of the wire.
func sessionJSON(s urlsession.SessionInfo) any {
	return struct {
		Identifier   string    `json:"sessionIdentifier"`
		State        string    `json:"state"`
		Tasks        int       `json:"tasks"`
		Last         uint64    `json:"lastSequence"`
		Acknowledged uint64    `json:"acknowledgedSequence"`
		Owned        bool      `json:"owned"`
		Created      time.Time `json:"created,omitzero"`
		RateLimit    int64     `json:"rateLimit,omitempty"`
	}(s)
}

// withDaemon runs a command that asks the daemon. A signal ends its context.
func withDaemon(cmd *cobra.Command, do func(context.Context, urlsession.Daemon) error) error {
	d, err := daemonOf(cmd)
	if err != nil {
		return err
	}
	ctx, done := interruptible()
	defer done()
	err = do(ctx, d)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// withSession runs a command on a session that there is.
func withSession(cmd *cobra.Command, identifier string, do func(context.Context, *urlsession.Session) error) error {
	return withDaemon(cmd, func(ctx context.Context, d urlsession.Daemon) error {
		s, err := d.Session(ctx, identifier)
		if err != nil {
			return opening(err)
		}
		defer s.Close()
		return do(ctx, s)
	})
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// formatMoment writes a time for people, and how long ago it was or how far it is.
func formatMoment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	at := t.Local().Format("2006-01-02 15:04:05")
	if d := time.Until(t); d > 0 {
		return at + " (in " + formatDuration(d) + ")"
	}
	return at + " (" + formatDuration(time.Since(t)) + " ago)"
}
