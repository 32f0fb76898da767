package urlsessiontest_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	. "github.com/urlsession/urlsession/urlsessiontest"
)

// The bytes are a promise: tests of other versions compare with them.
func TestBodyIsThatOfEachVersion(t *testing.T) {
	got := fmt.Sprintf("%x %x", Body{Seed: 1, Size: 16}.Bytes(), Body{Seed: 1, Size: 1 << 20}.SHA256())
	const want = "b8d5c082fc23e4dc1e61397408ab415e 2ff0abfc758f28d7eddef6ccc204bdc2bf934340bba45feff1453f240bbdd291"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestBodyReadsTheSameAtAnyOffset(t *testing.T) {
	b := Body{Seed: 42, Size: 10_007}
	whole := b.Bytes()
	if err := iotest.TestReader(b.Reader(), whole); err != nil {
		t.Error(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		off, n := rng.Int64N(b.Size), rng.IntN(100)
		p := make([]byte, n)
		m, err := b.ReadAt(p, off)
		want := whole[off:min(off+int64(n), b.Size)]
		if !bytes.Equal(p[:m], want) || (m < n) != (err == io.EOF) {
			t.Fatalf("ReadAt(%d bytes, %d) = %d, %v", n, off, m, err)
		}
	}
	if _, err := b.ReadAt(make([]byte, 1), b.Size); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if _, err := b.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF {
		t.Errorf("before the start: %v", err)
	}
	if b.SHA256() != sha256.Sum256(whole) {
		t.Error("SHA256 is not that of the bytes")
	}
}

func TestBodiesOfTwoSeedsDiffer(t *testing.T) {
	seen := make(map[string]uint64)
	for seed := range uint64(1000) {
		for off := int64(0); off < 64; off += 8 {
			p := make([]byte, 8)
			Body{Seed: seed, Size: 64}.ReadAt(p, off)
			if other, ok := seen[string(p)]; ok {
				t.Fatalf("seeds %d and %d share a word", seed, other)
			}
			seen[string(p)] = seed
		}
	}
}

func TestCheckNamesTheFirstDifference(t *testing.T) {
	b := Body{Seed: 3, Size: 150_000}
	flip := func(i int) []byte {
		p := b.Bytes()
		p[i] ^= 0x80
		return p
	}
	for name, c := range map[string]struct {
		data []byte
		want *Difference
		text string
	}{
		"equal":    {b.Bytes(), nil, ""},
		"first":    {flip(0), &Difference{Offset: 0, Want: b.Size, Got: -1}, "differs from byte 0"},
		"boundary": {flip(65_536), &Difference{Offset: 65_536, Want: b.Size, Got: -1}, "differs from byte 65536 of 150000"},
		"last":     {flip(149_999), &Difference{Offset: 149_999, Want: b.Size, Got: -1}, "differs from byte 149999"},
		"short":    {b.Bytes()[:70_000], &Difference{Offset: 70_000, Want: b.Size, Got: 70_000}, "ends at byte 70000 of 150000"},
		"long":     {append(b.Bytes(), 0), &Difference{Offset: b.Size, Want: b.Size, Got: -1}, "longer than its 150000"},
		"longer":   {append(b.Bytes(), make([]byte, 200_000)...), &Difference{Offset: b.Size, Want: b.Size, Got: -1}, "longer"},
		"none":     {nil, &Difference{Offset: 0, Want: b.Size, Got: 0}, "ends at byte 0"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			os.WriteFile(path, c.data, 0o600)
			for _, err := range []error{b.Check(iotest.HalfReader(bytes.NewReader(c.data))), b.CheckFile(path)} {
				d, _ := errors.AsType[*Difference](err)
				switch {
				case c.want == nil && err != nil, c.want != nil && (d == nil || *d != *c.want):
					t.Errorf("%v, want %v", err, c.want)
				case c.want != nil && !strings.Contains(err.Error(), c.text):
					t.Errorf("%q does not say %q", err, c.text)
				}
			}
		})
	}
	cause := errors.New("cause")
	if err := b.Check(iotest.ErrReader(cause)); !errors.Is(err, cause) {
		t.Errorf("a reader's error: %v", err)
	}
}

func BenchmarkBody(b *testing.B) {
	body, p := Body{Seed: 1, Size: 1 << 40}, make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		body.ReadAt(p, 12345)
	}
}
