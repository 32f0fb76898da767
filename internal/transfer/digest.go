package transfer

import (
	"bytes"
	"cmp"
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
	"sync"
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

// A verifier hashes a file while it is written and compares it with what it must be. Its methods are called by one
// goroutine at a time, but for write and the follower's, which may run beside one another.
type verifier struct {
	wanted  []expectation // by the user: they last
	claimed []expectation // by the response: they go with it

	mu     sync.Mutex // of what the hashes have come to
	hashes []running
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

// prepare starts the hashes that the expectations need, and brings all of them to position upto by reading file, those
// that lag far behind at once.
func (v *verifier) prepare(ctx context.Context, file io.ReaderAt, upto int64) error {
	for _, list := range [][]expectation{v.wanted, v.claimed} {
		for _, e := range list {
			if v.running(e.algorithm) == nil {
				v.hashes = append(v.hashes, running{e.algorithm, e.algorithm.new(), 0})
			}
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.catchUp(ctx, file, upto)
}

// parallelBytes is from how many bytes on each hash has a goroutine of its own.
const parallelBytes = 1 << 20

// catchUp brings all hashes to position upto. Called with mu.
func (v *verifier) catchUp(ctx context.Context, file io.ReaderAt, upto int64) error {
	if len(v.hashes) == 1 {
		return v.hashes[0].read(ctx, file, upto)
	}
	var behind sync.WaitGroup
	errs := make([]error, len(v.hashes))
	for i := range v.hashes {
		h := &v.hashes[i]
		if upto-h.upto < parallelBytes || i == len(v.hashes)-1 {
			errs[i] = h.read(ctx, file, upto)
			continue
		}
		behind.Go(func() { errs[i] = h.read(ctx, file, upto) })
	}
	behind.Wait()
	return cmp.Or(errs...)
}

// read hashes the file's bytes up to position upto.
func (h *running) read(ctx context.Context, file io.ReaderAt, upto int64) error {
	if h.upto == upto {
		return nil
	}
	buf := takeBuffer(upto - h.upto)
	defer buf.free()
	n, err := io.CopyBuffer(writerOnly{h}, untilDone{ctx, io.NewSectionReader(file, h.upto, upto-h.upto)}, buf.b)
	h.upto += n
	if err == nil && h.upto != upto {
		err = io.ErrUnexpectedEOF
	}
	return err
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

// write hashes bytes that were written to the file at position at, where they are the next ones. Those that are not,
// or come while the follower hashes, are read later.
func (v *verifier) write(p []byte, at int64) {
	if !v.mu.TryLock() {
		return
	}
	defer v.mu.Unlock()
	for i := range v.hashes {
		if h := &v.hashes[i]; h.upto == at {
			h.Write(p)
			h.upto += int64(len(p))
		}
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
