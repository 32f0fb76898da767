package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/daemon"
)

func newDaemon() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "daemon [run]",
		Short: "Run, start or stop the daemon that runs background sessions, or ask how it is",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runDaemon(cmd) },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "run",
			Short: "Run the daemon in the foreground, with its log on standard error",
			Long: `Run the daemon in the foreground, with its log on standard error, until SIGINT or SIGTERM: then its tasks record what
they hold, and go on at the next start. One runs a state folder; a second one exits with status 4.`,
			Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return runDaemon(cmd) },
		},
		&cobra.Command{
			Use:   "start",
			Short: "Start the daemon in the background, unless it runs, and say how",
			Args:  cobra.NoArgs,
			RunE:  func(cmd *cobra.Command, _ []string) error { return startDaemon(cmd) },
		},
		newDaemonStatus(),
		newDaemonLimit(),
		&cobra.Command{
			Use:   "reload",
			Short: "Have the daemon read the config file anew, and say what is wrong with it",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return withDaemon(cmd, func(ctx context.Context, d urlsession.Daemon) error { return noDaemon(d, d.Reload(ctx)) })
			},
		},
		&cobra.Command{
			Use:   "stop",
			Short: "Stop the daemon: its tasks record what they hold, and go on at the next start",
			Args:  cobra.NoArgs,
			RunE:  func(cmd *cobra.Command, _ []string) error { return stopDaemon(cmd) },
		},
		&cobra.Command{
			Use:   "install",
			Short: "Install the daemon as a unit of the user's systemd",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return onUnit(cmd, func(ctx context.Context, state string, command []string) error {
					return daemon.Install(ctx, state, command, cmd.OutOrStdout())
				})
			},
		},
		&cobra.Command{
			Use:   "uninstall",
			Short: "Remove that unit",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return onUnit(cmd, func(ctx context.Context, state string, _ []string) error {
					return daemon.Uninstall(ctx, state, cmd.OutOrStdout())
				})
			},
		},
	)
	return cmd
}

// runDaemon is the daemon itself.
func runDaemon(cmd *cobra.Command) error {
	state, err := stateOf(cmd)
	if err != nil {
		return err
	}
	ctx, done := interruptible()
	defer done()
	version, _ := build()
	err = daemon.Run(ctx, daemon.Options{
		State: state, Version: version, OwnsProcess: true, Settings: daemonSettings,
		Logger: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)),
	})
	switch {
	case errors.Is(err, daemon.ErrRunning):
		return statusError{err, daemon.ExitRunning}
	case err != nil:
		return failedf("%w", err)
	}
	return nil
}

func startDaemon(cmd *cobra.Command) error {
	keepInherited()
	os.Unsetenv(passwordVariable) // of the command that needs a daemon: neither it nor what it launches is to have it
	return onUnit(cmd, func(ctx context.Context, state string, command []string) error {
		how, err := daemon.Start(ctx, state, command)
		if err != nil {
			return statusError{err, exitNoDaemon}
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "urlsession: the daemon of "+oneLine(state)+": "+oneLine(how))
		return writeError(err)
	})
}

// stopFor bounds the wait for the end of a daemon that stops.
const stopFor = 30 * time.Second

func stopDaemon(cmd *cobra.Command) error {
	return withDaemon(cmd, func(ctx context.Context, d urlsession.Daemon) error {
		ctx, cancel := context.WithTimeout(ctx, stopFor)
		defer cancel()
		return noDaemon(d, d.Stop(ctx))
	})
}

// noDaemon is the error of a daemon that was asked and not started; any other is left as it is.
func noDaemon(d urlsession.Daemon, err error) error {
	if e, ok := errors.AsType[*urlsession.Error](err); ok && e.Code == urlsession.ErrDaemonLost {
		return statusError{fmt.Errorf("no daemon answers on %s (%d): %w", d.State, int(e.Code), e.Err), exitNoDaemon}
	}
	return err
}

// onUnit does something with the daemon's state folder and the command that runs it.
func onUnit(cmd *cobra.Command, do func(ctx context.Context, state string, command []string) error) error {
	state, err := stateOf(cmd)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return failedf("find this program: %w", err)
	}
	ctx, done := interruptible()
	defer done()
	err = do(ctx, state, []string{program, "daemon", "run"})
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, ok := errors.AsType[statusError](err); ok {
		return err
	}
	return failedf("%w", err)
}

func newDaemonStatus() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say whether the daemon runs, and how it is; exit with status 3 if it does not",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDaemon(cmd, func(ctx context.Context, d urlsession.Daemon) error {
				s, err := d.Status(ctx)
				if asJSON && err == nil {
					return writeError(writeJSON(cmd.OutOrStdout(), statusJSON(s)))
				}
				if err != nil {
					return noDaemon(d, err)
				}
				c := card{out: cmd.OutOrStdout()}
				c.add("daemon", fmt.Sprintf("process %d, version %s", s.PID, s.Version))
				c.add("state", s.State)
				c.add("started", formatMoment(s.Started))
				c.add("sessions", fmt.Sprint(s.Sessions))
				c.add("tasks", fmt.Sprintf("%d that have not ended", s.Tasks))
				disk := formatSize(s.Used) + " used by the state folder"
				if s.Free >= 0 {
					disk += ", " + formatSize(s.Free) + " free"
				}
				c.add("disk", disk)
				if s.RateLimit > 0 || !s.RateLimitUntil.IsZero() {
					c.add("limit", limitText(s))
				}
				if s.SettingsError != "" {
					c.add("settings", s.SettingsError+"; those before hold until urlsession daemon reload")
				}
				return c.print()
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// limitText is the daemon's rate limit, and until when it holds.
func limitText(s urlsession.DaemonStatus) string {
	text := formatRate(s.RateLimit)
	if !s.RateLimitUntil.IsZero() {
		text += ", until " + formatMoment(s.RateLimitUntil)
	}
	return text
}

// statusJSON is the daemon's status in JSON, by the names of the wire.
func statusJSON(s urlsession.DaemonStatus) any {
	return struct {
		PID      int       `json:"pid"`
		Version  string    `json:"version"`
		State    string    `json:"state"`
		Started  time.Time `json:"started"`
		Sessions int       `json:"sessions"`
		Tasks    int       `json:"tasks"`
		Used     int64     `json:"used"`
		Free     int64     `json:"free"`

		RateLimit      int64     `json:"rateLimit,omitempty"`
		RateLimitUntil time.Time `json:"rateLimitUntil,omitzero"`
		SettingsError  string    `json:"settingsError,omitempty"`
	}(s)
}
