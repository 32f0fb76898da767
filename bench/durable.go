//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// Contenders whose files are durable when they end, on disk. urlsession's is a child of this program that runs a daemon
// for one command: see background.

const (
	childBackground = "background"
	curlThenSum     = "curl; sha256sum; sync"
)

// background is a contender that starts a daemon, runs one urlsession command that hands its transfers to it, and stops
// the daemon: all of it counts.
func (l *lab) background(command string, args ...string) contender {
	c := l.urlsession(command, append([]string{"--session", "bench", "--state", l.disk.path("state")}, args...)...)
	c.argv = append([]string{l.self, childBackground, l.disk.path("state")}, c.argv...)
	return c
}

// background is the child. Its arguments are the state folder, and the command with its program.
func background(args []string) (err error) {
	if len(args) < 2 {
		return errors.New("this is started by the durable scenarios alone")
	}
	d := &daemon{binary: args[1], state: args[0], env: os.Environ(), log: os.Stderr}
	if err := d.start(context.Background()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	command := exec.Command(args[1], args[2:]...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w", args[2], err)
	}
	return nil
}

func smallDurable(_ context.Context, l *lab, size int64, count int) (workload, error) {
	out := l.disk.path("out")
	f, err := smallFiles(l, size, count, out)
	if err != nil {
		return workload{}, err
	}
	return workload{
		ours:  l.background("download", "-i", f.list, "-j", "16", "-o", out+"/"),
		peers: []contender{aria2("-x1", "-s1", "-j16", "-i", f.list, "-d", out)},
		check: f.check,
	}, nil
}

func largeDurable(_ context.Context, l *lab, size int64, _ int) (workload, error) {
	source, out := l.path("www", "large.bin"), l.disk.path("out", "large.bin")
	if err := randomFile(source, 1, size); err != nil {
		return workload{}, err
	}
	sum, err := sha256Of(source)
	if err != nil {
		return workload{}, err
	}
	url := l.nginx.plain + "/large.bin"
	// sync with a file is fsync(2) of it: what others have still to write does not count.
	peer := fmt.Sprintf("%s && echo '%s  %s' | sha256sum -c --quiet && sync %[3]s %s", "curl -q -sS --fail -o "+out+" "+url, sum, out, l.disk.path("out"))
	return workload{
		ours:  l.background("download", "--checksum", "sha-256="+sum, "-o", out, url),
		peers: []contender{{name: curlThenSum, argv: []string{"sh", "-c", peer}, version: []string{"curl", "--version"}}},
		check: func() error { return sameFile(out, source) },
	}, nil
}

func sha256Of(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, 256<<10))
	return hex.EncodeToString(h.Sum(nil)), err
}
