//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// lab is where contenders meet: a folder in memory with the server's files and their destination, one on disk for what is
// to be durable, and the server.
type lab struct {
	dir    string // on tmpfs where there is one
	disk   *disk
	binary string // urlsession, built for this run
	self   string // this program
	nginx  *nginx
	env    []string // the same for all: a home of their own, no proxy, no configuration

	profiling bool
}

// openLab makes one, whose binary is built so that profiles can be taken of it where they are to be.
func openLab(ctx context.Context, root, disk string, profiling bool) (l *lab, err error) {
	if err := adoptOrphans(); err != nil {
		return nil, err
	}
	base := os.TempDir()
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		base = "/dev/shm"
	}
	dir, err := os.MkdirTemp(base, "urlsession-bench-")
	if err != nil {
		return nil, err
	}
	l = &lab{dir: dir, binary: filepath.Join(dir, "urlsession"), profiling: profiling}
	defer func(made *lab) {
		if err != nil {
			made.close()
		}
	}(l)
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's worker may be another user
		return nil, err
	}
	for _, sub := range []string{"www", "received", "out", "home", "nginx", profiles} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o777); err != nil {
			return nil, err
		}
	}
	if l.disk, err = openDisk(disk); err != nil {
		return nil, err
	}
	l.env = []string{"HOME=" + l.path("home"), "PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TMPDIR=" + dir}
	if l.self, err = os.Executable(); err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", l.binary, "./cmd/urlsession")
	if profiling {
		build.Args = slices.Insert(build.Args, 2, "-tags=profile")
		l.env = append(l.env, profileVariable+"="+l.path(profiles, "cpu"))
	}
	build.Dir, build.Stderr = root, os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("build ./cmd/urlsession: %w", err)
	}
	l.nginx, err = startNginx(ctx, l.path("nginx"), l.path("www"), l.path("received"))
	return l, err
}

func (l *lab) path(elem ...string) string { return filepath.Join(append([]string{l.dir}, elem...)...) }

func (l *lab) close() {
	if l.nginx != nil {
		l.nginx.stop()
	}
	os.RemoveAll(l.dir)
	if l.disk != nil {
		l.disk.close()
	}
}

// run measures one scenario.
func (l *lab) run(ctx context.Context, s scenario, o options) (*result, error) {
	size, count, runs := o.of(s)
	fmt.Fprintf(os.Stderr, "%s: %s, %s, %d times\n", s.name, s.work, amount(size, count), runs)
	if s.disk {
		if err := l.disk.isOne(); err != nil {
			return nil, err
		}
	}
	defer l.empty("www", "received", "out")
	r := &result{subject: newSubject(s, size, count)}
	if s.observe != nil {
		return r, l.repeat(ctx, s, r, runs)
	}
	return r, l.compare(ctx, s, r, runs)
}

// repeat runs a scenario without peers.
func (l *lab) repeat(ctx context.Context, s scenario, r *result, runs int) error {
	for n := range runs {
		if err := l.renew(s); err != nil {
			return err
		}
		seen, err := s.observe(ctx, l, r.Size, r.Count)
		if err != nil {
			said, _ := os.ReadFile(l.path(daemonLog))
			return fmt.Errorf("%w\nthe daemons' log ends: %s", err, said[max(0, len(said)-2000):])
		}
		r.Runs = append(r.Runs, seen)
		fmt.Fprintf(os.Stderr, "  %d/%d", n+1, runs)
		for _, q := range s.quantities {
			if v, ok := seen[q.name]; ok {
				fmt.Fprintf(os.Stderr, "  %s %s", q.name, q.text(v))
			}
		}
		fmt.Fprintln(os.Stderr)
	}
	return nil
}

// compare runs each peer in turn with urlsession, A B A B …, after each has run once unmeasured, to warm up and to have
// what it left compared with the source.
func (l *lab) compare(ctx context.Context, s scenario, r *result, pairs int) error {
	w, err := s.prepare(ctx, l, r.Size, r.Count)
	if w.close != nil {
		defer w.close()
	}
	if err != nil {
		return err
	}
	peers := slices.DeleteFunc(w.peers, func(c contender) bool {
		_, err := exec.LookPath(c.argv[0])
		if err != nil {
			fmt.Fprintf(os.Stderr, "  %s is not installed: left out\n", c.name)
		}
		return err != nil
	})
	contenders := []contender{w.ours}
	for _, peer := range peers {
		contenders = append(contenders, peer)
		if peer.instead != nil {
			contenders = append(contenders, *peer.instead)
		}
	}
	for _, c := range contenders {
		if _, err := l.once(ctx, s, w, c); err != nil {
			return err
		}
		if err := w.check(); err != nil {
			return fmt.Errorf("what %s left: %w", c.name, err)
		}
		r.Contenders = append(r.Contenders, l.describe(ctx, c))
	}
	for _, peer := range peers {
		first, instead := w.ours, ""
		if peer.instead != nil {
			first, instead = *peer.instead, peer.instead.name
		}
		pairs := pairs
		if peer.pairs > 0 {
			pairs = min(pairs, peer.pairs)
		}
		for n := range pairs {
			ours, err := l.once(ctx, s, w, first)
			if err != nil {
				return err
			}
			theirs, err := l.once(ctx, s, w, peer)
			if err != nil {
				return err
			}
			r.Pairs = append(r.Pairs, pair{Peer: peer.name, Instead: instead, Ours: ours, Theirs: theirs})
			fmt.Fprintf(os.Stderr, "  %d/%d %-8s wall %.2f : %.2f s  cpu %.2f : %.2f s  rss %.0f : %.0f MiB\n", n+1, pairs, peer.name,
				ours.Wall, theirs.Wall, ours.CPU, theirs.CPU, mib(ours.RSS), mib(theirs.RSS))
		}
	}
	return nil
}

// once runs one contender from an empty destination.
func (l *lab) once(ctx context.Context, s scenario, w workload, c contender) (usage, error) {
	if err := l.renew(s); err != nil {
		return usage{}, err
	}
	if w.before != nil {
		if err := w.before(ctx); err != nil {
			return usage{}, err
		}
	}
	u, err := measure(ctx, c.argv, l.env, l.path("stderr"))
	if err == nil && w.after != nil {
		err = w.after(ctx, &u)
	}
	return u, err
}

// renew makes what a run writes into empty.
func (l *lab) renew(s scenario) error {
	if err := l.empty("received", "out"); err != nil || !s.disk {
		return err
	}
	return l.disk.renew()
}

func (l *lab) empty(folders ...string) error {
	for _, folder := range folders {
		entries, err := os.ReadDir(l.path(folder))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := os.RemoveAll(l.path(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

var (
	loopback      = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	versionNumber = regexp.MustCompile(` \d[\w.]*`)
)

// describe is what the record says of a contender: its version and its command, without this run's paths.
func (l *lab) describe(ctx context.Context, c contender) described {
	short := strings.NewReplacer(l.binary, "urlsession", l.self, "bench", l.dir+"/", "", l.disk.dir+"/", "")
	d := described{Name: c.name, Command: loopback.ReplaceAllString(short.Replace(strings.Join(c.argv, " ")), "server")}
	if c.version != nil {
		out, _ := exec.CommandContext(ctx, c.version[0], c.version[1:]...).Output()
		line, _, _ := strings.Cut(string(out), "\n")
		if m := versionNumber.FindStringIndex(line); m != nil {
			line = line[:m[1]] // curl goes on with its libraries
		}
		d.Version = strings.TrimSpace(line)
	}
	return d
}

// randomFile writes size bytes that no coding makes smaller, the same for the same seed.
func randomFile(path string, seed uint64, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(rand.NewChaCha8(key), size), make([]byte, max(1, min(size, 256<<10))))
	return errors.Join(err, f.Close())
}

// sameFile compares two files.
func sameFile(got, want string) error {
	a, err := os.Open(got)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(want)
	if err != nil {
		return err
	}
	defer b.Close()
	const size = 256 << 10
	for buf, offset := make([]byte, 2*size), int64(0); ; {
		n, errA := io.ReadFull(a, buf[:size])
		m, errB := io.ReadFull(b, buf[size:])
		if n != m || string(buf[:n]) != string(buf[size:size+m]) {
			return fmt.Errorf("%s differs from its source after byte %d", filepath.Base(got), offset)
		}
		offset += int64(n)
		if errA != nil || errB != nil {
			return nil // both ended here: they are of one length
		}
	}
}

// waitFor asks ready until it is, for some seconds.
func waitFor(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for !ready() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
