package transfer

import (
	"math/bits"
	"sync"
)

const (
	// bufferSize is what a body of unknown or large size is moved in, in bytes. A read of as much goes past net/http's
	// own buffer, from the socket into this one.
	bufferSize = 512 << 10
	// smallBody is the size below which a body takes a buffer of its size class.
	smallBody      = 256 << 10
	smallestBuffer = 4 << 10
)

// A buffer is on loan from a pool.
type buffer struct {
	b     []byte
	class int
}

// pools hold buffers of smallestBuffer << class bytes; the last those of bufferSize.
var pools [8]sync.Pool

// takeBuffer lends a buffer for a body of size bytes; -1: unknown.
func takeBuffer(size int64) *buffer {
	class := len(pools) - 1
	if size >= 0 && size < smallBody {
		class = max(0, bits.Len64(uint64(max(size-1, 0)))-bits.Len64(smallestBuffer-1))
	}
	if b, ok := pools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, smallestBuffer<<class), class}
}

// free gives the buffer back; it must not be used any more.
func (b *buffer) free() { pools[b.class].Put(b) }
