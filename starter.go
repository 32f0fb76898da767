package urlsession

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/control"
)

// startFor is how long Daemon.Command may take.
const startFor = 30 * time.Second

// starter runs Daemon.Command for all callers of one client, once at a time.
type starter struct {
	command []string // empty: the default
	state   string   // absolute

	mu  sync.Mutex
	now *starting // nil: none is under way
}

type starting struct {
	done chan struct{}
	err  error
}

// start has the daemon started, and waits until Daemon.Command has ended, or ctx. What is being started is not broken off
// by the ctx of one who waits: its process is waited for by a goroutine, for startFor at most.
func (s *starter) start(ctx context.Context) error {
	s.mu.Lock()
	run := s.now
	if run == nil {
		run = &starting{done: make(chan struct{})}
		s.now = run
		go func() {
			run.err = s.run()
			s.mu.Lock()
			s.now = nil
			s.mu.Unlock()
			close(run.done)
		}()
	}
	s.mu.Unlock()
	select {
	case <-run.done:
		return run.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *starter) run() error {
	command, remedy := s.command, "correct Configuration.Daemon.Command, which names it"
	if len(command) == 0 {
		command = []string{"urlsession", "daemon", "start"}
		remedy = "install the program urlsession where PATH finds it, or name in Configuration.Daemon.Command what starts the daemon"
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return fmt.Errorf("%w; %s", err, remedy)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startFor)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, command[1:]...)
	cmd.Env = append(os.Environ(), control.StateVariable+"="+s.state)
	ownSession(cmd)
	// What it says goes to a file, not a pipe: a daemon that keeps its standard error must neither hold us up nor die of
	// writing to it when we are gone.
	said, err := os.CreateTemp("", "urlsession-start-")
	if err == nil {
		defer said.Close()
		os.Remove(said.Name())
		cmd.Stderr = said
	}
	err = cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("it did not end within %v, and was killed", startFor)
	}
	if err == nil {
		return nil
	}
	if words := lastWords(said); words != "" {
		err = fmt.Errorf("%w: %s", err, words)
	}
	return fmt.Errorf("%s: %w", program, err)
}

// lastWords are the end of what a file holds, on one line.
func lastWords(f *os.File) string {
	const most = 2 << 10
	if f == nil {
		return ""
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	b := make([]byte, min(end, most))
	if n, err := f.ReadAt(b, end-int64(len(b))); err != nil && !errors.Is(err, io.EOF) {
		b = b[:n]
	}
	return strings.Join(strings.FieldsFunc(string(b), func(r rune) bool { return r < ' ' }), "; ")
}
