package httpcache

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"github.com/urlsession/urlsession/internal/task"
)

// fileBody is a body in a file of its own, open.
type fileBody struct {
	d   *disk
	key key
	f   *os.File
	h   *head
}

func (b *fileBody) close() { b.f.Close() }

// section reads chunk after chunk: no byte of one is given away before all of it is known to be what was stored. It takes
// chunkSize bytes of memory.
func (b *fileBody) section(from, length int64) io.ReadCloser {
	r := &fileReader{b: b, left: length, skip: from % chunkSize, next: int(from / chunkSize)}
	for i := range r.next {
		size, _ := chunkAt(b.h.Chunks, i)
		r.offset += size
	}
	return r
}

type fileReader struct {
	b    *fileBody
	once sync.Once // of Close, which may come while Read goes on: the file's own lock orders them

	chunk  []byte // what was not read yet of the current chunk
	buffer []byte
	opened []byte // what was sealed in it
	next   int    // chunk
	offset int64  // of it, in the file
	skip   int64  // bytes at its beginning that are before the section
	left   int64  // bytes of the section
	err    error
}

func (r *fileReader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if len(r.chunk) == 0 {
		if r.err = r.load(); r.err != nil {
			return 0, r.err
		}
	}
	n := copy(p, r.chunk[:min(int64(len(r.chunk)), r.left)])
	r.chunk, r.left = r.chunk[n:], r.left-int64(n)
	return n, nil
}

// load reads the next chunk. One that is not what was stored ends the body as a lost connection does, which a task may retry,
// and removes the entry, so that the next try asks the server.
func (r *fileReader) load() error {
	size, sum := chunkAt(r.b.h.Chunks, r.next)
	if size > 2*chunkSize {
		return r.damaged(ErrDamaged)
	}
	if int64(cap(r.buffer)) < size {
		r.buffer = make([]byte, size)
	}
	chunk := r.buffer[:size]
	if _, err := r.b.f.ReadAt(chunk, r.offset); errors.Is(err, os.ErrClosed) {
		return err
	} else if err != nil {
		return r.damaged(errors.Join(ErrDamaged, err))
	}
	if crc32.Checksum(chunk, castagnoli) != sum {
		return r.damaged(ErrDamaged)
	}
	if r.b.d.sealer != nil {
		var err error
		if chunk, err = r.b.d.sealer.Open(r.opened[:0], chunk); err != nil {
			return r.damaged(err)
		}
		r.opened = chunk
	}
	if want := min(chunkSize, r.b.h.Length-int64(r.next)*chunkSize); int64(len(chunk)) != want {
		return r.damaged(ErrDamaged)
	}
	r.chunk = chunk[r.skip:]
	r.next, r.offset, r.skip = r.next+1, r.offset+size, 0
	return nil
}

func (r *fileReader) damaged(err error) error {
	if errors.Is(err, ErrDamaged) {
		r.b.d.remove(r.b.key)
	}
	return fileError("read from the cache", r.b.f.Name(), task.ConnectionLost, err)
}

func (r *fileReader) Close() (err error) {
	r.once.Do(func() { err = r.b.f.Close() })
	return err
}
