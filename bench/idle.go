//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urlsession/urlsession"
)

var idleQuantities = []quantity{
	// Go's runtime looks around about once a minute.
	{name: "wake-ups", unit: "/s", limit: .1},
	{name: "memory", unit: "MiB", limit: 64},
	{name: "wake-ups after a restart", unit: "/s", limit: .1},
	{name: "memory after a restart", unit: "MiB", limit: 64},
}

// idle measures a daemon that has nothing to do.
func idle(ctx context.Context, l *lab, _ int64, count int) (map[string]float64, error) {
	d, err := l.daemon(ctx, l.disk.path("state"))
	if d != nil {
		defer d.close()
	}
	if err != nil {
		return nil, err
	}
	s, err := d.session(connections)
	if err != nil {
		return nil, err
	}
	_, err = enqueue(ctx, s, count, func(i int) urlsession.Download {
		name := fmt.Sprintf("%06d.bin", i)
		r := urlsession.Get(l.nginx.plain + "/" + name)
		r.Suspended = true
		return urlsession.Download{Request: r, Destination: l.disk.path("out", name)}
	})
	if err != nil {
		return nil, err
	}
	saw := make(map[string]float64)
	if err := atRest(ctx, d, "", saw); err != nil {
		return nil, err
	}
	if err := d.stop(); err != nil {
		return nil, err
	}
	if err := d.start(ctx); err != nil {
		return nil, err
	}
	return saw, atRest(ctx, d, " after a restart", saw)
}

// atRest adds what d takes when it has come to rest, under names that end in when.
func atRest(ctx context.Context, d *daemon, when string, saw map[string]float64) error {
	rest, err := settled(ctx, d.pid())
	if err != nil {
		return err
	}
	saw["memory"+when] = mib(rest)
	saw["wake-ups"+when], err = wakeUpsASecond(ctx, d.pid(), 20*time.Second)
	return err
}
