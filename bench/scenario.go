//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// scenario is a kind of work. docs/benchmarks.md tells what each is for.
type scenario struct {
	name, work string
	size       int64 // bytes a file
	count      int   // files or tasks
	fixedSize  bool  // -size does not change it
	disk       bool  // what it writes is on a disk
	runs       int   // of each pair, or of observe

	// What is measured beside time and memory, in a scenario without peers alone.
	quantities []quantity

	// One with peers:
	bars    []bar
	prepare func(ctx context.Context, l *lab, size int64, count int) (workload, error)

	// One without: observe runs it once, and says each quantity by its name.
	observe func(ctx context.Context, l *lab, size int64, count int) (map[string]float64, error)
}

// bar is what a scenario asks for: a figure of urlsession's is at most limit times the peer's, or, without a peer, at most
// limit (bytes).
type bar struct {
	peer, figure string // figure: "wall", "cpu", "rss"
	limit        float64
}

// workload is a scenario made ready: who does it, and how to see that it was done.
type workload struct {
	ours  contender
	peers []contender
	check func() error // compares what the last contender left with the source
	close func()       // may be nil

	// before and after stand around each run, outside the timing; after adds what the server saw. They may be nil.
	before func(ctx context.Context) error
	after  func(ctx context.Context, u *usage) error
}

// contender does a workload by one command.
type contender struct {
	name    string
	argv    []string
	version []string // the command that prints it

	// Of a peer:
	instead *contender // what it is compared with, where that is not urlsession
	pairs   int        // at most so many; 0: as many as the scenario has
}

var scenarios = []scenario{
	{name: "large", work: "one file over HTTP/1.1, one connection", size: 2 << 30, count: 1, runs: 9, prepare: large((*lab).plain),
		bars: []bar{{"curl", "wall", .80}, {"curl", "cpu", .75}, {"", "rss", 24 << 20}}},
	{name: "large-tls-h1", work: "one file over TLS and HTTP/1.1", size: 2 << 30, count: 1, runs: 5, prepare: large((*lab).tls1),
		bars: []bar{{"curl", "wall", .85}, {"curl", "cpu", .80}}},
	{name: "large-tls-h2", work: "one file over TLS and HTTP/2", size: 2 << 30, count: 1, runs: 5, prepare: large((*lab).tls2),
		bars: []bar{{"curl", "wall", .85}, {"curl", "cpu", .80}}},
	{name: "large-durable", work: "one file in a background session, on disk, durable and verified by SHA-256", size: 2 << 30, count: 1, disk: true, runs: 5, prepare: largeDurable,
		bars: []bar{{curlThenSum, "wall", 1.1}}},
	{name: "small", work: "many small files over HTTP/1.1, 16 at once", size: 16 << 10, count: 10_000, fixedSize: true, runs: 9, prepare: small,
		bars: []bar{{"curl", "wall", 1}, {"wget2", "wall", 1}, {"curl", "cpu", 1.3}, {"wget2", "cpu", 1}}},
	{name: "small-durable", work: "many small files in a background session, on disk, all durable, 16 at once", size: 16 << 10, count: 10_000, fixedSize: true, disk: true, runs: 5, prepare: smallDurable,
		bars: []bar{{"aria2c", "wall", 1}}},
	{name: "capped", work: "one file from a server that gives 30 MB/s a connection, six at most", size: 1 << 30, count: 1, runs: 5, prepare: capped, quantities: cappedQuantities,
		bars: []bar{{"aria2c", "wall", 1.03}}},
	{name: "slow-tail-stalls", work: "the same, where one connection in six sends nothing after 8 MiB", size: 1 << 30, count: 1, runs: 5, prepare: slowTail(wayStalls), quantities: tailQuantities,
		bars: []bar{{evenly, "wall", 1.15}}},
	{name: "slow-tail-crawls", work: "the same, where one connection in six sends 100 KB/s after 8 MiB", size: 1 << 30, count: 1, runs: 5, prepare: slowTail(wayCrawls), quantities: tailQuantities,
		bars: []bar{{evenly, "wall", 1.15}}},
	{name: "no-gain", work: "one file from a server that gives 180 MB/s in all, sixteen connections at most", size: 1 << 30, count: 1, runs: 5, prepare: noGain, quantities: noGainQuantities,
		bars: []bar{{"aria2c", "wall", 1.03}, {"curl", "wall", 1.03}}},
	{name: "queue", work: "background tasks that wait for one host", size: 1 << 10, count: 1_000_000, fixedSize: true, disk: true, runs: 3, observe: queue, quantities: queueQuantities},
	{name: "overhead", work: "data tasks of 1 KiB in one process, 16 at once", size: 1 << 10, count: 100_000, fixedSize: true, runs: 5, prepare: overhead(childServer, childURLSession, childNetHTTP),
		bars: []bar{{"net/http", "cpu", 1.25}}},
	{name: "overhead-storages", work: "the same with cookies and a credential to be sent and a cache to be asked for each", size: 1 << 10, count: 100_000, fixedSize: true, runs: 5, prepare: overhead(childStoring, childStoredURLSession, childStoredNetHTTP),
		bars: []bar{{"net/http", "cpu", 1.35}}},
	{name: "events", work: "slow downloads of a background session, 10 progress events a second each, to 10 listeners", size: 1 << 30, count: 1000, fixedSize: true, runs: 3, observe: events, quantities: eventsQuantities},
	{name: "upload", work: "PUT of one file over HTTP/1.1", size: 2 << 30, count: 1, runs: 5, prepare: upload,
		bars: []bar{{"curl", "cpu", .60}, {"curl", "wall", 1.1}}},
	{name: "upload-resumable", work: "PUT of one file to a server of uploads that resume", size: 2 << 30, count: 1, runs: 5, prepare: uploadResumable, quantities: uploadQuantities,
		bars: []bar{{"curl", "cpu", .60}, {"curl", "wall", 1.1}}},
	{name: "upload-cut", work: "the same, cut at half of the file and gone on with", size: 2 << 30, count: 1, runs: 5, prepare: uploadCut, quantities: uploadQuantities},
	{name: "idle", work: "a daemon whose tasks are all suspended", size: 1 << 10, count: 100_000, fixedSize: true, disk: true, runs: 3, observe: idle, quantities: idleQuantities},
}

// site is one of the servers as the peers see it: its URL, and the flags that each needs for it.
type site struct {
	base              string
	flags, curl, wget []string
	aria              []string // nil: it does not speak this
}

func (l *lab) plain() site {
	return site{base: l.nginx.plain, aria: []string{}}
}

func (l *lab) tls1() site {
	return site{
		base:  l.nginx.tls1,
		flags: []string{"--cacert", l.nginx.ca},
		curl:  []string{"--http1.1", "--cacert", l.nginx.ca},
		wget:  []string{"--no-http2", "--no-ocsp", "--ca-certificate=" + l.nginx.ca},
		aria:  []string{"--ca-certificate=" + l.nginx.ca},
	}
}

func (l *lab) tls2() site {
	return site{
		base:  l.nginx.tls2,
		flags: []string{"--cacert", l.nginx.ca},
		curl:  []string{"--http2", "--cacert", l.nginx.ca},
		wget:  []string{"--http2", "--no-ocsp", "--ca-certificate=" + l.nginx.ca},
	}
}

// Each peer is asked for the least: no progress, no log, no configuration, no preallocation, no robots.txt.
func (l *lab) urlsession(command string, args ...string) contender {
	return contender{name: us, argv: append([]string{l.binary, command, "-q"}, args...), version: []string{l.binary, "version"}}
}

func curl(args ...string) contender {
	return contender{name: "curl", argv: append([]string{"curl", "-q", "-sS", "--fail"}, args...), version: []string{"curl", "--version"}}
}

func wget2(args ...string) contender {
	return contender{name: "wget2", argv: append([]string{"wget2", "-q", "--no-config", "--no-robots", "--no-hsts", "--no-hpkp"}, args...), version: []string{"wget2", "--version"}}
}

func aria2(args ...string) contender {
	return contender{name: "aria2c", argv: append([]string{"aria2c", "-q", "--no-conf", "--file-allocation=none"}, args...), version: []string{"aria2c", "--version"}}
}

func join(parts ...[]string) (all []string) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func large(at func(*lab) site) func(context.Context, *lab, int64, int) (workload, error) {
	return func(_ context.Context, l *lab, size int64, _ int) (workload, error) {
		source, out := l.path("www", "large.bin"), l.path("out", "large.bin")
		if err := randomFile(source, 1, size); err != nil {
			return workload{}, err
		}
		s := at(l)
		url := s.base + "/large.bin"
		w := workload{
			ours: l.urlsession("download", join(s.flags, []string{"-x1", "-o", out, url})...),
			peers: []contender{
				curl(join(s.curl, []string{"-o", out, url})...),
				wget2(join(s.wget, []string{"-O", out, url})...),
			},
			check: func() error { return sameFile(out, source) },
		}
		if s.aria != nil {
			w.peers = append(w.peers, aria2(join(s.aria, []string{"-x1", "-s1", "-d", filepath.Dir(out), "-o", "large.bin", url})...))
		}
		return w, nil
	}
}

func small(_ context.Context, l *lab, size int64, count int) (workload, error) {
	f, err := smallFiles(l, size, count, l.path("out"))
	if err != nil {
		return workload{}, err
	}
	return workload{
		ours: l.urlsession("download", "-i", f.list, "-j", "16", "-o", l.path("out")+"/"),
		peers: []contender{
			curl("--parallel", "--parallel-max", "16", "-K", f.curlrc),
			wget2("--max-threads=16", "-i", f.list, "-P", l.path("out")),
			aria2("-x1", "-s1", "-j16", "-i", f.list, "-d", l.path("out")),
		},
		check: f.check,
	}, nil
}

// files are many on the server, and the lists of them that contenders take.
type files struct {
	list, curlrc string
	check        func() error // compares those in the destination
}

func smallFiles(l *lab, size int64, count int, out string) (files, error) {
	names := make([]string, count)
	var urls, config strings.Builder
	for i := range names {
		names[i] = fmt.Sprintf("%06d.bin", i)
		if err := randomFile(l.path("www", names[i]), uint64(i), size); err != nil {
			return files{}, err
		}
		url := l.nginx.plain + "/" + names[i]
		fmt.Fprintln(&urls, url)
		fmt.Fprintf(&config, "url = %q\noutput = %q\n", url, filepath.Join(out, names[i]))
	}
	f := files{list: l.path("urls.txt"), curlrc: l.path("urls.curlrc")}
	for path, text := range map[string]string{f.list: urls.String(), f.curlrc: config.String()} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return files{}, err
		}
	}
	f.check = func() error {
		for _, name := range names {
			if err := sameFile(filepath.Join(out, name), l.path("www", name)); err != nil {
				return err
			}
		}
		return nil
	}
	return f, nil
}
