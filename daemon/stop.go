package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// ErrNotRunning says that no daemon runs on the state folder.
var ErrNotRunning = errors.New("no daemon runs on it")

// Stop has the daemon of a state folder stop, and returns once it has: its tasks have recorded what they hold, and its lock
// is free. Where none runs it is ErrNotRunning. It takes 20 s at most.
func Stop(ctx context.Context, state string) error {
	fail := func(err error) error {
		return &task.Error{Op: "stop the daemon of", URL: state, Code: task.DaemonLost, Err: err}
	}
	state, err := filepath.Abs(state)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*askFor, errors.New("it was asked to, and still runs"))
	defer cancel()
	running, err := answers(ctx, state, askFor)
	switch {
	case err != nil:
		return fail(err)
	case !running:
		return fail(ErrNotRunning)
	}
	c := control.NewClient(control.ClientOptions{Socket: control.Socket(state), Patience: time.Nanosecond})
	defer c.Close()
	if err := c.Stop(ctx); err != nil {
		return fail(err)
	}
	for {
		free, err := unlocked(filepath.Join(state, lockName))
		if free || err != nil {
			return err
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return fail(context.Cause(ctx))
		}
	}
}

// unlocked says whether nobody holds a lock. It takes it for a moment: who comes then finds the holder's mark that it stops,
// and waits.
func unlocked(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the daemon's lock: %w", err)
	}
	defer f.Close()
	switch err := durable.Lock(f); {
	case errors.Is(err, durable.ErrLocked):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at the daemon's lock: %w", err)
	}
	return true, nil
}
