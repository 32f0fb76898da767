package test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// until PATTERN ARGS... runs urlsession again and again, until it succeeds and what it prints matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN ARGS...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var out []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		cmd := exec.Command(binary, args[1:]...)
		cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		out, err = cmd.CombinedOutput()
		timer.Stop()
		if err == nil && pattern.Match(out) {
			return
		}
	}
	ts.Fatalf("urlsession %q never printed %s; its last: %v\n%s", args[1:], pattern, err, head(string(out)))
}

// pid VAR [STATE] sets $VAR to the process number of the daemon of a state folder.
func pid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: pid VAR [STATE]")
	}
	n := daemonPID(stateFolder(ts, args[1:]))
	if n == 0 {
		ts.Fatalf("no daemon runs")
	}
	ts.Setenv(args[0], strconv.Itoa(n))
}

// killDaemon is killdaemon [STATE]: kill -9 of the daemon of a state folder. It returns when the daemon is gone.
func killDaemon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: killdaemon [STATE]")
	}
	state := stateFolder(ts, args)
	n := daemonPID(state)
	if n == 0 {
		ts.Fatalf("no daemon runs")
	}
	ts.Check(endDaemon(state, n))
}

func stateFolder(ts *testscript.TestScript, args []string) string {
	if len(args) > 0 {
		return ts.MkAbs(args[0])
	}
	return ts.Getenv("URLSESSION_STATE")
}

// daemonPID is the process number of the daemon that has locked a state folder; 0: there is none. A process that is not
// the binary under test is not ours to end.
func daemonPID(state string) int {
	text, err := os.ReadFile(filepath.Join(state, "daemon.lock"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	n, err := strconv.Atoi(first)
	if err != nil {
		return 0
	}
	if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", n)); err != nil || program != binary {
		return 0
	}
	return n
}

// endDaemon kills a daemon and waits until its lock is free: it may stay a zombie, since it is no child of ours.
func endDaemon(state string, n int) error {
	if err := syscall.Kill(n, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	f, err := os.Open(filepath.Join(state, "daemon.lock"))
	if err != nil {
		return err
	}
	defer f.Close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return nil
		}
	}
	return fmt.Errorf("the daemon %d still runs %v after it was killed", n, patience)
}

// endDaemons kills the daemons of all state folders below a folder, so that none outlives its script.
func endDaemons(folder string) {
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "daemon.lock" {
			state := filepath.Dir(path)
			if n := daemonPID(state); n != 0 {
				_ = endDaemon(state, n)
			}
		}
		return nil // what cannot be read holds none of ours
	})
}
