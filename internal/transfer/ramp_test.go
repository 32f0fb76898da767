package transfer

import (
	"fmt"
	"math/rand/v2"
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
		"a limit a connection": {6, 1 << 30, time.Millisecond, each(30 * mb), "100ms:1>2 200ms:2>4 300ms:4>6"},
		"a long way":           {6, 1 << 30, 100 * time.Millisecond, each(3 * mb), "250ms:1>2 540ms:2>4 830ms:4>6"},
		"one is allowed":       {1, 1 << 30, time.Millisecond, each(30 * mb), ""},
		"no bound":             {0, 1 << 30, time.Millisecond, each(10 * mb), "110ms:1>2 210ms:2>4 310ms:4>8 410ms:8>16 510ms:16>32"},
		"small":                {6, spreadLeast, time.Millisecond, each(mb), ""},
		"soon done":            {6, 60 << 20, time.Millisecond, each(100 * mb), ""},
		"as fast as it gets":   {6, 4 << 30, time.Millisecond, each(300 * mb), ""},
		"no gain":              {6, 1 << 30, time.Millisecond, shared(20 * mb), "100ms:1>2 350ms:2>1 1.35s:1>2 1.6s:2>1 3.6s:1>2 3.85s:2>1 7.85s:1>2 8.1s:2>1"},
		"two gain": {6, 1 << 30, time.Millisecond, func(n int, _ time.Duration) float64 { return 20 * mb * float64(min(n, 2)) },
			"100ms:1>2 200ms:2>4 450ms:4>2 1.45s:2>4 1.7s:4>2 3.7s:2>4 3.95s:4>2 7.95s:2>4 8.2s:4>2"},
		// As nginx's limit_rate: each connection may send a second's worth at once.
		"a burst first": {6, 1 << 30, time.Millisecond, func(n int, at time.Duration) float64 {
			if at < 60*time.Millisecond {
				return 500 * mb
			}
			return 30 * mb * float64(n)
		}, "200ms:1>2 300ms:2>4 400ms:4>6"},
		"a small burst first": {6, 1 << 30, time.Millisecond, func(n int, at time.Duration) float64 {
			if at < 100*time.Millisecond {
				return 90 * mb
			}
			return 30 * mb * float64(n)
		}, "100ms:1>2 350ms:2>1 600ms:1>2 700ms:2>4 800ms:4>6"},
		"stands still": {6, 1 << 30, time.Millisecond, func(n int, _ time.Duration) float64 { return 30 * mb * float64(n-1) }, "1s:1>2 1.1s:2>4 1.2s:4>6"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ramped(ramp{most: c.most}, c.size, 10*time.Second, c.reply, c.rate)
			if got != c.want {
				t.Errorf("it went %s\nwant    %s", got, c.want)
			}
		})
	}
}

// Noise is not taken for gain, and gain not for noise: of 200 downloads from servers whose rate changes by a fifth each way, and
// which may let half as much again pass first.
func TestRampNoise(t *testing.T) {
	const mb = 1e6
	for _, span := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond} {
		for _, burst := range []float64{1, 1.5} {
			many, late := 0, 0
			for seed := range uint64(200) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				noise, until, most := 1., time.Duration(0), 1
				noisy := func(n int, at time.Duration) float64 {
					if at >= until {
						noise, until = .8+.4*rnd.Float64(), at+span
					}
					most = max(most, n)
					if at < 60*time.Millisecond {
						return noise * burst
					}
					return noise
				}
				ramped(ramp{most: 16}, 1<<30, 10*time.Second, time.Millisecond, func(n int, at time.Duration) float64 {
					return 180 * mb * noisy(n, at)
				})
				if most > 2 {
					many++
				}
				if most > 4 {
					t.Errorf("it went to %d connections without gain, seed %d", most, seed)
				}
				until, most = 0, 1
				ramped(ramp{most: 6}, 1<<30, 900*time.Millisecond, time.Millisecond, func(n int, at time.Duration) float64 {
					return 30 * mb * noisy(n, at) * float64(n)
				})
				if most < 6 {
					late++
				}
			}
			if many > 10 || late > 10 {
				t.Errorf("noise of %v, burst %.1f: of 200, %d took steps without gain, %d had no six connections in 900 ms", span, burst, many, late)
			}
		}
	}
}
