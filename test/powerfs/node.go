package powerfs

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// sector is what a disk writes whole, in bytes.
const sector = 512

// backlog is how many bytes of writes a file keeps apart before the oldest are written back, as the kernel would.
const backlog = 64 << 20

// A node is a file or a folder: as processes see it, and as it would be found after a cut.
type node struct {
	number   uint64
	mode     uint32
	uid, gid uint32
	links    int    // names, as processes see them
	known    uint64 // the kernel's references

	data     []byte           // a file's
	entries  map[string]*node // a folder's
	modified time.Time

	durable struct {
		data     []byte
		entries  map[string]*node
		modified time.Time
	}
	writes []write // of data, not durable yet, in order
	bytes  int     // of them
}

// A write is one of a file's bytes, or with nil data one of its size.
type write struct {
	at   int64
	data []byte
	size int64 // the file's, after it
}

func (n *node) folder() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

func (n *node) write(at int64, data []byte) {
	end := at + int64(len(data))
	n.data = resize(n.data, max(end, int64(len(n.data))))
	copy(n.data[at:], data)
	n.log(write{at, slices.Clone(data), int64(len(n.data))})
}

func (n *node) truncate(size int64) {
	n.data = resize(n.data, size)
	n.log(write{0, nil, size})
}

func (n *node) log(w write) {
	n.modified = time.Now()
	n.writes = append(n.writes, w)
	n.bytes += len(w.data)
	for n.bytes > backlog {
		n.bytes -= len(n.writes[0].data)
		n.durable.data = n.writes[0].apply(n.durable.data)
		n.writes = n.writes[1:]
	}
}

// sync makes the content durable, and with all of it the time.
func (n *node) sync(dataOnly bool) {
	for _, w := range n.writes {
		n.durable.data = w.apply(n.durable.data)
	}
	n.writes, n.bytes = nil, 0
	if !dataOnly {
		n.durable.modified = n.modified
	}
}

func (w write) apply(data []byte) []byte {
	data = resize(data, w.size)
	copy(data[min(w.at, w.size):], w.data)
	return data
}

// resize cuts data or grows it by zeros.
func resize(data []byte, size int64) []byte {
	if old := int64(len(data)); size > old {
		data = slices.Grow(data, int(size-old))[:size]
		clear(data[old:])
		return data
	}
	return data[:size]
}

// survive makes of a file what is found after the cut.
func (n *node) survive(r *rand.Rand) {
	found := n.durable.data
	switch upto := r.IntN(len(n.writes) + 1); r.IntN(4) {
	case 0: // nothing of it
	case 1: // all
		n.sync(true)
		found = n.durable.data
	case 2: // what came first
		for _, w := range n.writes[:upto] {
			found = w.apply(found)
		}
	case 3: // each sector for itself
		found = n.scattered(r)
	}
	if r.IntN(2) == 0 {
		n.durable.modified = n.modified
	}
	n.data, n.durable.data = slices.Clone(found), slices.Clone(found)
	n.modified = n.durable.modified
	n.writes, n.bytes = nil, 0
}

func (n *node) scattered(r *rand.Rand) []byte {
	if len(n.writes) == 0 {
		return n.durable.data
	}
	// How many of the writes have reached each sector. Some disks write nearly all in time, others nearly nothing.
	luck := r.Float64()
	reached := make(map[int64]int)
	upto := func(s int64) int {
		k, ok := reached[s]
		if !ok {
			switch x := r.Float64(); {
			case x < luck*0.9:
				k = len(n.writes)
			case x < 0.9:
				k = 0
			default:
				k = r.IntN(len(n.writes) + 1)
			}
			reached[s] = k
		}
		return k
	}
	size := int64(len(n.durable.data))
	for _, w := range n.writes {
		size = max(size, w.size)
	}
	found := resize(slices.Clone(n.durable.data), size)
	before := int64(len(n.durable.data))
	each := func(from, to int64, fn func(s, from, to int64)) {
		for at := from; at < to; {
			s := at / sector
			end := min(to, (s+1)*sector)
			fn(s, at, end)
			at = end
		}
	}
	for i, w := range n.writes {
		if w.data == nil { // what lies beyond reads as zeros, if the file grows again
			each(w.size, before, func(s, from, to int64) {
				if i < upto(s) {
					clear(found[from:to])
				}
			})
			before = w.size
			continue
		}
		each(w.at, w.at+int64(len(w.data)), func(s, from, to int64) {
			if i < upto(s) {
				copy(found[from:to], w.data[from-w.at:to-w.at])
			}
		})
		before = w.size
	}
	if r.IntN(2) == 0 { // what had been in the place of what was never written
		each(int64(len(n.durable.data)), size, func(s, from, to int64) {
			if upto(s) == 0 {
				for i := from; i < to; i++ {
					found[i] = byte(r.Uint32())
				}
			}
		})
	}
	sizes := []int64{int64(len(n.durable.data))}
	for _, w := range n.writes {
		sizes = append(sizes, w.size)
	}
	if r.Float64() < luck {
		return found[:sizes[len(sizes)-1]]
	}
	return found[:sizes[r.IntN(len(sizes))]]
}
