package urlsession

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/durable"
)

// startDaemonProcess is what a Daemon.Command does: it starts a daemon, which outlives it, and ends once that answers.
func startDaemonProcess() int {
	state := os.Getenv(control.StateVariable)
	exe, err := os.Executable()
	if err == nil {
		cmd := exec.Command(exe, "daemon-run") // its standard streams are /dev/null
		ownSession(cmd)
		err = cmd.Start()
	}
	for until := time.Now().Add(patience); err == nil; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("unix", control.Socket(state)); err == nil {
			conn.Close()
			return 0
		}
		if time.Now().After(until) {
			err = fmt.Errorf("the daemon on %s does not answer", state)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// runDaemonProcess is the daemon. It ends when it is asked to, and after a minute in any case.
func runDaemonProcess() int {
	state := os.Getenv(control.StateVariable)
	if err := os.MkdirAll(state, 0o700); err != nil {
		return 1
	}
	lock, err := os.OpenFile(control.LockFile(state), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil || durable.Lock(lock) != nil {
		return 1
	}
	fmt.Fprintf(lock, "%d\n", os.Getpid())
	_ = os.Remove(control.Socket(state))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d := newFakeDaemon(state)
	d.stop = sync.OnceFunc(func() { time.AfterFunc(50*time.Millisecond, cancel) }) // the answer leaves first
	if err := d.start(); err != nil {
		return 1
	}
	<-ctx.Done()
	d.end()
	return 0
}
