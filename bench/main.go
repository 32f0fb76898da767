//go:build linux

// Command bench runs urlsession and its peers side by side on the same machine, server and files, and records the
// ratios. It prints and records; it judges nothing, and is never a timed test.
//
//	go run ./bench                    every scenario, as docs/benchmarks.md shows it
//	go run ./bench small              one of them (a prefix will do: large-tls)
//	go run ./bench -profile small     in place of its figures, where our CPU goes in it
//	go run ./bench -size 64MiB -count 500 -pairs 2    a quick run: it records nothing unless -o says where
//
// It runs on Linux. It needs nginx, and curl, aria2c and wget2 where they are to be compared; make bench installs them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	// Children die with the thread that started them (Pdeathsig): all are started from this one, which is the process's.
	runtime.LockOSThread()
	if len(os.Args) > 1 {
		if work := children[os.Args[1]]; work != nil {
			exit(work(os.Args[2:]))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	err := bench(ctx, os.Args[1:])
	stop()
	exit(err)
}

// children are what this program does where a scenario starts it once more, by its first argument.
var children = map[string]func(args []string) error{
	childServer:           serve,
	childPaced:            servePaced,
	childReceiving:        serveReceiving,
	childURLSession:       client(bySession),
	childNetHTTP:          client(byNetHTTP),
	childStoring:          serveStoring,
	childStoredURLSession: client(byStoringSession),
	childStoredNetHTTP:    client(byStoringNetHTTP),
	childBackground:       background,
	childListener:         listen,
}

func exit(err error) {
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// options of one run; zero values take the scenario's own.
type options struct {
	pairs int
	size  int64
	count int
	out   string
	disk  string

	profile bool
}

// of is what a scenario is run with.
func (o options) of(s scenario) (size int64, count, runs int) {
	size, count, runs = s.size, s.count, s.runs
	if o.size > 0 && !s.fixedSize {
		size = o.size
	}
	if o.count > 0 && s.count > 1 {
		count = o.count
	}
	if o.pairs > 0 {
		runs = o.pairs
	}
	return size, count, runs
}

func bench(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.pairs, "pairs", 0, "run each pair, or a scenario without peers, `N` times (default: the scenario's)")
	flags.Func("size", "measure a file of `SIZE`, such as 64MiB (default: the scenario's)", func(s string) (err error) {
		o.size, err = parseSize(s)
		return err
	})
	flags.IntVar(&o.count, "count", 0, "measure `N` files or tasks (default: the scenario's)")
	flags.StringVar(&o.out, "o", "", "record into `FOLDER` (default: bench/results and docs, unless a size, count or number of pairs is given)")
	flags.StringVar(&o.disk, "disk", "/var/tmp", "keep what is to be durable below `FOLDER`, on a disk")
	flags.BoolVar(&o.profile, "profile", false, "take a CPU profile of urlsession in a run that is not timed, in place of the figures")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: go run ./bench [flags] [scenario…]\nscenarios:")
		for _, s := range scenarios {
			fmt.Fprintf(flags.Output(), "  %-14s %s\n", s.name, s.work)
		}
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	lab, err := openLab(ctx, root, o.disk, o.profile)
	if err != nil {
		return err
	}
	defer lab.close()

	b := o.book(root)
	if o.profile {
		err = lab.profiles(ctx, chosen, o, b)
	} else {
		err = lab.results(ctx, chosen, o, b)
	}
	switch {
	case err != nil:
		return err
	case b == nil:
		fmt.Println("a quick run: nothing is recorded (-o FOLDER records it there)")
		return nil
	}
	return b.write()
}

// book is where the run is recorded; nil: nowhere, as it is a quick one.
func (o options) book(root string) *book {
	switch quick := o.pairs != 0 || o.size != 0 || o.count != 0; {
	case o.out != "":
		return &book{o.out, filepath.Join(o.out, "benchmarks.md")}
	case quick:
		return nil
	}
	return &book{filepath.Join(root, "bench", "results"), filepath.Join(root, "docs", "benchmarks.md")}
}

// results measures the scenarios, and keeps each as it has ended: one that fails does not cost the others.
func (l *lab) results(ctx context.Context, chosen []scenario, o options, b *book) error {
	var all []*result
	for _, s := range chosen {
		r, err := l.run(ctx, s, o)
		if err == nil && b != nil {
			err = b.keep(s.name, r)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		all = append(all, r)
	}
	fmt.Print("\n", table(all))
	return nil
}

// profiles takes those of the scenarios.
func (l *lab) profiles(ctx context.Context, chosen []scenario, o options, b *book) error {
	var all []*profile
	for _, s := range chosen {
		p, err := l.profile(ctx, s, o)
		if err == nil && b != nil {
			err = b.keep(filepath.Join(profiles, s.name), p)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		all = append(all, p)
	}
	fmt.Print("\n", textOfProfiles(all))
	return nil
}

// choose finds the scenarios that names begin; all where there are none.
func choose(names []string) ([]scenario, error) {
	if len(names) == 0 {
		return scenarios, nil
	}
	var chosen []scenario
	for _, name := range names {
		before := len(chosen)
		for _, s := range scenarios {
			if s.name == name || strings.HasPrefix(s.name, name+"-h") {
				chosen = append(chosen, s)
			}
		}
		if len(chosen) == before {
			return nil, fmt.Errorf("no scenario is named %q; -h lists them", name)
		}
	}
	return chosen, nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if filepath.Base(mod) != "go.mod" {
		return "", errors.New("run this inside the module: it builds ./cmd/urlsession")
	}
	return filepath.Dir(mod), nil
}

// parseSize reads bytes with an optional suffix KiB, MiB or GiB.
func parseSize(s string) (int64, error) {
	digits, unit := s, int64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			digits, unit = rest, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("%q is no size: write bytes, or a number with KiB, MiB or GiB", s)
	}
	return n * unit, nil
}
