package transfer

import (
	"context"
	"testing"
	"time"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

// A connection whose turn at a limit takes long is not one that stands still, nor one that crawls: its rest is not asked for
// again.
func TestSpreadThatWaitsForALimit(t *testing.T) {
	for _, c := range []struct {
		rate   int64
		others int // that the limit is shared with
	}{{20 << 10, 200}, {1 << 10, 0}, {2, 0}} {
		spreadOver(t, 6, func(t *testing.T, d *spreading) {
			limit := new(Limit)
			d.a.Limits = Limits{limit}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				time.Sleep(2 * time.Second)
				limit.Set(c.rate)
				for range c.others {
					go d.a.Limits.mover(ctx, received, &log{start: time.Now()}, bufferSize, 0)
				}
				before := d.srv.Count("/f")
				time.Sleep(time.Minute)
				if asked := d.srv.Count("/f") - before; asked > 0 {
					t.Errorf("at %d B/s, shared with %d others, %d requests more", c.rate, c.others, asked)
				}
				cancel()
				limit.Set(0)
			}()
			d.mustRun(t, big)
		})
	}
}

// One that brings nothing when it is its turn stands still, though the others are under a limit.
func TestSpreadStallsUnderALimit(t *testing.T) {
	spreadOver(t, 6, func(t *testing.T, d *spreading) {
		d.a.Limits = Limits{newLimit(4 << 20)}
		d.srv.Always("/f", OnConnection(2, StallAt(AtBody(500_000), Forever)))
		d.mustRun(t, big)
		if took := time.Since(d.start); took > 12*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
