package transfer

import (
	"context"
	"sync"
	"sync/atomic"
)

// Limit bounds the bytes a second that the attempts which share it receive together, and apart from those the bytes that
// they send. The zero value bounds nothing, at the cost of two atomic reads a piece. Its methods may be called from any
// goroutine.
//
// It is exact within 2 % over any 10 s, whatever the rate and however many attempts share it, where they have that much to
// move: see bucket.
type Limit struct{ set atomic.Pointer[limited] }

// limited is a Limit that was set once.
type limited struct {
	rate    atomic.Int64 // as it was set last; 0: none
	mu      sync.Mutex   // held by Set
	buckets [2]bucket    // by direction
}

// direction is which way bytes go.
type direction int

const (
	received direction = iota
	sent
)

// Set makes the limit one of so many bytes a second each way; 0: none. It holds at once, also for attempts under way and
// for what waits under the limit before. The same again changes nothing.
func (l *Limit) Set(bytesPerSecond int64) {
	s := l.set.Load()
	if s == nil {
		if bytesPerSecond <= 0 {
			return
		}
		l.set.CompareAndSwap(nil, new(limited))
		s = l.set.Load()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bytesPerSecond = max(0, bytesPerSecond)
	if s.rate.Swap(bytesPerSecond) == bytesPerSecond {
		return
	}
	for i := range s.buckets {
		s.buckets[i].set(bytesPerSecond)
	}
}

// Rate is the limit as it was set; 0: none.
func (l *Limit) Rate() int64 {
	if s := l.set.Load(); s != nil {
		return s.rate.Load()
	}
	return 0
}

// bucket is the one of a direction; nil: nothing is bounded now.
func (l *Limit) bucket(d direction) *bucket {
	if s := l.set.Load(); s != nil && s.rate.Load() != 0 {
		return &s.buckets[d]
	}
	return nil
}

// Limits bound the same bytes, all of them. What fewer attempts share comes first, as a task's limit before its session's:
// who waits for the one that is shared has then been let pass by its own, and holds up nobody. That loses no rate, since a
// bucket fills while its attempt waits at another.
type Limits []*Limit

// rates is a number that changes with any of the limits; 0: nothing is bounded now.
func (ls Limits) rates() (sum uint64) {
	for _, l := range ls {
		sum = sum*1_000_003 + uint64(l.Rate())
	}
	return sum
}

// take waits until each limit lets some of n bytes pass, n > 0, and returns how many, or until ctx ends, with its cause. What
// was taken must be settled.
func (ls Limits) take(ctx context.Context, d direction, n int) (int, error) {
	for {
		rates := ls.rates()
		got, err := ls.takeOnce(ctx, d, n)
		if err != nil || rates == ls.rates() {
			return got, err
		}
		// One has changed, which may have been passed by then.
		ls.settle(d, got, 0)
	}
}

func (ls Limits) takeOnce(ctx context.Context, d direction, n int) (int, error) {
	for i, l := range ls {
		b := l.bucket(d)
		if b == nil {
			continue
		}
		got, err := b.take(ctx, n)
		if got < n {
			ls[:i].settle(d, n-got, 0)
		}
		if err != nil {
			return 0, err
		}
		n = got
	}
	return n, nil
}

// settle gives back what of taken bytes was not used.
func (ls Limits) settle(d direction, taken, used int) {
	for _, l := range ls {
		if b := l.bucket(d); b != nil {
			b.settle(taken, used)
		}
	}
}
