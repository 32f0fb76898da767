// Package daemon is the background service of urlsession: it runs the tasks of background sessions, also when the apps
// that made them are gone. Run is the service; a program may embed it, and the command urlsession does. Start has a program
// run it in the background; Install makes it a unit of the user's systemd.
//
// # The state folder
//
//	daemon.lock                 locked (flock) by the daemon that runs: one a folder
//	daemon.sock                 where clients connect; in $XDG_RUNTIME_DIR/urlsession where this path is too long for a socket
//	daemon.log                  its output, where Start has given it a process session of its own
//	urlsession.db               tasks, events, sessions; beside it its key, -wal and -shm
//	cookies.key                 the key of the sessions' cookies, once there are some
//	sessions/NAME/cookies       cookies, sealed; beside it its lock, and what was damaged
//	sessions/NAME/bodies/       bodies of responses of data and upload tasks, by the task's number
//	sessions/NAME/spool/        bodies of requests that came as bytes, until their tasks end
//	sessions/NAME/temporary/    downloads without a destination
//
// NAME is made of the session's identifier by a hash, so that any identifier is the name of a folder.
//
// The folder belongs to one user and one machine: all that is in it is for its owner alone (0700, 0600).
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/store/sqlitestore"
)

// ErrRunning says that another daemon runs on the state folder.
var ErrRunning = errors.New("another daemon runs on it")

// Options of Run. The zero value is the user's own daemon.
type Options struct {
	// State is the state folder; it is made where it is missing. Empty: $URLSESSION_STATE, else
	// $XDG_STATE_HOME/urlsession, else ~/.local/state/urlsession.
	State string
	// Version is the program's, for who asks.
	Version string
	// Logger is told what the daemon does; nil: nobody is. No secret is told.
	Logger *slog.Logger
	// Retention is how long tasks that have ended are kept, with their events and bodies, once those events were
	// acknowledged. 0: 7 days; negative: no limit.
	Retention time.Duration
	// History is how many of them a session keeps at most, the newest. 0: 10,000; negative: no limit.
	History int
	// Settings reads what the user wants, at the start and whenever a client asks for it (urlsession daemon reload); nil: the
	// zero Settings. Where it fails, or they are none, Run tells Logger and its status, and those before go on to hold, at the
	// start the zero ones. It is called by one goroutine at a time.
	Settings func() (Settings, error)
	// Ready is called once, when clients are served; nil: nobody is told.
	Ready func()
	// OwnsProcess says that the process is there for the daemon alone. Run then takes the socket that systemd has opened,
	// tells systemd when it is ready and when it stops, and has the garbage collector keep memory small. Without it Run
	// changes nothing of its process and reads none of systemd's variables: they are the embedding program's.
	OwnsProcess bool
}

const (
	defaultRetention = 7 * 24 * time.Hour
	defaultHistory   = 10_000
)

// retention is what the options say of history.
func (o *Options) retention() engine.Retention {
	return engine.Retention{
		Age:   max(0, cmp.Or(o.Retention, defaultRetention)), // the engine's 0 is no limit
		Count: max(0, cmp.Or(o.History, defaultHistory)),
	}
}

// stopFor bounds an orderly stop: for so long a request that must not be sent twice may go on, and a client may send a body.
// Tests shorten it.
var stopFor = 8 * time.Second

// Run serves the background sessions of a state folder until ctx ends, then stops in order and returns nil: attempts
// record what they have, and every task goes on with the next Run on the folder. A client can have it stop too. It takes
// 10 s at most.
//
// Its error says what is wrong with the folder and what to do, or why it could not go on; ErrRunning is among them. A
// state folder that is taken away while Run uses it ends it with an error. Several Runs may be in one process, each on a
// folder of its own. When Run has returned none of its goroutines is left, but for those that wait for the end of launch
// commands.
func Run(ctx context.Context, o Options) (err error) {
	if o.State == "" {
		if o.State, err = control.StateFolder(); err != nil {
			return fmt.Errorf("run daemon: %w", err)
		}
	}
	if o.State, err = filepath.Abs(o.State); err != nil {
		return fmt.Errorf("run daemon: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := run(ctx, o); err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) { // it ended before the daemon stood
			return nil
		}
		return fmt.Errorf("run daemon on %s: %w", o.State, err)
	}
	return nil
}

func run(ctx context.Context, o Options) (err error) {
	f, err := openFolder(ctx, o.State)
	if err != nil {
		return explain(err)
	}
	defer func() { err = errors.Join(err, f.close()) }()

	db, err := sqlitestore.Open(ctx, filepath.Join(f.path, "urlsession.db"))
	if err != nil {
		return explain(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }() // which copies the -wal file into the database

	sockets, err := listen(f, o)
	if err != nil {
		return explain(err)
	}
	defer sockets.remove()

	if o.OwnsProcess {
		tuneMemory()
	}
	parent := ctx
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	ss := newSessions(f.path, db, o)
	h := newHTTP(ss, o, func() { stop(errAsked) })

	var loops sync.WaitGroup
	for _, l := range sockets.listeners {
		loops.Go(func() {
			if err := h.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				stop(fmt.Errorf("serve clients: %w", err))
			}
		})
	}
	loops.Go(func() {
		if f.awaitLoss(ctx) {
			stop(errTaken)
		}
	})
	loops.Go(func() { ss.limiter.run(ctx, newAlarm()) })
	loops.Go(func() {
		ss.resume(ctx)
		ss.revisit(ctx)
	})
	o.Logger.Info("the daemon serves", "state", f.path, "socket", sockets.String())
	tellReady(o)

	<-ctx.Done()
	why := context.Cause(ctx)
	o.Logger.Info("the daemon stops", "why", why)
	f.tellStopping()
	tellStopping(o)
	late, cancel := context.WithTimeout(context.Background(), stopFor)
	defer cancel()
	// Clients are told to come again from here on; the socket stays until all is stopped, so that they wait for it and
	// do not start another daemon, which would find the folder locked.
	h.refuse()
	ss.stop(late)
	h.close(late)
	loops.Wait()
	o.Logger.Info("the daemon has stopped")
	if parent.Err() != nil || errors.Is(why, errAsked) {
		return nil
	}
	return why
}

// errAsked is why a daemon stops that a client asked to; errTaken why one does whose folder is gone.
var (
	errAsked = errors.New("a client asked for it")
	errTaken = errors.New("the state folder was removed, moved or replaced while the daemon ran; start it again")
)

// explain adds the remedy to errors of the folder's disk.
func explain(err error) error {
	if errors.Is(err, store.ErrFull) {
		return err // it says so itself
	}
	if noRoom(err) {
		return fmt.Errorf("%w: make room on its disk", err)
	}
	return err
}
