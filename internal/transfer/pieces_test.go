package transfer

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/partial"
)

const mib = 1 << 20

// What a further connection is given, by what is under way.
func TestPiecesNext(t *testing.T) {
	type under struct {
		start, at, limit int64
		rate             float64
	}
	for name, c := range map[string]struct {
		here  partial.Ranges
		under []under
		want  string
	}{
		"nothing under way":          {nil, nil, "0-64"},
		"first of the holes":         {partial.Ranges{{0, mib}, {2 * mib, 3 * mib}}, nil, "1-2"},
		"second hole":                {partial.Ranges{{0, mib}, {2 * mib, 3 * mib}}, []under{{mib, mib, 2 * mib, -1}}, "3-64"},
		"half":                       {partial.Ranges{{0, 4 * mib}}, []under{{0, 4 * mib, 64 * mib, mib}}, "34-64"},
		"half, before its first":     {nil, []under{{0, 0, 64 * mib, -1}}, "32-64"},
		"by their rates":             {partial.Ranges{{0, 4 * mib}}, []under{{0, 4 * mib, 64 * mib, 3 * mib}}, "49-64"},
		"all of one that stands":     {partial.Ranges{{0, 4 * mib}}, []under{{0, 4 * mib, 64 * mib, 0}}, "4-64"},
		"the slowest":                {partial.Ranges{{0, 4 * mib}, {32 * mib, 34 * mib}}, []under{{0, 4 * mib, 64 * mib, 4 * mib}, {32 * mib, 34 * mib, 64 * mib, mib}}, "49-64"},
		"what is asked for is asked": {partial.Ranges{{0, 4 * mib}}, []under{{0, 4 * mib, 64 * mib, mib}, {34 * mib, 34 * mib, 64 * mib, -1}}, "19-34"},
		"a race has two":             {partial.Ranges{{0, 64*mib - 1000}}, []under{{0, 64*mib - 1000, 64 * mib, 1}, {64*mib - 2000, 64*mib - 2000, 64 * mib, -1}}, "-"},
		"both stand":                 {partial.Ranges{{0, 4 * mib}}, []under{{0, 4 * mib, 64 * mib, 0}, {4 * mib, 4 * mib, 64 * mib, 0}}, "4-64"},
		"runs on into a hole":        {partial.Ranges{{0, 63 * mib}}, []under{{62 * mib, 63 * mib, 64 * mib, 64 * mib}}, "-"},
		"nothing to save":            {partial.Ranges{{0, 64*mib - 100}}, []under{{0, 64*mib - 100, 64 * mib, mib}}, "-"},
		"a little that stands":       {partial.Ranges{{0, 64*mib - 100}}, []under{{0, 64*mib - 100, 64 * mib, 0}}, fmt.Sprintf("%d-%d", 64*mib-100, 64*mib)},
	} {
		t.Run(name, func(t *testing.T) {
			p := pieces{total: 64 * mib, here: c.here}
			for _, u := range c.under {
				s := p.open(u.start, u.limit, mib)
				s.at, s.rate, s.least = u.at, u.rate, u.rate
			}
			got := "-"
			if start, limit, ok := p.next(mib, 0); ok {
				got = fmt.Sprintf("%d-%d", start, limit)
				if start%mib+limit%mib == 0 {
					got = fmt.Sprintf("%d-%d", start/mib, limit/mib)
				}
			}
			if got != c.want {
				t.Errorf("next is %s, want %s", got, c.want)
			}
		})
	}
}

// A stretch goes on until it comes to what another has brought, and not for what that has only been asked for.
func TestPiecesTakeOver(t *testing.T) {
	p := pieces{total: 1000}
	a := p.open(0, 1000, 1)
	p.brought(a, 100)
	b := p.open(500, 1000, 1)
	if p.end(a) != 1000 || p.stop(a) != 500 {
		t.Errorf("ends at %d, will at %d", p.end(a), p.stop(a))
	}
	p.brought(b, 10)
	if p.end(a) != 500 {
		t.Errorf("ends at %d", p.end(a))
	}
	if keep, on := p.brought(a, 450); keep != 400 || on {
		t.Errorf("%d kept, on %v", keep, on)
	}
	p.close(b)
	if start, limit, ok := p.next(1, 0); start != 510 || limit != 1000 || !ok {
		t.Errorf("left is %d-%d", start, limit)
	}
}

// Two at the same bytes: who is first has them, and the other is of no use.
func TestPiecesRace(t *testing.T) {
	p := pieces{total: 1000}
	a, b := p.open(0, 1000, 1), p.open(0, 1000, 1)
	p.brought(a, 100)
	if !p.idle(b) {
		t.Error("the one behind goes on")
	}
	c := p.open(100, 1000, 1)
	p.brought(c, 300)
	if keep, on := p.brought(a, 200); keep != 0 || on {
		t.Errorf("%d kept, on %v", keep, on)
	}
	if keep, on := p.brought(c, 600); keep != 600 || !on || !p.whole() {
		t.Errorf("%d kept, on %v", keep, on) // on: its response has to end
	}
	if keep, _ := p.brought(c, 1); keep != 0 {
		t.Error("a byte behind the end was kept")
	}
}

// Bytes that somebody has left are passed, where they are few; where somebody goes on behind them, only if that one crawls.
func TestPiecesPass(t *testing.T) {
	p := pieces{total: 8 * mib}
	a := p.open(0, 8*mib, mib)
	a.rate = mib
	b := p.open(4*mib, 8*mib, mib)
	p.brought(b, passLeast)
	if p.end(a) != 4*mib {
		t.Error("it passes one whose rate is not known")
	}
	b.least = mib / 2
	if p.end(a) != 4*mib {
		t.Error("it passes one that is about as fast")
	}
	b.least = mib / 5
	if p.end(a) != 8*mib {
		t.Error("it waits for one that crawls")
	}
	p.close(b)
	if p.end(a) != 8*mib {
		t.Error("it ends where somebody has left little")
	}
	if start, limit, _ := p.next(mib, 0); start != 4*mib+passLeast || limit != 8*mib {
		t.Errorf("next is %d-%d, some of which is here", start, limit)
	}
	c := p.open(4*mib+passLeast, 8*mib, mib)
	p.brought(c, 1)
	p.close(c)
	if p.end(a) != 4*mib {
		t.Error("it passes much")
	}
}

// However connections come, crawl, break and answer less than they were asked for, all bytes are brought, few twice, and
// nobody is without work while somebody could be relieved.
func TestPiecesEndWhole(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		p := pieces{total: 1 + rnd.Int64N(64*mib)}
		for range rnd.IntN(4) {
			start := rnd.Int64N(p.total)
			p.here.Add(start, min(p.total, start+rnd.Int64N(4*mib)))
		}
		kept, requests := p.here.Total(), 0
		live := map[*stretch]int{} // its bytes a tick
		for tick := 0; !p.whole(); tick++ {
			if tick > 10_000 {
				t.Fatalf("seed %d: it does not end: %v of %d", seed, p.here, p.total)
			}
			for len(live) < 6 {
				start, limit, ok := p.next(mib, 20*time.Millisecond)
				if !ok {
					break
				}
				if start < 0 || start >= limit || limit > p.total || p.here.Contains(start, start+1) {
					t.Fatalf("seed %d: next is %d-%d of %d, here %v", seed, start, limit, p.total, p.here)
				}
				if rnd.IntN(8) == 0 {
					limit = start + 1 + rnd.Int64N(limit-start) // it answers less
				}
				s := p.open(start, limit, mib)
				requests++
				live[s] = 1 + rnd.IntN(mib)
				if rnd.IntN(6) == 0 {
					live[s] = 0 // stalls
				}
				s.rate = float64(live[s])
				s.least = s.rate
			}
			if len(live) == 0 {
				t.Fatalf("seed %d: nobody works, and %d bytes are missing", seed, p.missing())
			}
			for s, n := range live {
				keep, on := p.brought(s, n)
				kept += int64(keep)
				if !on || s.at == s.limit || rnd.IntN(30) == 0 {
					p.close(s)
					delete(live, s)
				}
			}
		}
		if twice := kept - p.total; twice < 0 || twice > int64(requests)*passLeast {
			t.Fatalf("seed %d: %d bytes were kept of %d, over %d requests", seed, kept, p.total, requests)
		}
	}
}
