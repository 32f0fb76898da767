package transfer

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// A bucket is a token bucket that attempts take from before they move bytes, in the order in which they came, and give back
// to what they did not move.
//
// A read of a socket may take long, and bring less than was asked for. So golang.org/x/time/rate does not do: what it
// has reserved cannot be given back once others have reserved after it, nor can it be spread anew when the rate changes.
//
// Over any time the bytes that pass are those of the rate and, at most, those of burst and ahead: both are within the
// 2 % of 10 s. An attempt that is let pass and does not move, since its server is slow, costs the others its piece once;
// pieces get smaller the more of it are out, so that all such cost together little more than ahead.
type bucket struct {
	mu     sync.Mutex
	rate   float64   // bytes a second; 0: none
	tokens float64   // bytes that may pass at the time at; at most those of burst
	at     time.Time // when tokens was right
	out    float64   // bytes that were taken, and not settled yet
	queue  []*waiter
	timer  *time.Timer // wakes the first of the queue; nil: it was never needed
}

const (
	// burst is for how long a bucket that nobody takes from fills, in seconds. It makes up for a timer that fires late, on a
	// machine that is busy, and not for one that is later: that would exceed the rate.
	burst = 0.15
	// ahead is how many seconds' bytes may be out, but for pieces of the least size.
	ahead = 0.05
	// portions is how many pieces those are, where it is not their turn that attempts wait for but the bucket.
	portions = 4
	// least is how many seconds' bytes a piece has at least.
	least = 0.001
)

// waiter is an attempt that waits for some of n bytes.
type waiter struct {
	n   int
	got chan int // of one place
}

// set changes the rate; 0: none. It holds for those that wait, too.
func (b *bucket) set(bytesPerSecond int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	if b.rate == 0 {
		b.tokens, b.out = 0, 0
	}
	b.rate = float64(bytesPerSecond)
	b.fill() // not more than the new one's burst
	b.serve()
}

// take waits until some of n bytes may pass, and returns how many, or until ctx ends, with its cause.
func (b *bucket) take(ctx context.Context, n int) (int, error) {
	b.mu.Lock()
	b.fill()
	if len(b.queue) == 0 {
		if got := b.grant(n); got > 0 {
			b.mu.Unlock()
			return got, nil
		}
	}
	w := &waiter{n, make(chan int, 1)}
	b.queue = append(b.queue, w)
	b.serve()
	b.mu.Unlock()
	select {
	case got := <-w.got:
		return got, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.queue, w); i >= 0 {
		b.queue = slices.Delete(b.queue, i, i+1)
		b.serve()
	} else {
		b.settleLocked(<-w.got, 0)
	}
	return 0, context.Cause(ctx)
}

// settle gives back what of taken bytes was not used. What was taken under another rate, or none, makes no more of it than
// the bucket holds.
func (b *bucket) settle(taken, used int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settleLocked(taken, used)
}

func (b *bucket) settleLocked(taken, used int) {
	b.fill()
	b.out = max(0, b.out-float64(taken))
	b.tokens += float64(taken - used)
	b.fill()
	b.serve()
}

// fill adds what has come since the last time. b.mu is held, as below.
func (b *bucket) fill() {
	now := time.Now()
	b.tokens += now.Sub(b.at).Seconds() * b.rate
	b.tokens = min(b.tokens, max(1, burst*b.rate))
	b.at = now
}

// piece is how many of n bytes are to move at once: what has gathered while an attempt waited for another limit, it may
// make up for.
func (b *bucket) piece(n int) float64 {
	room := ahead*b.rate - b.out
	return min(float64(n), math.Ceil(max(room/portions, min(room, math.Floor(b.tokens)), least*b.rate)))
}

// grant takes a piece of n bytes, where it may pass by now; else it returns 0.
func (b *bucket) grant(n int) int {
	if b.rate == 0 {
		return n
	}
	piece := b.piece(n)
	if b.tokens < piece {
		return 0
	}
	b.tokens -= piece
	b.out += piece
	return int(piece)
}

// serve lets those pass whose turn it is, and has the timer fire for the next.
func (b *bucket) serve() {
	for len(b.queue) > 0 {
		w := b.queue[0]
		got := b.grant(w.n)
		if got == 0 {
			missing := (b.piece(w.n) - b.tokens) / b.rate
			b.wakeIn(time.Duration(math.Ceil(missing * float64(time.Second))))
			return
		}
		b.queue[0] = nil
		b.queue = b.queue[1:]
		w.got <- got
	}
	if b.timer != nil {
		b.timer.Stop()
	}
}

func (b *bucket) wakeIn(d time.Duration) {
	if b.timer == nil {
		b.timer = time.AfterFunc(d, b.wake)
	} else {
		b.timer.Reset(d)
	}
}

func (b *bucket) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	b.serve()
}
