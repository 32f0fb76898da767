package transfer

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Limit bounds the bytes a second that the attempts which share it receive and send, all together. The zero value bounds
// nothing, at the cost of one atomic read a piece. Its methods may be called from any goroutine.
type Limit struct{ pacer atomic.Pointer[pacer] }

// pacer is a limit as it is until the next Set.
type pacer struct {
	*rate.Limiter
	over chan struct{} // closed by that
}

// Set makes the limit one of so many bytes a second; 0: none. It holds at once, also for attempts under way and for what
// waits under the limit before. The same again changes nothing.
func (l *Limit) Set(bytesPerSecond int64) {
	var next *pacer
	if bytesPerSecond > 0 {
		// A burst of a quarter second keeps the rate exact and lets one read take a large buffer.
		next = &pacer{rate.NewLimiter(rate.Limit(bytesPerSecond), int(max(bytesPerSecond/4, 64<<10))), make(chan struct{})}
	}
	for {
		old := l.pacer.Load()
		if old == nil && next == nil || old != nil && next != nil && old.Limit() == next.Limit() {
			return
		}
		if l.pacer.CompareAndSwap(old, next) {
			if old != nil {
				close(old.over)
			}
			return
		}
	}
}

// now is the limit as it is; nil: there is none.
func (l *Limit) now() *pacer { return l.pacer.Load() }

// piece is how many of n bytes to move at once: under a limit a tenth of a second's, so that they move evenly.
func (l *Limit) piece(n int) int {
	p := l.now()
	if p == nil {
		return n
	}
	return min(n, max(4<<10, int(min(bufferSize, float64(p.Limit())/10))))
}

// wait waits until the limit lets n bytes pass, or ctx ends. It takes no longer than the newest limit asks for.
func (l *Limit) wait(ctx context.Context, n int) error {
	for n > 0 {
		p := l.now()
		if p == nil {
			return nil
		}
		some := min(n, p.Burst())
		r := p.ReserveN(time.Now(), some)
		if d := r.Delay(); d > 0 {
			timer := time.NewTimer(d)
			select {
			case <-timer.C:
			case <-p.over:
				timer.Stop()
				continue // by the limit that holds now
			case <-ctx.Done():
				timer.Stop()
				r.Cancel()
				return context.Cause(ctx)
			}
		}
		n -= some
	}
	return nil
}

// Limits bound the same bytes, all of them.
type Limits []*Limit

// none reports whether nothing is bounded now.
func (ls Limits) none() bool {
	for _, l := range ls {
		if l.now() != nil {
			return false
		}
	}
	return true
}

// piece is the least Limit.piece.
func (ls Limits) piece(n int) int {
	for _, l := range ls {
		n = l.piece(n)
	}
	return n
}

// wait waits until each limit lets n bytes pass, or ctx ends.
func (ls Limits) wait(ctx context.Context, n int) error {
	for _, l := range ls {
		if err := l.wait(ctx, n); err != nil {
			return err
		}
	}
	return nil
}
