package transfer

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// ramped is what a ramp does over a time, looked at every 10 ms, at a server that gives rate bytes a second to n
// connections at that time, each of which begins after reply: "50ms:1>2" and so on.
func ramped(r ramp, size int64, span, reply time.Duration, rate func(n int, at time.Duration) float64) string {
	var log []string
	n := 1
	bytes := 0.
	began := time.Duration(0)
	for now := time.Duration(0); now < span && int64(bytes) < size; now += 10 * time.Millisecond {
		g := glance{now: now, connections: n, reply: reply, bytes: int64(bytes), missing: size - int64(bytes)}
		working := n
		if now < began {
			g.fresh, working = 1, r.from
		}
		if change := r.look(g); change != 0 {
			log = append(log, fmt.Sprintf("%v:%d>%d", now, n, n+change))
			n += change
			began = now + reply
		}
		bytes += rate(working, now) * .01
	}
	return strings.Join(log, " ")
}

func TestRamp(t *testing.T) {
	const mb = 1e6
	each := func(rate float64) func(int, time.Duration) float64 {
		return func(n int, _ time.Duration) float64 { return rate * float64(n) }
	}
	shared := func(rate float64) func(int, time.Duration) float64 {
		return func(int, time.Duration) float64 { return rate }
	}
	for name, c := range map[string]struct {
		most  int
		size  int64
		reply time.Duration
		rate  func(n int, at time.Duration) float64
		want  string
	}{
		"a limit a connection": {6, 1 << 30, time.Millisecond, each(30 * mb), "50ms:1>2 100ms:2>4 150ms:4>6"},
		"a long way":           {6, 1 << 30, 100 * time.Millisecond, each(3 * mb), "250ms:1>2 540ms:2>4 830ms:4>6"},
		"one is allowed":       {1, 1 << 30, time.Millisecond, each(30 * mb), ""},
		"no bound":             {0, 1 << 30, time.Millisecond, each(10 * mb), "110ms:1>2 170ms:2>4 220ms:4>8 270ms:8>16 320ms:16>32"},
		"small":                {6, spreadLeast, time.Millisecond, each(mb), ""},
		"soon done":            {6, 60 << 20, time.Millisecond, each(100 * mb), ""},
		"as fast as it gets":   {6, 4 << 30, time.Millisecond, each(300 * mb), ""},
		"no gain":              {6, 1 << 30, time.Millisecond, shared(20 * mb), "60ms:1>2 310ms:2>1 1.33s:1>2 1.58s:2>1 3.62s:1>2 3.87s:2>1 7.89s:1>2 8.14s:2>1"},
		"two gain": {6, 1 << 30, time.Millisecond, func(n int, _ time.Duration) float64 { return 20 * mb * float64(min(n, 2)) },
			"60ms:1>2 110ms:2>4 360ms:4>2 1.36s:2>4 1.61s:4>2 3.61s:2>4 3.86s:4>2 7.86s:2>4 8.11s:4>2"},
		// As nginx's limit_rate: each connection may send a second's worth at once.
		"a burst first": {6, 1 << 30, time.Millisecond, func(n int, at time.Duration) float64 {
			if at < 60*time.Millisecond {
				return 500 * mb
			}
			return 30 * mb * float64(n)
		}, "150ms:1>2 200ms:2>4 250ms:4>6"},
		"stands still": {6, 1 << 30, time.Millisecond, func(n int, _ time.Duration) float64 { return 30 * mb * float64(n-1) }, "1s:1>2 1.05s:2>4 1.1s:4>6"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ramped(ramp{most: c.most}, c.size, 10*time.Second, c.reply, c.rate)
			if got != c.want {
				t.Errorf("it went %s\nwant    %s", got, c.want)
			}
		})
	}
}
