// Package background tests background sessions from outside: the daemon is a process, which is killed, starved of disk and
// asked by strangers; the apps are sessions of this process, or where they are killed too, processes of their own.
//
// go test -race ./background runs all of it, with 20 kills of the torture. A longer one, by the seed that a failure printed:
//
//	go test -race ./background -run '^TestTorture$' -v -torture.kills 300 -torture.tasks 500 -torture.seed 42
package background

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long anything may take before a test fails: a bound for hangs, not a measure.
const patience = 60 * time.Second

// binary is the command, built once and without the race detector: it is what users run.
var binary string

// withRace runs the daemon in this test's own binary, and so under the race detector where the test is. It is slower.
var withRace = flag.Bool("daemon.race", false, "run the daemon in the test's binary, under its race detector, in place of the command")

// roleVariable has this binary be something else than a test.
const roleVariable = "URLSESSION_TEST_ROLE"

var roles = map[string]func() error{
	"app":    app,
	"daemon": daemonRole,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := roles[role](); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(func() int {
		if *withRace {
			return run(m)
		}
		dir, err := os.MkdirTemp("", "urlsession-binary-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "urlsession")
		build := exec.Command("go", "build", "-o", binary, "./cmd/urlsession")
		build.Dir = "../.."
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the command: %v\n%s", err, out)
			return 1
		}
		return run(m)
	}())
}

// run runs the tests, after which no goroutine of a session is left.
func run(m *testing.M) int {
	status := m.Run()
	if err := goleak.Find(); status == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}
