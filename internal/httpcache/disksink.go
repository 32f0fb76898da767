package httpcache

import (
	"crypto/rand"
	"errors"
	"os"
	"time"

	"github.com/urlsession/urlsession/internal/durable"
)

// diskSink takes a body: in memory as long as it is small, then in a temporary file, chunk by chunk.
type diskSink struct {
	d      *disk
	buffer []byte // the chunk that is not full yet
	sealed []byte // the last one, sealed; its memory is used again
	f      *os.File
	chunks []byte
	size   int64 // of f
}

func (d *disk) create(size int64) (sink, error) {
	if err := d.begin(); err != nil {
		return nil, d.outcome(err)
	}
	s := &diskSink{d: d}
	if size > 0 {
		s.buffer = make([]byte, 0, min(size, chunkSize))
	}
	return s, nil
}

func (s *diskSink) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), chunkSize-len(s.buffer))
		s.buffer, rest = append(s.buffer, rest[:n]...), rest[n:]
		if len(s.buffer) == chunkSize {
			if err := s.spill(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

// spill writes the chunk to the file.
func (s *diskSink) spill() (err error) {
	if s.f == nil {
		if s.f, err = s.d.temporary(); err != nil {
			return s.d.outcome(err)
		}
	}
	content := s.buffer
	if s.d.sealer != nil {
		if content, err = s.d.sealer.Seal(s.sealed[:0], content); err != nil {
			return s.d.outcome(err)
		}
		s.sealed = content
	}
	if _, err := s.f.Write(content); err != nil {
		return s.d.outcome(err)
	}
	s.chunks = appendChunk(s.chunks, content)
	s.size += int64(len(content))
	s.buffer = s.buffer[:0]
	return nil
}

func (s *diskSink) abandon() {
	if s.f != nil {
		discard(s.f)
		s.f = nil
	}
	s.buffer, s.sealed = nil, nil
}

// commit names the body, if it has a file, then the entry.
func (s *diskSink) commit(k key, h *head, replaced func(*head) bool) error {
	defer s.abandon()
	if len(s.buffer) > 0 && (s.f != nil || len(s.buffer) > inlineMost) {
		if err := s.spill(); err != nil {
			return err
		}
	}
	size, paths, err := s.name(k, h, replaced)
	if err != nil {
		return s.d.outcome(err)
	}
	s.d.stored(size, paths...)
	return nil
}

// name gives the body, then the entry its name. paths are these, and size is what they measure.
func (s *diskSink) name(k key, h *head, replaced func(*head) bool) (size int64, paths []string, err error) {
	s.d.committing.Lock()
	defer s.d.committing.Unlock()
	slot, old := s.d.slot(k, replaced)
	path := s.d.path(k, slot)
	if s.f != nil {
		h.Body, h.Chunks = rand.Text(), s.chunks
		body := s.d.bodyPath(k, slot, h)
		if err := durable.Rename(s.f.Name(), body); err != nil {
			return 0, nil, err
		}
		s.f.Close()
		s.f = nil
		paths = append(paths, body)
		size = blocks(s.size)
	}
	data, err := encodeEntry(h, s.buffer, s.d.sealer)
	if err == nil {
		err = s.d.put(path, data)
	}
	if err != nil {
		if h.Body != "" {
			os.Remove(paths[0])
		}
		return 0, nil, err
	}
	if old != nil && old.Body != "" {
		os.Remove(s.d.bodyPath(k, slot, old))
	}
	return size + blocks(int64(len(data))), append(paths, path), nil
}

// slot is where a new entry of k goes: in place of one that it replaces, else behind the last, else in place of the one that was
// used longest ago. old is the entry that is there. committing is held.
func (d *disk) slot(k key, replaced func(*head) bool) (slot int, old *head) {
	var oldest time.Time
	for i := range maxVariants {
		h, _, used, err := d.read(k, i)
		if errors.Is(err, ErrDamaged) {
			d.removeLocked(k)
			return 0, nil
		}
		if err != nil {
			return i, nil
		}
		if replaced(h) {
			return i, h
		}
		if old == nil || used.Before(oldest) {
			slot, old, oldest = i, h, used
		}
	}
	return slot, old
}

// blocks is about what a file of size bytes takes.
func blocks(size int64) int64 { return (max(size, 1) + block - 1) &^ (block - 1) }
