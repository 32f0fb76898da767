package urlsessiontest

import (
	"sync"
	"time"
)

// limiter spreads bytes evenly over time. It allows no burst: each byte waits
// for those before it.
type limiter struct {
	rate int64 // bytes a second

	mu   sync.Mutex
	free time.Time // when all that was reserved has passed
}

// newLimiter is nil, which limits nothing, for a rate of 0.
func newLimiter(bytesPerSecond int64) *limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	return &limiter{rate: bytesPerSecond}
}

// slice is how many of n bytes to send at once: a fiftieth of a second's.
func (l *limiter) slice(n int) int {
	if l == nil {
		return n
	}
	return int(min(int64(n), max(1, l.rate/50)))
}

// reserve books n bytes and says how long to wait after sending them.
func (l *limiter) reserve(n int) time.Duration {
	if l == nil || n == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	return l.free.Sub(now)
}
