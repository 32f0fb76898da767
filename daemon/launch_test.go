package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// launching is a configuration whose launch command writes what it was given to a new file in a folder.
func launching(t *testing.T) (dir string, change func(*control.Configuration)) {
	t.Helper()
	dir = t.TempDir()
	program := filepath.Join(t.TempDir(), "app")
	script := `#!/bin/sh
out=$(mktemp "$PWD/tmp.XXXXXX") || exit 1
printf '%s|' "$@" "$URLSESSION_SESSION" "$URLSESSION_EVENT" "$URLSESSION_STATE" "$PWD" "$NOTIFY_SOCKET" "$(cat)" >"$out"
mv "$out" "$PWD/ran.$$"
`
	must(t, os.WriteFile(program, []byte(script), 0o700))
	return dir, func(c *control.Configuration) {
		c.Launch = control.Launch{Command: []string{program, "an argument; echo"}, Directory: dir}
	}
}

func runs(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "ran.*"))
	must(t, err)
	return names
}

func TestLaunchCommand(t *testing.T) {
	srv := origin(t)
	srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	state := t.TempDir()
	d := start(t, state)
	dir, launch := launching(t)
	c := dial(t, state, "s p", launch)
	succeed(t, c, create(t, c, data(srv.URL+"/d")))
	until(t, "the launch command", func() bool { return len(runs(t, dir)) == 1 })
	got, err := os.ReadFile(runs(t, dir)[0])
	must(t, err)
	if want := strings.Join([]string{"an argument; echo", "s p", "s p", "backgroundtransfer", state, dir, "", "", ""}, "|"); string(got) != want {
		t.Errorf("it was given %q, want %q", got, want)
	}
	acknowledgeAll(t, c)
	ran := len(runs(t, dir)) // it may have run once more by now
	d.stop()
	d = start(t, state) // nothing waits
	if n := len(runs(t, dir)); n != ran {
		t.Errorf("with nothing to tell it ran %d times", n-ran)
	}
	for range c.Events(within(t), task.EventQuery{Own: true}) { // the owner is there when the task ends
		succeed(t, c, create(t, c, data(srv.URL+"/d")))
		break
	}
	if n := len(runs(t, dir)); n != ran {
		t.Errorf("with an owner it ran %d times", n-ran)
	}
	d.stop()
	start(t, state) // events wait since before
	until(t, "the launch command after a restart", func() bool { return len(runs(t, dir)) > ran })
	acknowledgeAll(t, c)
}

// wakeups is a launcher whose commands are only counted.
type wakeups struct {
	*launcher
	mu             sync.Mutex
	starts         []time.Duration // since the beginning
	acknowledged   uint64
	last           uint64
	takes          time.Duration // how long a command runs
	fails, refuses bool
}

func newWakeups() *wakeups {
	begin := time.Now()
	w := &wakeups{last: 3}
	w.launcher = &launcher{log: slog.New(slog.DiscardHandler), launch: control.Launch{Command: []string{"app"}}}
	w.launcher.waits = func() (uint64, bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.acknowledged, w.acknowledged < w.last
	}
	w.launcher.start = func(control.Launch) (func() error, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.starts = append(w.starts, time.Since(begin))
		if w.refuses {
			return nil, errors.New("no such program")
		}
		return func() error {
			time.Sleep(w.takes)
			if w.fails {
				return errors.New("exit status 1")
			}
			return nil
		}, nil
	}
	w.begin()
	return w
}

func (w *wakeups) seen() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var s []string
	for _, d := range w.starts {
		s = append(s, d.String())
	}
	w.starts = nil
	return strings.Join(s, " ")
}

func (w *wakeups) acknowledge(n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acknowledged = n
}

func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWakeups()
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := w.seen(); got != want {
				t.Errorf("it ran at %s, want %s", got, want)
			}
		}
		w.wake()
		w.wake() // while it runs, or pauses
		time.Sleep(10 * time.Second)
		w.wake()
		expect("0s 1s 3s 7s")
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		w.mu.Lock()
		n := len(w.starts)
		if pause := w.starts[n-1] - w.starts[n-2]; pause != time.Hour {
			t.Errorf("the pauses grow to %v, want an hour", pause)
		}
		w.starts = nil
		w.last, w.acknowledged = 5, 3
		w.mu.Unlock()
		at := time.Now()
		w.wake() // the cursor has moved, and more waits
		time.Sleep(2 * time.Second)
		synctest.Wait()
		w.mu.Lock()
		if len(w.starts) != 2 || time.Since(at) != 2*time.Second {
			t.Errorf("after the cursor moved it ran %d times in 2 s, want 2", len(w.starts))
		}
		w.starts = nil
		w.mu.Unlock()
		w.acknowledge(5)
		time.Sleep(24 * time.Hour)
		expect("")
		w.stop()
	})
}

func TestOneCommandAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWakeups()
		w.takes, w.fails = time.Minute, true
		w.wake()
		time.Sleep(30 * time.Second)
		w.wake()
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if got := w.seen(); got != "0s 1m1s 2m3s" {
			t.Errorf("it ran at %s", got)
		}
		w.stop()
		time.Sleep(time.Hour)
		if got := w.seen(); got != "" {
			t.Errorf("after the stop it ran at %s", got)
		}
	})
}

func TestCommandThatDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWakeups()
		w.refuses = true
		w.wake()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if got := w.seen(); got != "0s 1s 3s" {
			t.Errorf("it was tried at %s", got)
		}
		w.owned()
		time.Sleep(time.Hour)
		if got := w.seen(); got != "" {
			t.Errorf("with an owner it was tried at %s", got)
		}
		w.stop()
	})
}

// An app that comes as the owner and ends without an acknowledgement, each time, is not run without pauses.
func TestBackOffOfAnOwnerWhoFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWakeups()
		start := w.launcher.start
		w.launcher.start = func(l control.Launch) (func() error, error) {
			wait, err := start(l)
			go func() { // the app, which the command has left behind
				time.Sleep(100 * time.Millisecond)
				w.owned()
				w.wake() // it has gone before it was told all
			}()
			return wait, err
		}
		w.wake()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := w.seen(); got != "0s 1.1s 3.2s 7.3s" {
			t.Errorf("it ran at %s", got)
		}
		w.stop()
	})
}

// Nor is one that is still there as the owner when the command, which has started it, ends.
func TestBackOffOfAnOwnerWhoOutlivesTheCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWakeups()
		var there atomic.Bool
		waits, start := w.launcher.waits, w.launcher.start
		w.launcher.waits = func() (uint64, bool) {
			cursor, some := waits()
			return cursor, some && !there.Load()
		}
		w.launcher.start = func(l control.Launch) (func() error, error) {
			there.Store(true)
			w.launcher.endPause()
			go func() {
				time.Sleep(100 * time.Millisecond)
				there.Store(false)
				w.wake()
			}()
			return start(l)
		}
		w.wake()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := w.seen(); got != "0s 1.1s 3.2s 7.3s" {
			t.Errorf("it ran at %s", got)
		}
		w.stop()
	})
}

func TestWakeBeforeTheSession(t *testing.T) {
	w := &wakeups{}
	ran := 0
	w.launcher = &launcher{log: slog.New(slog.DiscardHandler), launch: control.Launch{Command: []string{"app"}},
		waits: func() (uint64, bool) { return 0, ran == 0 },
		start: func(control.Launch) (func() error, error) { ran++; return nil, fmt.Errorf("none") }}
	w.wake()
	if ran != 0 {
		t.Error("it ran before its session stood")
	}
	w.begin()
	if ran != 1 {
		t.Errorf("it ran %d times", ran)
	}
	w.stop()
}

// TestLaunchCommandHasNoLineToSystemd: what it said there would be taken for the daemon's.
func TestLaunchCommandHasNoLineToSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/notify")
	dir := t.TempDir()
	wait, err := startCommand(dir, "s")(control.Launch{Command: []string{"/bin/sh", "-c", "env >environment", "sh"}, Directory: dir})
	must(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := wait(); err != nil {
			t.Error(err)
		}
	}()
	waitFor(t, "the command", ended)
	env, err := os.ReadFile(filepath.Join(dir, "environment"))
	if err != nil || !strings.Contains(string(env), "URLSESSION_SESSION=s\n") || strings.Contains(string(env), "NOTIFY_SOCKET") {
		t.Errorf("%v: %s", err, env)
	}
}
