package daemon

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urlsession/urlsession/internal/control"
)

// launcher runs a session's launch command when events wait and nobody listens as the owner.
//
// A wake-up is when the last task of a session ends unattended, or one asks who it is to say it is, or when a daemon starts and
// finds events waiting in a session whose tasks have all ended, or ask. It runs the command once. While events stay unacknowledged after the command has ended, it is
// run again after a pause: 1 s, then each time twice as long, up to 1 h; a wake-up that comes meanwhile adds no run. A command
// that is still running is not run a second time. When the cursor moves the pauses begin anew: an app that only comes, and
// ends before it has acknowledged anything, is not run again and again. With nothing left to acknowledge, or an owner there,
// nothing is run.
type launcher struct {
	waits func() (acknowledged uint64, waits bool) // events, for an owner who is not there
	start func(control.Launch) (wait func() error, err error)
	log   *slog.Logger

	mu      sync.Mutex
	begun   bool // wake-ups count; before, one is remembered
	missed  bool
	launch  control.Launch
	running bool
	again   *time.Timer // nil: no pause is under way
	runs    int         // since the cursor moved
	cursor  uint64      // at the last run
	stopped bool
}

const (
	launchPause     = time.Second
	launchPauseMost = time.Hour
)

// pauseAfter is the pause after so many runs in vain.
func pauseAfter(runs int) time.Duration {
	return min(launchPauseMost, launchPause<<min(runs-1, 12))
}

// begin lets wake-ups run the command, once its session stands.
func (l *launcher) begin() {
	l.mu.Lock()
	l.begun = true
	missed := l.missed
	l.mu.Unlock()
	if missed {
		l.wake()
	}
}

// use sets the command for the wake-ups from now on.
func (l *launcher) use(launch control.Launch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.launch = launch
}

// wake is a wake-up.
func (l *launcher) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun {
		l.missed = true
		return
	}
	if l.stopped || l.running || len(l.launch.Command) == 0 {
		return
	}
	cursor, waits := l.waits()
	if cursor > l.cursor {
		l.forget()
	}
	switch {
	case !waits || l.again != nil:
	case l.runs > 0:
		l.pause()
	default:
		l.run(cursor)
	}
}

// owned notes that an owner has come.
func (l *launcher) owned() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endPause()
}

// forget begins the pauses anew. l.mu is held.
func (l *launcher) forget() {
	l.runs = 0
	l.endPause()
}

func (l *launcher) endPause() {
	if l.again != nil {
		l.again.Stop()
		l.again = nil
	}
}

// run starts the command. l.mu is held.
func (l *launcher) run(cursor uint64) {
	l.running, l.cursor = true, cursor
	l.runs++
	wait, err := l.start(l.launch)
	program := l.launch.Command[0]
	if err != nil {
		l.log.Error("the launch command did not start", "program", program, "error", err)
		l.ended()
		return
	}
	l.log.Info("events wait: the launch command runs", "program", program)
	go func() { // until the command ends, be it after the daemon: it is reaped in any case
		if err := wait(); err != nil {
			l.log.Warn("the launch command failed", "program", program, "error", err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended()
	}()
}

// ended plans the next run. l.mu is held.
func (l *launcher) ended() {
	l.running = false
	if l.stopped {
		return
	}
	cursor, waits := l.waits() // not with an owner there, who may yet fail as the last did: the pauses go on from there
	if cursor > l.cursor {
		l.forget()
	}
	if waits {
		l.pause()
	}
}

// pause runs the command later, if that is called for then. l.mu is held.
func (l *launcher) pause() {
	var t *time.Timer
	t = time.AfterFunc(pauseAfter(max(1, l.runs)), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.again != t { // it was ended just now
			return
		}
		l.again = nil
		if cursor, waits := l.waits(); waits && len(l.launch.Command) > 0 {
			if cursor > l.cursor {
				l.forget()
			}
			l.run(cursor)
		}
	})
	l.again = t
}

// stop lets no more be run. A command that runs goes on.
func (l *launcher) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.forget()
}

// startCommand runs a launch command: no shell, the session's identifier its last argument and in its environment, which is
// the daemon's else; no input, and its output goes nowhere. It has a session of its own (setsid(2)), so that neither a signal
// to the daemon's group nor the daemon's end is its end.
func startCommand(state, identifier string) func(control.Launch) (func() error, error) {
	return func(launch control.Launch) (func() error, error) {
		args := append(launch.Command[1:len(launch.Command):len(launch.Command)], identifier)
		cmd := exec.Command(launch.Command[0], args...)
		cmd.Dir = launch.Directory
		for _, v := range os.Environ() {
			if !strings.HasPrefix(v, "NOTIFY_SOCKET=") { // the daemon's own line to systemd
				cmd.Env = append(cmd.Env, v)
			}
		}
		cmd.Env = append(cmd.Env, "URLSESSION_SESSION="+identifier, "URLSESSION_EVENT=backgroundtransfer",
			control.StateVariable+"="+state)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return cmd.Wait, nil
	}
}

func checkLaunch(l *control.Launch) error {
	switch {
	case len(l.Command) > 0 && l.Command[0] == "":
		return errors.New("the launch command names no program")
	case l.Directory != "" && !filepath.IsAbs(l.Directory):
		return errors.New("the launch command's folder is not absolute")
	case strings.ContainsRune(strings.Join(l.Command, ""), 0) || strings.ContainsRune(l.Directory, 0):
		return errors.New("the launch command has a NUL in it")
	}
	return nil
}
