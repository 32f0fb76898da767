package engine

import (
	"math"
	"sync"
	"time"
)

// meter measures a rate, as an exponentially weighted mean over about the last five seconds.
type meter struct {
	mu    sync.Mutex
	at    time.Time
	total int64
	rate  float64 // bytes a second
}

const (
	meterWindow = 5 * time.Second
	meterStep   = 250 * time.Millisecond // between samples
)

func (m *meter) add(total int64) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at.IsZero() || total < m.total {
		m.at, m.total, m.rate = now, total, 0
		return
	}
	d := now.Sub(m.at)
	if d < meterStep {
		return
	}
	m.rate = m.after(d, float64(total-m.total)/d.Seconds())
	m.at, m.total = now, total
}

// after is the mean once a span of length d at the given rate has passed.
func (m *meter) after(d time.Duration, rate float64) float64 {
	if m.rate == 0 {
		return rate
	}
	w := math.Exp(-d.Seconds() / meterWindow.Seconds())
	return w*m.rate + (1-w)*rate
}

// now is the rate, which falls while nothing is added.
func (m *meter) now() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := time.Since(m.at); m.rate > 0 && d > meterWindow {
		return 0
	} else if m.rate > 0 && d > time.Second {
		return m.after(d, 0)
	}
	return m.rate
}
