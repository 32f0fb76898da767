// Package power cuts the power under the real urlsession binary, its store and its daemon, at any operation on the disk
// (package powerfs), and looks at what is left: what was promised, and nothing that is wrong.
//
// Each cut has a seed, which a failure names: go test -run TEST -power.seed=N -power.cuts=1 repeats its choices, though
// not the order in which goroutines come to the disk.
package power

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/urlsession/urlsession/test/powerfs"
)

var (
	cuts  = flag.Int("power.cuts", 40, "how often each test cuts the power")
	first = flag.Uint64("power.seed", 1, "the first seed")
)

// patience bounds each wait of a test.
const patience = time.Minute

// binary is the urlsession that this run has built; nothing else is ever run.
var binary string

// childEnv names what this test binary does in place of tests, in a process that a test starts in order to lose it.
const childEnv = "POWER_TEST_CHILD"

var children = map[string]func(ctx context.Context, dir string) error{
	"daemon": childDaemon,
	"store":  childStore,
}

func TestMain(m *testing.M) {
	flag.Parse()
	if name := os.Getenv(childEnv); name != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience) // its parent ends it before
		defer cancel()
		if err := children[name](ctx, os.Getenv(childEnv+"_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := powerfs.Guard(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(func() int {
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
		return m.Run()
	}())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// needMounts skips a test where nothing can be mounted.
func needMounts(t *testing.T) {
	t.Helper()
	m, err := powerfs.New(powerfs.Ordered, 0).Mount(t.TempDir())
	if errors.Is(err, powerfs.ErrUnavailable) {
		t.Skip(err)
	}
	must(t, err)
	must(t, m.Unmount())
}
