package transfer

import (
	"math"
	"slices"
	"time"

	"github.com/urlsession/urlsession/internal/partial"
)

const (
	// pieceAlign is what the first byte of a piece is a multiple of, where it is ours to choose, in bytes: whole pages, and
	// whole blocks of the file systems that there are.
	pieceAlign = 64 << 10
	// pieceLeast is less than which no further connection is asked for, unless all that is left is less: below it the
	// request costs more than the bytes.
	pieceLeast = 128 << 10
	// passLeast is how many bytes that are here already a stretch reads again, where it can go on behind them: that takes
	// less than another request, and keeps the connection.
	passLeast = 256 << 10
	// A stretch passes another that is slower than this part of it.
	passPart = 1. / 4
	// worthwhile is what another connection has to save at least. Less is within what rates are mistaken by.
	worthwhile = 50 * time.Millisecond
)

// pieces says which bytes of a file are whose while several connections bring them. It has neither clock nor lock.
//
// Nobody owns a byte. A stretch, which is one response, goes on from where it began until it comes to a byte that is here
// already, and nobody has left soon after. So a stretch takes over from another by its first bytes alone: until they are
// here that one runs on, and it runs on into what nobody has begun, as far as its response goes. Where two are at the same
// bytes, they race.
type pieces struct {
	total int64 // the file's length
	here  partial.Ranges
	under []*stretch // under way, in the order of their beginning
}

// A stretch is what one response brings: [start, limit), of which the bytes before at have come.
type stretch struct {
	start, at, limit int64

	// Bytes a second, which whoever has a clock keeps.
	hoped float64 // what it was expected to bring
	rate  float64 // lately; < 0: not known yet
	least float64 // the less of rate and what it brought in the last moment; < 0: not known yet
}

// known is a rate, or where it is not known what was hoped for.
func (s *stretch) known(rate float64) float64 {
	if rate < 0 {
		return s.hoped
	}
	return rate
}

// begun reports whether a byte has come.
func (s *stretch) begun() bool { return s.at > s.start }

// open adds a stretch, of which a rate is hoped for.
func (p *pieces) open(start, limit int64, hoped float64) *stretch {
	s := &stretch{start: start, at: start, limit: limit, hoped: hoped, rate: -1, least: -1}
	p.under = append(p.under, s)
	return s
}

// close takes a stretch away. What it lacks is left to others. It may be called twice.
func (p *pieces) close(s *stretch) {
	p.under = slices.DeleteFunc(p.under, func(u *stretch) bool { return u == s })
}

// brought adds the next n bytes of a stretch. keep is how many of them are to be written: the others are of no use. on is
// false when nothing that it could bring is missing, unless it is at its very end, where its response has to end too.
func (p *pieces) brought(s *stretch, n int) (keep int, on bool) {
	keep = int(min(int64(n), p.end(s)-s.at))
	p.here.Add(s.at, s.at+int64(keep))
	s.at += int64(keep)
	return keep, s.at == s.limit || p.end(s) > s.at
}

// end is where a stretch has to end as things stand: its limit, or before it the first byte that is here and that it does
// not pass.
func (p *pieces) end(s *stretch) int64 {
	for i := p.behind(s.at); i < len(p.here) && p.here[i][0] < s.limit; i++ {
		if first := max(s.at, p.here[i][0]); !p.passes(s, first, p.here[i][1]) {
			return first
		}
	}
	return s.limit
}

// behind is the first of the ranges here that ends behind at.
func (p *pieces) behind(at int64) int {
	i, _ := slices.BinarySearchFunc(p.here, at, func(r [2]int64, at int64) int {
		if r[1] <= at {
			return -1
		}
		return 1
	})
	return i
}

// lacking is the first position from at on that is not here.
func (p *pieces) lacking(at int64) int64 {
	if i := p.behind(at); i < len(p.here) && p.here[i][0] <= at {
		return p.here[i][1]
	}
	return at
}

// passes reports whether a stretch goes on over [first, end), which is here: there is little of it, and nobody is at work
// behind it, or somebody who is far slower.
func (p *pieces) passes(s *stretch, first, end int64) bool {
	return end < s.limit && end-first <= passLeast && !slices.ContainsFunc(p.under, func(u *stretch) bool {
		return u != s && u.at == end && u.known(u.least) >= s.known(s.rate)*passPart
	})
}

// idle reports whether a stretch can bring nothing any more.
func (p *pieces) idle(s *stretch) bool { return p.end(s) == s.at }

// whole reports whether nothing is missing.
func (p *pieces) whole() bool { return p.here.Contains(0, p.total) }

// missing is how many bytes are.
func (p *pieces) missing() int64 { return p.total - p.here.Total() }

// stop is where a stretch will end if all others that are asked for begin.
func (p *pieces) stop(s *stretch) int64 {
	stop := p.end(s)
	for _, u := range p.under {
		if !u.begun() && u.start > s.at {
			stop = min(stop, u.start)
		}
	}
	return stop
}

// raced reports whether another stretch is where s is, or will come there, and does not stand still: two are enough.
func (p *pieces) raced(s *stretch) bool {
	return slices.ContainsFunc(p.under, func(u *stretch) bool {
		return u != s && u.least != 0 && u.at <= s.at && p.end(u) > s.at
	})
}

// next says what a further connection is to bring, that is expected to bring rate bytes a second (> 0) after setup. That is
// the first hole which nobody fills; or, of the stretch that has most time left, the second part, so that both end at
// once: of one that stands still, all. How fast a stretch is says its rate; or where by that nobody is to be relieved, the
// last moment: by then whoever asks has nothing else to do. ok is false where it would not end sooner.
func (p *pieces) next(rate float64, setup time.Duration) (start, limit int64, ok bool) {
	covered := p.here.Clone()
	for _, s := range p.under {
		covered.Add(s.at, p.stop(s))
	}
	if holes := covered.Holes(p.total); len(holes) > 0 {
		return holes[0][0], holes[0][1], true
	}
	if start, limit, ok = p.relieve(rate, setup, func(s *stretch) float64 { return s.known(s.rate) }); ok {
		return start, limit, ok
	}
	return p.relieve(rate, setup, func(s *stretch) float64 { return s.known(s.least) })
}

// relieve is next where no hole is left, by what speed says of each stretch.
func (p *pieces) relieve(rate float64, setup time.Duration, speed func(*stretch) float64) (start, limit int64, ok bool) {
	most := 0.0
	for _, s := range p.under {
		stop := p.stop(s)
		rest := float64(stop - s.at)
		if rest == 0 || p.raced(s) {
			continue
		}
		own := speed(s)
		// While the further one is asked for, s goes on.
		moved := min(rest, own*setup.Seconds())
		from := s.at + int64(moved+(rest-moved)*own/(own+rate))
		from = max(s.at, min(from, stop-pieceLeast)&^(pieceAlign-1))
		if from = p.lacking(from); from >= stop { // s would pass all that is behind
			if from = p.lacking(s.at); from >= stop {
				continue
			}
		}
		left := math.Inf(1)
		if own > 0 {
			left = rest / own
		}
		saved := left - setup.Seconds() - float64(stop-from)/rate
		if left > most && saved > max(setup, worthwhile).Seconds() {
			start, limit, ok, most = from, stop, true, left
		}
	}
	return start, limit, ok
}
