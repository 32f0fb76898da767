package urlsessiontest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Content is what a resource consists of: bytes readable at any offset, by
// several goroutines at once. [Body] and [Bytes] are contents.
type Content interface {
	io.ReaderAt
	// Len is the number of bytes, constant during the content's life.
	Len() int64
}

// Bytes is content held in memory, for small things: Bytes("hello").
type Bytes []byte

// Len is the number of bytes.
func (b Bytes) Len() int64 { return int64(len(b)) }

// ReadAt implements [io.ReaderAt].
func (b Bytes) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(b).ReadAt(p, off)
}

// Body is content that is computed, not stored: Size bytes that look random
// and depend on nothing but Seed and their offset. Bodies of two seeds differ
// from the first bytes on; two sizes of one seed share their common prefix. The
// zero value is the empty body. The bytes of a seed are the same on each machine
// and in each version of this package.
type Body struct {
	Seed uint64
	Size int64 // bytes
}

// Len is b.Size.
func (b Body) Len() int64 { return b.Size }

// ReadAt implements [io.ReaderAt] in constant memory.
func (b Body) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("urlsessiontest: read body at offset %d: negative offset", off)
	}
	if off >= b.Size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), b.Size-off))
	b.fill(p[:n], uint64(off))
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// fill computes the bytes at off. The body is a sequence of 8-byte
// little-endian words, word i being splitmix64 at i from a start that is itself
// a mix of the seed. The race detector, which would look at each byte, need not:
// p is the caller's alone.
//
//go:norace
func (b Body) fill(p []byte, off uint64) {
	start := mix(b.Seed + golden)
	i := off / 8
	var word [8]byte
	if skip := off % 8; skip != 0 {
		binary.LittleEndian.PutUint64(word[:], mix(start+i*golden))
		p = p[copy(p, word[skip:]):]
		i++
	}
	for ; len(p) >= 8; i++ {
		binary.LittleEndian.PutUint64(p, mix(start+i*golden))
		p = p[8:]
	}
	if len(p) > 0 {
		binary.LittleEndian.PutUint64(word[:], mix(start+i*golden))
		copy(p, word[:])
	}
}

const golden = 0x9e3779b97f4a7c15

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Reader reads the whole body once, from its start; it seeks too, so that it
// serves as the body of an upload with rewind.
func (b Body) Reader() *io.SectionReader { return io.NewSectionReader(b, 0, b.Size) }

// Bytes is the whole body in memory.
func (b Body) Bytes() []byte {
	p := make([]byte, b.Size)
	b.fill(p, 0)
	return p
}

// SHA256 is the digest of the whole body, computed in constant memory.
func (b Body) SHA256() [sha256.Size]byte {
	h := sha256.New()
	io.Copy(h, b.Reader()) // neither side can fail
	return [sha256.Size]byte(h.Sum(nil))
}

// Check reads r to its end and reports how it differs from b: nil if not at
// all, a [*Difference] that names the first offset at which it does, or r's
// own error.
func (b Body) Check(r io.Reader) error {
	const size = 64 << 10
	got, want := make([]byte, size), make([]byte, size)
	for off := int64(0); ; {
		n, err := io.ReadFull(r, got)
		m := int(min(int64(n), b.Size-off))
		b.fill(want[:m], uint64(off))
		if !bytes.Equal(got[:m], want[:m]) {
			i := 0
			for got[i] == want[i] {
				i++
			}
			return &Difference{Offset: off + int64(i), Want: b.Size, Got: -1}
		}
		off += int64(n)
		switch {
		case off > b.Size:
			return &Difference{Offset: b.Size, Want: b.Size, Got: -1}
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if off < b.Size {
				return &Difference{Offset: off, Want: b.Size, Got: off}
			}
			return nil
		case err != nil:
			return fmt.Errorf("urlsessiontest: read at offset %d to compare with the body: %w", off, err)
		}
	}
}

// CheckFile is [Body.Check] of the file at path; its errors name the path.
func (b Body) CheckFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := b.Check(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Difference says where compared content stops being the wanted body.
type Difference struct {
	Offset int64 // the first byte that is wrong, missing or too much
	Want   int64 // the body's size in bytes
	Got    int64 // the size found if the content ends early, else −1
}

func (d *Difference) Error() string {
	switch {
	case d.Got >= 0:
		return fmt.Sprintf("content ends at byte %d of %d", d.Got, d.Want)
	case d.Offset >= d.Want:
		return fmt.Sprintf("content is longer than its %d bytes", d.Want)
	}
	return fmt.Sprintf("content differs from byte %d of %d on", d.Offset, d.Want)
}
