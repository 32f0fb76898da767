package urlsession

import (
	"context"
	"errors"
	"time"
)

// Daemon names a daemon that runs background sessions, by its state folder. The zero value is the user's own. Its methods
// may be called from any goroutine.
type Daemon struct {
	// State is the daemon's state folder, relative to the working directory of now. Empty: $URLSESSION_STATE, else
	// $XDG_STATE_HOME/urlsession, else ~/.local/state/urlsession.
	State string
	// Command starts the daemon where it does not run: a program and its arguments, with URLSESSION_STATE in its
	// environment, which returns once the daemon was started. Empty: "urlsession daemon start", by the program urlsession
	// of PATH.
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
}

// Status asks the daemon. It does not start it: one that does not run is ErrDaemonLost. It waits 10 s at most.
func (d Daemon) Status(ctx context.Context) (DaemonStatus, error) {
	return DaemonStatus{}, errors.ErrUnsupported
}

// Start starts the daemon, unless it runs, and returns once it answers, or ErrDaemonLost.
func (d Daemon) Start(ctx context.Context) error { return errors.ErrUnsupported }

// Sessions are those of the daemon, in the order of their identifiers. It is started where it does not run.
func (d Daemon) Sessions(ctx context.Context) ([]SessionInfo, error) {
	return nil, errors.ErrUnsupported
}

// Session is the session of an identifier, for one who looks at it or works on its tasks, in place of its app: its
// configuration stays as it is, and it must be there (else ErrResourceUnavailable). It is used as one that New made;
// its Configuration is Background's but for Daemon. What makes a task in it makes it by the default policy.
func (d Daemon) Session(ctx context.Context, identifier string) (*Session, error) {
	return nil, errors.ErrUnsupported
}
