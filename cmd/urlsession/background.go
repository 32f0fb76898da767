package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// inBackground makes the jobs' tasks in the background session of --session, and looks at them until they have ended or,
// with --detach, says which they are.
func (f *sharedFlags) inBackground(cmd *cobra.Command, std stdio, jobs iter.Seq2[job, error]) error {
	ctx, done := interruptible()
	defer done()
	b := &background{identifier: f.session, look: lookAt(cmd, f.session), state: stateWords(cmd), progress: &silence{out: std.err}}
	session, err := f.openBackground(ctx, cmd)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return b.end(ctx, err)
	default:
		return err
	}
	defer session.Close()
	b.session = session
	if f.detach {
		d := newDetached(std.out, f.session, f.json)
		return b.end(ctx, b.create(ctx, jobs, d.made))
	}
	b.progress = newProgress(std.err, f.quiet || f.json)
	w := &watcher{background: b, pending: make(map[urlsession.TaskID]*watchedTask)}
	if f.json {
		w.events = newEventWriter(std.out)
	}
	err = w.all(ctx, jobs)
	b.progress.close()
	return b.end(ctx, err)
}

// background is one execution of a command whose tasks the daemon runs.
type background struct {
	session    *urlsession.Session
	identifier string
	look       string // the command line that shows the session's tasks
	state      string // see stateWords
	progress   progress

	mu      sync.Mutex
	created int  // tasks that are known to exist
	failed  bool // one of them failed, or one could not be made; that has been told
}

// fail reports one failure, in one line. mu is held.
func (b *background) fail(where, url string, err error) {
	b.failed = true
	b.progress.note(failureLine(where, url, err))
}

// end says how the command ended: err is why it stopped early, or nil. The tasks that exist go on in any case, and where
// the user does not see them end, that is told.
func (b *background) end(ctx context.Context, err error) error {
	goOn := fmt.Sprintf("; the tasks go on: %s", b.look)
	if b.created == 0 {
		goOn = fmt.Sprintf("; no task is known to have been made: %s", b.look)
	}
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errInterrupted):
		b.progress.note("urlsession: interrupted" + goOn)
		return errInterrupted
	case isLost(err):
		b.progress.note(oneLine("urlsession: " + err.Error() + goOn))
		return errNoDaemon
	case err != nil && b.created == 0:
		b.progress.note(failureLine("", "", err))
		return errFailed
	case err != nil:
		b.progress.note(failureLine("", "", err) + goOn)
		return errFailed
	case b.failed:
		return errFailed
	}
	return nil
}

// openBackground opens the session of --session. One that is there keeps its configuration, which may be an app's, unless
// the command line says something of it: then the flags, and the defaults for all others, are its new one. --limit-rate is
// changed by itself.
func (f *sharedFlags) openBackground(ctx context.Context, cmd *cobra.Command) (*urlsession.Session, error) {
	d, err := daemonOf(cmd)
	if err != nil {
		return nil, err
	}
	c := urlsession.Background(f.session)
	c.Daemon = d
	if f.retryGiven {
		c.Retries = f.retry
	}
	if f.parallelGiven {
		c.MaximumConnectionsPerHost = f.perHost()
	} else {
		c.MaximumConnectionsPerHost = max(c.MaximumConnectionsPerHost, f.connections)
	}
	if c, err = f.configure(c); err != nil {
		return nil, err
	}
	if !f.configures {
		s, err := d.Session(ctx, f.session)
		switch {
		case err == nil:
			// One that takes no more tasks is opened anew, or the daemon says why it is not.
			info, err := s.Info(ctx)
			if err == nil && info.State == "open" && f.limitGiven {
				err = s.SetRateLimit(ctx, f.limitRate.v)
			}
			if err == nil && info.State == "open" {
				return s, nil
			}
			s.Close()
			if err != nil {
				return nil, err
			}
		case !errors.Is(err, urlsession.ErrResourceUnavailable):
			return nil, opening(err)
		}
	}
	s, err := urlsession.New(c)
	return s, opening(err)
}

// opening is the error of opening a session; what it refuses before it asks the daemon is usage.
func opening(err error) error {
	if errors.Is(err, urlsession.ErrUnknown) || errors.Is(err, urlsession.ErrCannotOpenFile) {
		return usageError{err}
	}
	return err
}

// isLost says whether an error is that of a daemon that cannot be reached.
func isLost(err error) bool {
	return errors.Is(err, urlsession.ErrDaemonLost) || errors.Is(err, urlsession.ErrNoSharedContainer)
}

// lookAt is the command line that shows a session's tasks.
func lookAt(cmd *cobra.Command, identifier string) string {
	return "urlsession task list " + shellWord(identifier) + stateWords(cmd)
}

// stateWords are what another command line has to say to mean the same daemon.
func stateWords(cmd *cobra.Command) string {
	if f := cmd.Flags().Lookup("state"); f != nil && f.Changed {
		return " --state " + shellWord(f.Value.String())
	}
	return ""
}

// shellWord is a text as a word of a shell's command line.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "%+-./0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// daemonOf is the daemon that a command line means. It is started by this program.
func daemonOf(cmd *cobra.Command) (urlsession.Daemon, error) {
	state, err := stateOf(cmd)
	if err != nil {
		return urlsession.Daemon{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return urlsession.Daemon{}, fmt.Errorf("find this program, to start the daemon by it: %w", err)
	}
	return urlsession.Daemon{State: state, Command: []string{program, "daemon", "start"}}, nil
}
