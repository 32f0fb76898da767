//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/urlsession/urlsession"
)

// daemon is one of the command's daemons, over a state folder of its own. It dies with the thread that started it.
type daemon struct {
	binary, state string
	env           []string
	log           *os.File
	gently        bool // kill lets it end in good order

	cmd    *exec.Cmd
	exited chan error // one, when it has
}

// daemon starts one of the lab's. Its log is the lab's, with those of others.
func (l *lab) daemon(ctx context.Context, state string) (*daemon, error) {
	log, err := os.OpenFile(l.path(daemonLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	d := &daemon{binary: l.binary, state: state, env: l.env, log: log, gently: l.profiling}
	return d, d.start(ctx)
}

const daemonLog = "daemon.log"

// start starts it, also once more, and returns when it answers.
func (d *daemon) start(ctx context.Context) error {
	if err := d.launch(); err != nil {
		return err
	}
	// Long: a million tasks may have to be read first.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		_, err := d.named().Status(ctx)
		if err == nil {
			return nil
		}
		select {
		case exit := <-d.exited:
			d.cmd = nil
			return fmt.Errorf("the daemon has ended at its start: %w", errors.Join(exit, err))
		case <-ctx.Done():
			d.kill()
			return fmt.Errorf("the daemon does not answer: %w", errors.Join(context.Cause(ctx), err))
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// launch starts the process, and returns at once.
func (d *daemon) launch() error {
	cmd := exec.Command(d.binary, "daemon", "run", "--state", d.state)
	cmd.Env, cmd.Stdout, cmd.Stderr = d.env, d.log, d.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	d.cmd, d.exited = cmd, exited
	return nil
}

// named is the daemon as the API knows it. It is never started by that.
func (d *daemon) named() urlsession.Daemon {
	return urlsession.Daemon{State: d.state, Command: []string{"/bin/false"}}
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// stop ends it in good order.
func (d *daemon) stop() error {
	const most = time.Minute
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-d.exited:
		d.cmd = nil
		if err != nil {
			return fmt.Errorf("the daemon: %w", err)
		}
		return nil
	case <-time.After(most):
		d.gently = false
		d.kill()
		return fmt.Errorf("the daemon had not ended %v after SIGTERM", most)
	}
}

// close is kill, and closes the log.
func (d *daemon) close() {
	d.kill()
	d.log.Close()
}

// kill ends it as a crash would, where it runs.
func (d *daemon) kill() {
	if d.cmd != nil && d.gently {
		d.stop()
	}
	if d.cmd != nil {
		d.cmd.Process.Kill()
		<-d.exited
		d.cmd = nil
	}
}

// session opens a background session of the daemon with so many connections a host; its tasks wait for a silent server
// as long as it likes.
func (d *daemon) session(connections int) (*urlsession.Session, error) {
	c := urlsession.Background("bench")
	c.Daemon = d.named()
	c.MaximumConnectionsPerHost = connections
	c.TimeoutForRequest = -1
	return urlsession.New(c)
}

// enqueue makes count downloads, in batches as large as they may be.
func enqueue(ctx context.Context, s *urlsession.Session, count int, download func(i int) urlsession.Download) (first urlsession.TaskID, err error) {
	const most = 10_000
	for begin := 0; begin < count; begin += most {
		batch := make([]urlsession.Download, min(most, count-begin))
		for i := range batch {
			batch[i] = download(begin + i)
		}
		tasks, err := s.DownloadTasks(ctx, batch)
		if err != nil {
			return 0, err
		}
		if begin == 0 {
			first = tasks[0].Identifier()
		}
	}
	return first, nil
}
