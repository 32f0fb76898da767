package partial

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
)

// bitmap is what Ranges must be, done without thought.
type bitmap [64]bool

func (b *bitmap) ranges(size int, held bool) Ranges {
	var r Ranges
	for i := range size {
		if b[i] != held {
			continue
		}
		if n := len(r); n > 0 && r[n-1][1] == int64(i) {
			r[n-1][1]++
		} else {
			r = append(r, [2]int64{int64(i), int64(i) + 1})
		}
	}
	return r
}

func (b *bitmap) contains(first, end int) bool {
	for i := first; i < end; i++ {
		if !b[i] {
			return false
		}
	}
	return true
}

// checkRanges holds r against b.
func checkRanges(t *testing.T, r Ranges, b *bitmap) {
	t.Helper()
	want := b.ranges(len(b), true)
	if !slices.Equal(r, want) {
		t.Fatalf("got %v, want %v", r, want)
	}
	var total, prefix int64
	for i, held := range b {
		if held {
			total++
			if prefix == int64(i) {
				prefix++
			}
		}
	}
	if r.Total() != total || r.Prefix() != prefix {
		t.Fatalf("%v: total %d, want %d; prefix %d, want %d", r, r.Total(), total, r.Prefix(), prefix)
	}
	if end := r.End(); len(want) > 0 && end != want[len(want)-1][1] || len(want) == 0 && end != 0 {
		t.Fatalf("%v: end %d", r, end)
	}
	for first := range len(b) {
		if got, want := r.Holes(int64(first)), b.ranges(first, false); !slices.Equal(got, want) {
			t.Fatalf("%v: holes up to %d: got %v, want %v", r, first, got, want)
		}
		for end := first; end <= len(b); end++ {
			if got, want := r.Contains(int64(first), int64(end)), b.contains(first, end); got != want {
				t.Fatalf("%v: contains [%d,%d): got %t", r, first, end, got)
			}
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Ranges
	if err := json.Unmarshal(data, &back); err != nil || !slices.Equal(back, r) {
		t.Fatalf("%s came back as %v, %v", data, back, err)
	}
}

func TestRangesAgainstBitmap(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var r, old, oldCopy Ranges
		var b bitmap
		for range 20 {
			first := rnd.IntN(len(b))
			end := first + rnd.IntN(min(10, len(b)-first+1))
			r.Add(int64(first), int64(end))
			for i := first; i < end; i++ {
				b[i] = true
			}
			checkRanges(t, r, &b)
			if !slices.Equal(old, oldCopy) {
				t.Fatalf("seed %d: an Add changed a clone", seed)
			}
			old = r.Clone()
			oldCopy = old.Clone()
		}
		for end := len(b) - 1; end >= 0; end -= 1 + rnd.IntN(5) {
			r.Cut(int64(end))
			clear(b[end:])
			checkRanges(t, r, &b)
		}
	}
}

func FuzzRanges(f *testing.F) {
	f.Add([]byte{0, 8, 8, 16, 30, 40, 4, 33})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var r Ranges
		var b bitmap
		for ; len(steps) >= 2; steps = steps[2:] {
			first, end := int(steps[0])%len(b), int(steps[1])%(len(b)+1)
			r.Add(int64(first), int64(end))
			for i := first; i < end; i++ {
				b[i] = true
			}
		}
		checkRanges(t, r, &b)
	})
}

func TestRangesJSON(t *testing.T) {
	if data, _ := json.Marshal(Ranges{{0, 8388608}, {16777216, 25165824}}); string(data) != "[[0,8388608],[16777216,25165824]]" {
		t.Errorf("got %s", data)
	}
	if data, _ := json.Marshal(Ranges(nil)); string(data) != "[]" {
		t.Errorf("the empty set is %s", data)
	}
	for _, bad := range []string{
		`null`, `{}`, `[null]`, `[[]]`, `[[1]]`, `[[0,1,2]]`, `[[1,1]]`, `[[2,1]]`, `[[-1,1]]`, `[[0,1],[1,2]]`,
		`[[0,5],[3,9]]`, `[[5,9],[0,1]]`, `[[0,1.5]]`, `[["0",1]]`, `[[0,9223372036854775808]]`,
	} {
		var r Ranges
		if err := json.Unmarshal([]byte(bad), &r); err == nil && bad != "null" {
			t.Errorf("%s was taken for %v", bad, r)
		}
		if err := r.UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("%s was taken for %v", bad, r)
		}
	}
}
