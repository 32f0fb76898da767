//go:build linux

package main

import (
	"slices"
	"sync"
	"time"
)

// sent is what a server has sent of one file to one client.
type sent struct {
	Fresh []int64 `json:"fresh"` // bytes sent for the first time, in each tenth of a second from the first request on
	Bytes int64   `json:"bytes"` // all
	End   float64 `json:"end"`   // seconds from the first request to the last byte that was sent for the first time
	Most  int     `json:"most"`  // responses at once
	Busy  []int   `json:"busy"`  // connections that sent such bytes in each of these tenths
}

// sending is what is being sent. It is safe for concurrent use.
type sending struct {
	mu    sync.Mutex
	sent  sent
	start time.Time
	under int // responses now
	held  spans
	last  map[*pacedConn]int // 1 + the last tenth of a second in which each sent something for the first time
}

func (s *sending) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.start.IsZero() {
		s.start, s.last = time.Now(), make(map[*pacedConn]int)
	}
	s.under++
	s.sent.Most = max(s.sent.Most, s.under)
}

func (s *sending) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.under--
}

// add notes that c has sent the bytes from begin to end.
func (s *sending) add(c *pacedConn, begin, end int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	passed := time.Since(s.start)
	now := int(passed / (time.Second / 10))
	s.sent.Bytes += end - begin
	fresh := s.held.add(begin, end)
	if fresh == 0 {
		return
	}
	s.sent.End = passed.Seconds()
	for len(s.sent.Fresh) <= now {
		s.sent.Fresh, s.sent.Busy = append(s.sent.Fresh, 0), append(s.sent.Busy, 0)
	}
	s.sent.Fresh[now] += fresh
	if s.last[c] != now+1 {
		s.last[c] = now + 1
		s.sent.Busy[now]++
	}
}

// now is what has been sent until now.
func (s *sending) now() sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.sent
	now.Fresh, now.Busy = slices.Clone(now.Fresh), slices.Clone(now.Busy)
	return now
}

// atLast is how many connections sent in the last second, on average over its tenths.
func (s sent) atLast() float64 {
	tenths := s.Busy[max(0, len(s.Busy)-10):]
	sum := 0
	for _, n := range tenths {
		sum += n
	}
	return float64(sum) / float64(max(1, len(tenths)))
}

// share is the rate from the second second to the last byte, in parts of most (bytes a second); false where it ends before.
func (s sent) share(most float64) (float64, bool) {
	if s.End <= 1 || len(s.Fresh) < 10 {
		return 0, false
	}
	rest := int64(0)
	for _, n := range s.Fresh[10:] {
		rest += n
	}
	return float64(rest) / (s.End - 1) / most, true
}

// spans are disjoint ranges of bytes, in order; touching ones are joined.
type spans [][2]int64

// add joins the range from begin to end to them, and says how many of its bytes they did not have.
func (s *spans) add(begin, end int64) (fresh int64) {
	if begin >= end {
		return 0
	}
	fresh = end - begin
	i, _ := slices.BinarySearchFunc(*s, begin, func(r [2]int64, at int64) int { return int(min(max(r[1]-at, -1), 1)) })
	j := i
	whole := [2]int64{begin, end}
	for ; j < len(*s) && (*s)[j][0] <= end; j++ {
		r := (*s)[j]
		fresh -= max(0, min(r[1], end)-max(r[0], begin))
		whole = [2]int64{min(whole[0], r[0]), max(whole[1], r[1])}
	}
	*s = slices.Replace(*s, i, j, whole)
	return fresh
}
