package urlsessiontest

import (
	"bytes"
	"hash"
	"io"
)

// digester compares what is written with digests that were promised.
type digester struct {
	want  map[string][]byte
	sums  map[string]hash.Hash
	write io.Writer
}

func newDigester(want map[string][]byte) *digester {
	d := &digester{want: want, sums: make(map[string]hash.Hash)}
	var all []io.Writer
	for algorithm := range want {
		d.sums[algorithm] = algorithms[algorithm]()
		all = append(all, d.sums[algorithm])
	}
	d.write = io.MultiWriter(all...)
	return d
}

// Write never fails.
func (d *digester) Write(p []byte) (int, error) { return d.write.Write(p) }

func (d *digester) matches() bool {
	for algorithm, sum := range d.want {
		if !bytes.Equal(sum, d.sums[algorithm].Sum(nil)) {
			return false
		}
	}
	return true
}

func sumReader(r io.Reader, algorithm string) []byte {
	h := algorithms[algorithm]()
	io.Copy(h, r) // content in memory or a file of ours does not fail
	return h.Sum(nil)
}

// wanted is the Repr-Digest that the creation wants, of what is held; empty if it
// wants none.
func (up *uploadResource) wanted() string {
	algorithm := wantedDigest(up.want)
	if algorithm == "" {
		return ""
	}
	return ReprDigest(algorithm).value(sumReader(Upload{content: up.content, Offset: up.offset()}.Reader(), algorithm))
}
