package partial

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Ranges is a set of byte positions, as half-open ranges [first, end): ascending, none empty, none touching the next.
// The zero value is the empty set. As JSON: [[0,8388608],[16777216,25165824]]. Not safe for concurrent use.
type Ranges [][2]int64

// Add adds [first, end), where 0 ≤ first. It adds nothing when end ≤ first.
func (r *Ranges) Add(first, end int64) {
	if end <= first {
		return
	}
	s := *r
	// s[i:j] are the ranges that [first, end) overlaps or touches; it and they become one.
	i, _ := slices.BinarySearchFunc(s, first, func(a [2]int64, first int64) int {
		if a[1] < first {
			return -1
		}
		return 1
	})
	j := i
	for j < len(s) && s[j][0] <= end {
		j++
	}
	if i == j {
		*r = slices.Insert(s, i, [2]int64{first, end})
		return
	}
	s[i] = [2]int64{min(first, s[i][0]), max(end, s[j-1][1])}
	*r = slices.Delete(s, i+1, j)
}

// Cut removes everything from end on.
func (r *Ranges) Cut(end int64) {
	s := *r
	for len(s) > 0 && s[len(s)-1][0] >= end {
		s = s[:len(s)-1]
	}
	if len(s) > 0 {
		s[len(s)-1][1] = min(s[len(s)-1][1], end)
	}
	*r = s
}

// Contains reports whether all of [first, end) is in the set; an empty range always is.
func (r Ranges) Contains(first, end int64) bool {
	if end <= first {
		return true
	}
	i, found := slices.BinarySearchFunc(r, first, func(a [2]int64, first int64) int {
		switch {
		case a[1] <= first:
			return -1
		case a[0] > first:
			return 1
		}
		return 0
	})
	return found && end <= r[i][1]
}

// Prefix is the number of bytes from position 0 on, up to the first that is missing.
func (r Ranges) Prefix() int64 {
	if len(r) == 0 || r[0][0] != 0 {
		return 0
	}
	return r[0][1]
}

// Total is the number of bytes in the set.
func (r Ranges) Total() (n int64) {
	for _, a := range r {
		n += a[1] - a[0]
	}
	return n
}

// End is the position after the last byte of the set, 0 of the empty one.
func (r Ranges) End() int64 {
	if len(r) == 0 {
		return 0
	}
	return r[len(r)-1][1]
}

// Holes is what of [0, size) is not in the set.
func (r Ranges) Holes(size int64) Ranges {
	var holes Ranges
	at := int64(0)
	for _, a := range r {
		if a[0] >= size {
			break
		}
		holes.Add(at, a[0])
		at = a[1]
	}
	holes.Add(at, size)
	return holes
}

// Clone is a copy that shares nothing with r.
func (r Ranges) Clone() Ranges { return slices.Clone(r) }

// MarshalJSON writes the empty set as [].
func (r Ranges) MarshalJSON() ([]byte, error) {
	if r == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([][2]int64(r))
}

// UnmarshalJSON reads what MarshalJSON writes and nothing else: pairs of integers, in order and apart.
func (r *Ranges) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		return errors.New("byte ranges: null")
	}
	var list [][]int64 // not [][2]int64, which would take a pair of one number or of three
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("byte ranges: %w", err)
	}
	set := make(Ranges, 0, len(list))
	for i, a := range list {
		if len(a) != 2 || a[0] < 0 || a[1] <= a[0] || i > 0 && a[0] <= set[i-1][1] {
			return fmt.Errorf("byte ranges: %v is no range that follows the one before", a)
		}
		set = append(set, [2]int64{a[0], a[1]})
	}
	*r = set
	return nil
}
