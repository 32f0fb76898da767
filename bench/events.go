//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urlsession/urlsession"
)

var eventsQuantities = []quantity{
	{name: "the daemon's CPU", unit: "cores", limit: .3},
	{name: "the same without listeners", unit: "cores"},
	{name: "worst lag of a listener", unit: "s", limit: 1},
	{name: "progress events to each listener", unit: "/s"},
	{name: "the listeners' CPU, together", unit: "cores"},
}

const (
	childListener = "listener"
	listeners     = 10
	listenFor     = 20 * time.Second
	// A piece of a body each 90 ms makes a progress event each 100 ms, which is as many as there may be.
	pieceSize  = 256
	pieceEvery = 90 * time.Millisecond
)

// events measures a daemon that tells many of many tasks. Its files and state are in memory: the disk is not what is
// measured here.
func events(ctx context.Context, l *lab, size int64, count int) (saw map[string]float64, err error) {
	o, err := serveOrigin(trickling(size, pieceSize, pieceEvery))
	if err != nil {
		return nil, err
	}
	defer o.close()
	d, err := l.daemon(ctx, l.path("out", "state"))
	if d != nil {
		defer d.close()
	}
	if err != nil {
		return nil, err
	}
	s, err := d.session(count)
	if err != nil {
		return nil, err
	}
	_, err = enqueue(ctx, s, count, func(i int) urlsession.Download {
		name := fmt.Sprintf("%06d.bin", i)
		return urlsession.Download{Request: urlsession.Get(o.url + "/" + name), Destination: filepath.Join(l.path("out"), name)}
	})
	if err != nil {
		return nil, err
	}
	if err := o.busy(ctx, count); err != nil {
		return nil, err
	}
	if err := sleep(ctx, 3*time.Second); err != nil { // all of them start at once: let that be over
		return nil, err
	}
	saw = make(map[string]float64)
	if saw["the same without listeners"], err = share(ctx, d.pid(), listenFor/2); err != nil {
		return nil, err
	}

	var audience []*listener
	defer func() {
		for _, a := range audience {
			a.close()
		}
	}()
	for range listeners {
		a, err := l.listener(ctx, d)
		if err != nil {
			return nil, err
		}
		audience = append(audience, a)
	}
	for _, a := range audience {
		if err := a.begin(); err != nil {
			return nil, err
		}
	}
	if saw["the daemon's CPU"], err = share(ctx, d.pid(), listenFor); err != nil {
		return nil, err
	}
	least := -1.
	for _, a := range audience {
		heard, err := a.end()
		if err != nil {
			return nil, err
		}
		saw["worst lag of a listener"] = max(saw["worst lag of a listener"], heard.Lag)
		saw["the listeners' CPU, together"] += heard.CPU / heard.Seconds
		if rate := float64(heard.Events) / heard.Seconds; least < 0 || rate < least {
			least = rate
		}
	}
	saw["progress events to each listener"] = least
	return saw, nil
}

// share is how much of a core a process takes over a time.
func share(ctx context.Context, pid int, during time.Duration) (float64, error) {
	before, err := cpu(pid)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := sleep(ctx, during); err != nil {
		return 0, err
	}
	after, err := cpu(pid)
	return (after - before) / time.Since(begin).Seconds(), err
}

// listener is a child that observes a session. It hears and counts from begin to end.
type listener struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

type heard struct {
	Events  int     // progress
	Lag     float64 // seconds: the most by which the newest that it knew of any task was old
	Seconds float64
	CPU     float64
}

// listener starts one, and returns when it has caught up with what was before.
func (l *lab) listener(ctx context.Context, d *daemon) (*listener, error) {
	cmd := exec.CommandContext(ctx, l.self, childListener, d.state)
	cmd.Env, cmd.Stderr = l.env, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	a := &listener{cmd, in, bufio.NewReader(out)}
	// One that never catches up is killed, which ends the reading.
	late := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer late.Stop()
	if _, err := a.out.ReadString('\n'); err != nil {
		a.close()
		return nil, fmt.Errorf("a listener has ended before it had caught up: %w", err)
	}
	return a, nil
}

func (a *listener) begin() error {
	_, err := io.WriteString(a.in, "\n")
	return err
}

func (a *listener) end() (h heard, err error) {
	a.in.Close()
	late := time.AfterFunc(time.Minute, func() { a.cmd.Process.Kill() })
	defer late.Stop()
	if err := json.NewDecoder(a.out).Decode(&h); err != nil {
		return h, fmt.Errorf("a listener has ended before it told what it heard: %w", err)
	}
	return h, nil
}

func (a *listener) close() {
	a.in.Close()
	a.cmd.Process.Kill()
	a.cmd.Wait()
}

// listen is the child. It prints a line when it has caught up, counts from the line that it is given until standard input
// ends, and prints what it heard.
func listen(args []string) error {
	if len(args) != 1 {
		return errors.New("this is started by the scenario events alone")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d := daemon{state: args[0]}
	s, err := d.named().Session(ctx, "bench")
	if err != nil {
		return err
	}
	var counting atomic.Bool
	var begin time.Time
	var cpuBefore float64
	go func() {
		defer cancel()
		in := bufio.NewReader(os.Stdin)
		if _, err := in.ReadString('\n'); err != nil {
			return
		}
		begin, cpuBefore = time.Now(), ownCPU()
		counting.Store(true)
		io.Copy(io.Discard, in)
	}()
	var h heard
	var newest time.Time
	behind := func() { h.Lag = max(h.Lag, time.Since(newest).Seconds()) }
	for ev, err := range s.Observe(ctx, nil) {
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		switch ev.(type) {
		case urlsession.EventsCompleted:
			fmt.Println("caught up")
		case urlsession.DownloadProgress:
			if counting.Load() && !newest.IsZero() {
				h.Events++
				behind()
			}
			if ev.Time().After(newest) {
				newest = ev.Time()
			}
		}
	}
	if !counting.Load() {
		return errors.New("the listener was ended before it was to listen")
	}
	behind()
	h.Seconds, h.CPU = time.Since(begin).Seconds(), ownCPU()-cpuBefore
	return json.NewEncoder(os.Stdout).Encode(h)
}

// ownCPU is the user and system time of this process, in seconds.
func ownCPU() float64 {
	var took syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &took); err != nil {
		return 0
	}
	return time.Duration(took.Utime.Nano() + took.Stime.Nano()).Seconds()
}
