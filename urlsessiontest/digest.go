package urlsessiontest

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
)

// Digest is a digest field that a resource carries, computed from its content.
// The zero value is no digest: make one with [ReprDigest], [ContentDigest],
// [LegacyDigest] or [ContentMD5].
type Digest struct {
	field     string
	algorithm string // as in RFC 9530's registry: sha-256, sha-512, md5
	message   bool   // of the bytes of this message, not of the whole representation
	wrong     bool
}

// ReprDigest is Repr-Digest (RFC 9530 §3), of the whole representation also in
// a 206. The algorithm is sha-256, sha-512 or md5; another panics.
func ReprDigest(algorithm string) Digest {
	return Digest{field: "Repr-Digest", algorithm: known(algorithm)}
}

// ContentDigest is Content-Digest (RFC 9530 §2), of the bytes of one message: in
// a 206 of its range.
func ContentDigest(algorithm string) Digest {
	return Digest{field: "Content-Digest", algorithm: known(algorithm), message: true}
}

// LegacyDigest is Digest (RFC 3230), of the whole representation.
func LegacyDigest(algorithm string) Digest {
	return Digest{field: "Digest", algorithm: known(algorithm)}
}

// ContentMD5 is Content-MD5 (RFC 1864), of the bytes of one message.
func ContentMD5() Digest {
	return Digest{field: "Content-MD5", algorithm: "md5", message: true}
}

// Wrong is the same field with a well-formed value that is not the content's.
func (d Digest) Wrong() Digest {
	d.wrong = true
	return d
}

var algorithms = map[string]func() hash.Hash{
	"sha-256": sha256.New,
	"sha-512": sha512.New,
	"md5":     md5.New,
}

func known(algorithm string) string {
	if algorithms[algorithm] == nil {
		panic(fmt.Sprintf("urlsessiontest: digest algorithm %q is none of sha-256, sha-512, md5", algorithm))
	}
	return algorithm
}

// value is the field's value for sum.
func (d Digest) value(sum []byte) string {
	if d.wrong {
		sum = append([]byte(nil), sum...)
		sum[0] ^= 1
	}
	b64 := base64.StdEncoding.EncodeToString(sum)
	switch d.field {
	case "Content-MD5":
		return b64
	case "Digest":
		return strings.ToUpper(d.algorithm) + "=" + b64
	}
	return d.algorithm + "=:" + b64 + ":"
}

// sums remembers the digests of a resource's whole content by algorithm.
type sums struct {
	mu   sync.Mutex
	done map[string][]byte
}

func (s *sums) of(c Content, algorithm string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum, ok := s.done[algorithm]
	if !ok {
		sum = sumRange(c, 0, c.Len(), algorithm)
		if s.done == nil {
			s.done = make(map[string][]byte)
		}
		s.done[algorithm] = sum
	}
	return sum
}

func sumRange(c Content, off, n int64, algorithm string) []byte {
	h := algorithms[algorithm]()
	io.Copy(h, io.NewSectionReader(c, off, n)) // content in memory or computed does not fail
	return h.Sum(nil)
}
