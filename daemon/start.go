package daemon

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// The bounds of Start, where ctx has none that is earlier.
const (
	askFor   = 10 * time.Second // a daemon that runs has so long to answer
	startFor = 25 * time.Second // all of it: apps wait for 30 s
)

// Start starts the daemon of a state folder in the background, and returns once it answers, within 25 s, or an error that says
// why it does not; one that runs is left alone.
// command is the program with its arguments that calls Run, such as {"/usr/bin/urlsession", "daemon", "run"}; its first
// element is a path. The folder reaches it as URLSESSION_STATE.
//
// A daemon must not end with whoever started it, so it is left to the user's systemd where there is one: to the unit that
// Install wrote, else to a transient one. Else it gets a session of its own (setsid) and STATE/daemon.log as its output;
// then it still ends when its starter's control group is ended, as by a service's or a container's stop. how says which of
// these it was, in words for a person.
//
// The calling process stays the parent of a daemon started by setsid, and waits for its end in a goroutine.
func Start(ctx context.Context, state string, command []string) (how string, err error) {
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("start the daemon of %s: %w", state, err)
	}
	if state, err = filepath.Abs(state); err != nil {
		return fail(err)
	}
	if len(command) == 0 || !filepath.IsAbs(command[0]) {
		return fail(fmt.Errorf("the command %q is no absolute path of a program", command))
	}
	ctx, cancel := context.WithTimeout(ctx, startFor)
	defer cancel()
	running, err := answers(ctx, state, askFor)
	switch {
	case running:
		return "it runs already", nil
	case err != nil:
		return fail(err)
	}
	m := userManager()
	how, err = m.start(ctx, state, command)
	if err == nil {
		if err = awaitAnswer(ctx, state, nil); err != nil {
			err = fmt.Errorf("%s, and it does not answer: %w; see journalctl --user -u %s", how, err, unitName(state))
		}
	} else if errors.Is(err, errNoManager) {
		how = "started by setsid: there is no systemd of this user to leave it to, so that it ends with the control group of " +
			"whoever started it (a service, a container, a login where KillUserProcesses=yes)"
		err = detach(ctx, state, command, how)
	}
	if err != nil {
		return fail(err)
	}
	return how, nil
}

// answers asks the daemon for its status. An error is one of which a start would not help.
func answers(ctx context.Context, state string, within time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	// One nanosecond of patience: it is asked once.
	c := control.NewClient(control.ClientOptions{Socket: control.Socket(state), Patience: time.Nanosecond})
	defer c.Close()
	_, err := c.Status(ctx)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, fmt.Errorf("one has its socket and does not answer within %v; end it by its process number, which is in %s",
			within, filepath.Join(state, lockName))
	case errors.Is(err, task.DaemonLost):
		return false, nil
	}
	return false, err
}

// awaitAnswer waits until the daemon answers. exited, unless nil, receives when it has ended instead, with its error.
func awaitAnswer(ctx context.Context, state string, exited <-chan error) error {
	const every = 20 * time.Millisecond
	pause := time.NewTicker(every)
	defer pause.Stop()
	for {
		if running, err := answers(ctx, state, askFor); running || err != nil {
			return err
		}
		select {
		case err := <-exited:
			if !errors.Is(err, ErrRunning) {
				return cmp.Or(err, errors.New("it has ended at once"))
			}
			exited = nil // another one was faster, and answers before long
		case <-pause.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ExitRunning is the exit status by which a command that calls Run is to say ErrRunning, so that Start, which has lost a
// race, waits for the other one.
const ExitRunning = 4

// logName is the output of a daemon that was started by setsid.
const logName = "daemon.log"

// logMost is how long the log may be at a start; a longer one becomes daemon.log.1.
const logMost = 1 << 20

// detach starts the daemon in a session of its own, and waits until it answers.
func detach(ctx context.Context, state string, command []string, how string) error {
	if err := durable.MakeDir(state); err != nil { // durably: Run finds it there
		return fmt.Errorf("make the state folder: %w", err)
	}
	if err := checkFolder(state); err != nil {
		return err
	}
	path := filepath.Join(state, logName)
	if info, err := os.Stat(path); err == nil && info.Size() > logMost {
		_ = os.Rename(path, path+".1") // or it goes on growing
	}
	log, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("open its log: %w", err)
	}
	defer log.Close()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("open its log: %w", err)
	}
	fmt.Fprintf(log, "%s %s\n", time.Now().Format(time.RFC3339), how)

	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), control.StateVariable+"="+state)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/" // it holds no mount
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		if cmd.ProcessState.ExitCode() == ExitRunning {
			err = ErrRunning
		}
		exited <- err
	}()
	if err := awaitAnswer(ctx, state, exited); err != nil {
		if _, another := errors.AsType[*task.Error](err); another { // was faster, and is not to be had
			return err
		}
		if last := lastLine(path, begin); last != "" {
			return fmt.Errorf("it ended: %s", last)
		}
		return fmt.Errorf("%w; see %s", err, path)
	}
	return nil
}

// lastLine is the last line that was written to a log after a position.
func lastLine(path string, begin int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, begin, 64<<10))
	if err != nil {
		return ""
	}
	_, text, _ = bytes.Cut(text, []byte("\n")) // ours
	text = bytes.TrimSpace(text)
	return string(text[bytes.LastIndexByte(text, '\n')+1:])
}
