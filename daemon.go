package urlsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/durable"
)

// Daemon names a daemon that runs background sessions, by its state folder. The zero value is the user's own. Its methods
// may be called from any goroutine.
//
// Their errors are those of New for a background session: ErrDaemonLost where the daemon cannot be reached or started,
// ErrNoSharedContainer where it is of another version, ErrNoPermission where it is another user's.
type Daemon struct {
	// State is the daemon's state folder, relative to the working directory of now. Empty: $URLSESSION_STATE, else
	// $XDG_STATE_HOME/urlsession, else ~/.local/state/urlsession.
	State string
	// Command starts the daemon where it does not run: a program and its arguments, with URLSESSION_STATE in its
	// environment, in a process session of its own, without standard input and output. It returns within 30 s, once the
	// daemon was started, or fails and says why on standard error. Empty: "urlsession daemon start", by the program
	// urlsession of PATH.
	Command []string
}

// DaemonStatus is what a daemon tells of itself.
type DaemonStatus struct {
	PID      int
	Version  string // the program's
	State    string // its folder, absolute
	Started  time.Time
	Sessions int
	Tasks    int   // that have not ended
	Used     int64 // bytes that its folder takes on the disk
	Free     int64 // bytes that the disk has free; -1: not known

	RateLimit      int64     // bytes a second of all sessions together; 0: none
	RateLimitUntil time.Time // when that changes by schedule; zero: it does not
	SettingsError  string    // why the newest settings do not hold, such as a mistake in the config file; empty: they do
}

// SessionInfo is what a daemon tells of one of its sessions.
type SessionInfo struct {
	Identifier string
	// State is "open", "finishing" (no new tasks; it is invalid once those that it has have ended), "canceling" (the same,
	// and they are being cancelled) or "invalidated".
	State        string
	Tasks        int    // that have not ended
	Last         uint64 // number of the newest durable event; 0: none yet
	Acknowledged uint64 // number of the last one that was acknowledged
	Owned        bool   // somebody listens as its owner
	Created      time.Time
	RateLimit    int64 // bytes a second of all its tasks together; 0: none
}

// statusFor is how long Status takes at most.
const statusFor = 10 * time.Second

// Status asks the daemon. It does not start it: one that does not run is ErrDaemonLost at once, and one that does not
// answer within 10 s, too.
func (d Daemon) Status(ctx context.Context) (DaemonStatus, error) { return d.status(ctx, statusFor) }

func (d Daemon) status(ctx context.Context, most time.Duration) (DaemonStatus, error) {
	const op = "ask the daemon's status"
	d, err := d.resolve()
	if err != nil {
		return DaemonStatus{}, err
	}
	c := control.NewClient(d.unstarted())
	defer c.Close()
	ctx, cancel := bounded(ctx, most)
	defer cancel()
	st, err := c.Status(ctx)
	if err != nil {
		return DaemonStatus{}, daemonError(ctx, op, err)
	}
	return DaemonStatus(st), nil
}

// Start starts the daemon, unless it runs, and returns once it answers.
func (d Daemon) Start(ctx context.Context) error {
	return d.ask("start the daemon", "", func(c *control.Client) error {
		_, err := c.Status(ctx)
		return err
	})
}

// Stop ends the daemon: it takes nothing new, records where its tasks are, and returns when its process has let go of the
// state folder. Tasks go on where the daemon is started again, which New of any program does. A daemon that does not run
// is ErrDaemonLost. When ctx ends the daemon is stopping all the same.
func (d Daemon) Stop(ctx context.Context) error {
	const op = "stop the daemon"
	d, err := d.resolve()
	if err != nil {
		return err
	}
	c := control.NewClient(d.unstarted())
	defer c.Close()
	holder := lockHolder(d.State)
	if err := c.Stop(ctx); err != nil {
		return publicError(op, err)
	}
	if err := awaitUnlocked(ctx, d.State, holder); err != nil {
		return publicError(op, err)
	}
	return nil
}

// SetRateLimit bounds the bytes of bodies that the tasks of all sessions together receive a second, and apart from those the
// ones that they send; 0: no limit. It holds at once, until the daemon's schedule changes the limit next, its settings are
// reloaded, or it ends. A daemon that does not run is ErrDaemonLost.
func (d Daemon) SetRateLimit(ctx context.Context, bytesPerSecond int64) error {
	const op = "set the daemon's rate limit"
	if bytesPerSecond < 0 {
		return &Error{Op: op, Code: ErrUnknown, Err: fmt.Errorf("it is %d bytes a second; 0 is none", bytesPerSecond)}
	}
	return d.tell(op, func(c *control.Client) error { return c.SetDaemonRateLimit(ctx, bytesPerSecond) })
}

// Reload has the daemon read its settings anew, as the config file has them, and forget what SetRateLimit has set. Where they
// cannot be read, or are none, the error says why, and those before go on to hold. A daemon that does not run is
// ErrDaemonLost.
func (d Daemon) Reload(ctx context.Context) error {
	return d.tell("reload the daemon's settings", func(c *control.Client) error { return c.Reload(ctx) })
}

// tell is ask of a daemon that is not started for it.
func (d Daemon) tell(op string, what func(*control.Client) error) error {
	d, err := d.resolve()
	if err != nil {
		return err
	}
	c := control.NewClient(d.unstarted())
	defer c.Close()
	return publicError(op, what(c))
}

// Sessions are those of the daemon, in the order of their identifiers. It is started where it does not run.
func (d Daemon) Sessions(ctx context.Context) (infos []SessionInfo, err error) {
	err = d.ask("list sessions", "", func(c *control.Client) error {
		list, err := c.Sessions(ctx)
		for _, info := range list {
			infos = append(infos, sessionInfo(info))
		}
		return err
	})
	slices.SortFunc(infos, func(a, b SessionInfo) int { return cmp.Compare(a.Identifier, b.Identifier) })
	return infos, err
}

// Session is the session of an identifier, for one who looks at it or works on its tasks, in place of its app: its
// configuration stays as it is, and it must be there (else ErrResourceUnavailable). It is used as one that New made;
// its Configuration is Background's but for Daemon. What makes a task in it makes it by the default policy. The daemon is
// started where it does not run.
func (d Daemon) Session(ctx context.Context, identifier string) (*Session, error) {
	const op = "look up session"
	c := Background(identifier)
	if err := c.check(); err != nil {
		return nil, err
	}
	var err error
	if c.Daemon, err = d.resolve(); err != nil {
		return nil, err
	}
	c.resolveCookies()
	client := control.NewClient(c.Daemon.options(identifier))
	if _, err := client.Info(ctx); err != nil {
		client.Close()
		return nil, publicError(op, err)
	}
	proxy, err := c.Proxy.resolve()
	if err != nil {
		client.Close()
		return nil, err
	}
	t, err := c.transport(proxy, nil)
	if err != nil {
		return newBackground(c, client, refusing{err}), nil // its tasks have their own
	}
	return newBackground(c, client, t), nil
}

// ask asks the daemon something, which is started where it does not run.
func (d Daemon) ask(op, session string, question func(*control.Client) error) error {
	d, err := d.resolve()
	if err != nil {
		return err
	}
	c := control.NewClient(d.options(session))
	defer c.Close()
	return publicError(op, question(c))
}

// resolve is the daemon with an absolute folder, and an absolute program where Command names a path: the working
// directory may be another one when it is to be started.
func (d Daemon) resolve() (Daemon, error) {
	var err error
	if d.State == "" {
		d.State, err = control.StateFolder()
	} else {
		d.State, err = filepath.Abs(d.State)
	}
	if d.Command = slices.Clone(d.Command); err == nil && len(d.Command) > 0 && strings.ContainsRune(d.Command[0], filepath.Separator) {
		d.Command[0], err = filepath.Abs(d.Command[0])
	}
	if err != nil {
		return d, &Error{Op: "find the daemon", Code: ErrNoSharedContainer, Err: err}
	}
	return d, nil
}

// lockHolder is what the daemon's lock file says of who has it.
func lockHolder(state string) string {
	b, _ := os.ReadFile(control.LockFile(state))
	process, _, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	return process
}

// awaitUnlocked waits until the lock of a state folder is free, or another process's than holder: the one that there was
// has ended. The socket does not tell that: it may be systemd's, and to connect would start the daemon.
func awaitUnlocked(ctx context.Context, state, holder string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := os.Open(control.LockFile(state))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		err = durable.Lock(f) // for a moment only, which a daemon that starts is patient with
		f.Close()
		if err == nil {
			return nil
		}
		if now := lockHolder(state); errors.Is(err, durable.ErrLocked) && now != "" && now != holder {
			return nil
		} else if !errors.Is(err, durable.ErrLocked) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return contextError(ctx, "wait for the daemon's end", state)
		}
	}
}

// options are those of a client that starts the daemon; d is resolved.
func (d Daemon) options(session string) control.ClientOptions {
	s := &starter{command: d.Command, state: d.State}
	return control.ClientOptions{Socket: control.Socket(d.State), Session: session, Start: s.start}
}

// unstarted are those of one that asks once, and leaves a daemon that does not run.
func (d Daemon) unstarted() control.ClientOptions {
	return control.ClientOptions{Socket: control.Socket(d.State), Patience: -1}
}

func sessionInfo(i control.SessionInfo) SessionInfo {
	return SessionInfo{Identifier: i.ID, State: string(i.State), Tasks: i.Tasks, Last: i.Last, Acknowledged: i.Acknowledged, Owned: i.Owned, Created: i.Created,
		RateLimit: i.RateLimit}
}
