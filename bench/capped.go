//go:build linux

package main

import (
	"context"
	"path/filepath"
	"strconv"
)

// The scenarios of one file over several connections, each of which is slow: childPaced is their server.

const cappedConnections = 6

var (
	shareOfSix = quantity{name: "rate, to that of six connections", unit: "×", limit: .95, atLeast: true}
	sentOver   = quantity{name: "bytes sent, to the file's", unit: "×"}
	mostAtOnce = quantity{name: "responses at once, at most", unit: ""}
	lastAtOnce = quantity{name: "connections in the last second", unit: ""}

	cappedQuantities = []quantity{shareOfSix, sentOver, mostAtOnce}
	tailQuantities   = []quantity{sentOver, mostAtOnce}
	noGainQuantities = []quantity{{name: lastAtOnce.name, limit: 4}, mostAtOnce, sentOver}
)

// Names of what a run is compared with where that is no other program.
const (
	evenly     = "itself, without it"
	ariaEvenly = "aria2c: itself, without it"
)

// pacedFile makes the file and its server, and a workload that lacks who gets it into out.
func (l *lab) pacedFile(size int64) (w workload, server *pacedServer, out string, err error) {
	source := l.path("www", "large.bin")
	out = l.path("out", "large.bin")
	if err := randomFile(source, 1, size); err != nil {
		return w, nil, "", err
	}
	if server, err = l.paced(source); err != nil {
		return w, nil, "", err
	}
	w.close = server.stop
	w.check = func() error { return sameFile(out, source) }
	w.before = func(ctx context.Context) error {
		_, err := server.take(ctx)
		return err
	}
	w.after = func(ctx context.Context, u *usage) error {
		now, err := server.take(ctx)
		if err != nil {
			return err
		}
		u.Fresh = now.Fresh
		u.Saw = map[string]float64{
			sentOver.name:   float64(now.Bytes) / float64(size),
			mostAtOnce.name: float64(now.Most),
			lastAtOnce.name: now.atLast(),
		}
		if share, ok := now.share(cappedConnections * pacedRate); ok {
			u.Saw[shareOfSix.name] = share
		}
		return nil
	}
	return w, server, out, nil
}

// segmented is urlsession with so many connections at most.
func (l *lab) segmented(most int, url, out string) contender {
	return l.urlsession("download", "-x", strconv.Itoa(most), "-o", out, url)
}

// ariaSegmented is aria2 at its best for that: pieces as small as it allows, so that a connection that is done takes over from
// others until the end.
func ariaSegmented(most int, url, out string) contender {
	n := strconv.Itoa(most)
	return aria2("-x"+n, "-s"+n, "-k1M", "-d", filepath.Dir(out), "-o", filepath.Base(out), url)
}

func capped(_ context.Context, l *lab, size int64, _ int) (workload, error) {
	w, server, out, err := l.pacedFile(size)
	if err != nil {
		return w, err
	}
	url := server.url + "/" + wayEven + "/large.bin"
	single := curl("-o", out, url)
	single.pairs = 1 // it takes six times as long, to the second
	w.ours = l.segmented(cappedConnections, url, out)
	w.peers = []contender{ariaSegmented(cappedConnections, url, out), single}
	return w, nil
}

// slowTail compares urlsession with itself where one connection in six is slow in that way, and beside it aria2 with itself.
func slowTail(way string) func(context.Context, *lab, int64, int) (workload, error) {
	return func(_ context.Context, l *lab, size int64, _ int) (workload, error) {
		w, server, out, err := l.pacedFile(size)
		if err != nil {
			return w, err
		}
		slow, even := server.url+"/"+way+"/large.bin", server.url+"/"+wayEven+"/large.bin"
		w.ours = l.segmented(cappedConnections, slow, out)
		same := l.segmented(cappedConnections, even, out)
		same.name = evenly
		aria, ariaSlow := ariaSegmented(cappedConnections, even, out), ariaSegmented(cappedConnections, slow, out)
		aria.name, aria.instead, aria.pairs = ariaEvenly, &ariaSlow, 2 // it waits for a minute
		w.peers = []contender{same, aria}
		return w, nil
	}
}

func noGain(_ context.Context, l *lab, size int64, _ int) (workload, error) {
	w, server, out, err := l.pacedFile(size)
	if err != nil {
		return w, err
	}
	url := server.url + "/" + wayShared + "/large.bin"
	const most = 16
	w.ours = l.segmented(most, url, out)
	w.peers = []contender{ariaSegmented(most, url, out), curl("-o", out, url)}
	return w, nil
}
