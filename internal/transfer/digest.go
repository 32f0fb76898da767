package transfer

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
)

// An algorithm is one of those that a digest may be of.
type algorithm struct {
	name string // of the Hash Algorithms for HTTP Digest Fields registry
	size int    // of a digest, in bytes
	new  func() hash.Hash
}

// algorithms, the strongest first. The others of the registry are unknown to us, and ignored.
var algorithms = []*algorithm{
	{"sha-512", sha512.Size, sha512.New},
	{"sha-256", sha256.Size, sha256.New},
	{"md5", md5.Size, md5.New},
}

// algorithmNamed is nil for an unknown one. Letters count in either case.
func algorithmNamed(name string) *algorithm {
	for _, a := range algorithms {
		if strings.EqualFold(a.name, name) {
			return a
		}
	}
	return nil
}

// A verifier hashes a file while it is written and compares it with what it must be.
type verifier struct {
	wanted  []expectation // by the user: they last
	claimed []expectation // by the response: they go with it
	hashes  []running
}

// running is one hash on its way through the file.
type running struct {
	*algorithm
	hash.Hash
	upto int64 // of the file's bytes
}

// want adds an expectation of the user's.
func (v *verifier) want(e ...expectation) { v.wanted = append(v.wanted, e...) }

// maxClaims bounds the claims that are kept: a file in many ranges can bring new ones with each.
const maxClaims = 32

// claim adds expectations of a response.
func (v *verifier) claim(list ...expectation) {
	for _, e := range list {
		known := slices.ContainsFunc(v.claimed, func(c expectation) bool {
			return c.algorithm == e.algorithm && bytes.Equal(c.sum, e.sum)
		})
		if !known && len(v.claimed) < maxClaims {
			v.claimed = append(v.claimed, e)
		}
	}
}

// asked reports whether the user gave a digest.
func (v *verifier) asked() bool { return len(v.wanted) > 0 }

// restart forgets what was hashed and what a response claimed.
func (v *verifier) restart() { v.claimed, v.hashes = nil, nil }

// prepare starts the hashes that the expectations need, and brings all of them to position upto by reading file.
func (v *verifier) prepare(ctx context.Context, file io.ReaderAt, upto int64) error {
	for _, list := range [][]expectation{v.wanted, v.claimed} {
		for _, e := range list {
			if v.running(e.algorithm) == nil {
				v.hashes = append(v.hashes, running{e.algorithm, e.algorithm.new(), 0})
			}
		}
	}
	for i := range v.hashes {
		h := &v.hashes[i]
		if h.upto == upto {
			continue
		}
		buf := takeBuffer(upto - h.upto)
		n, err := io.CopyBuffer(writerOnly{h}, untilDone{ctx, io.NewSectionReader(file, h.upto, upto-h.upto)}, buf.b)
		buf.free()
		h.upto += n
		if err != nil {
			return err
		}
		if h.upto != upto {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

// writerOnly hides that a hash may read by itself, so that the given buffer is used.
type writerOnly struct{ io.Writer }

// untilDone reads until a context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

func (v *verifier) running(a *algorithm) *running {
	for i := range v.hashes {
		if v.hashes[i].algorithm == a {
			return &v.hashes[i]
		}
	}
	return nil
}

// write hashes the file's next bytes.
func (v *verifier) write(p []byte) {
	for i := range v.hashes {
		v.hashes[i].Write(p)
		v.hashes[i].upto += int64(len(p))
	}
}

// verify compares. digest is the strongest of those that the file was found to have, "sha-256=HEX"; empty: nothing was
// expected. Before it, prepare brought all hashes to the file's end.
func (v *verifier) verify() (digest string, err error) {
	for _, list := range [][]expectation{v.wanted, v.claimed} {
		for _, e := range list {
			if sum := v.running(e.algorithm).Sum(nil); !bytes.Equal(sum, e.sum) {
				return "", fmt.Errorf("%s is %x, and %s says %x", e.algorithm.name, sum, e.source, e.sum)
			}
		}
	}
	for _, a := range algorithms {
		if h := v.running(a); h != nil {
			return a.name + "=" + hex.EncodeToString(h.Sum(nil)), nil
		}
	}
	return "", nil
}
