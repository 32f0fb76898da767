package httpcache

import (
	"bytes"
	"container/list"
	"context"
	"io"
	"sync"
	"time"
)

// memory is a shelf in memory.
type memory struct {
	capacity int64

	mu   sync.Mutex
	used int64
	keys map[key][]*list.Element // of *memoryEntry
	lru  *list.List              // the one used last in front
}

type memoryEntry struct {
	key  key
	head *head
	body []byte // not changed
	used time.Time
}

func newMemory(capacity int64) *memory {
	return &memory{capacity: capacity, keys: make(map[key][]*list.Element), lru: list.New()}
}

func (m *memory) find(k key, wanted func(*head) bool) *stored {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found *list.Element
	for _, el := range m.keys[k] {
		if h := el.Value.(*memoryEntry).head; wanted(h) && (found == nil || h.Received.After(found.Value.(*memoryEntry).head.Received)) {
			found = el
		}
	}
	if found == nil {
		return nil
	}
	m.lru.MoveToFront(found)
	e := found.Value.(*memoryEntry)
	e.used = time.Now()
	return &stored{key: k, head: e.head, body: bytesBody(e.body)}
}

func (m *memory) create(size int64) (sink, error) {
	s := &memorySink{m: m}
	if size > 0 {
		s.body = make([]byte, 0, min(size, chunkSize)) // no more on a server's mere word
	}
	return s, nil
}

type memorySink struct {
	m    *memory
	body []byte
}

func (s *memorySink) Write(p []byte) (int, error) {
	s.body = append(s.body, p...)
	return len(p), nil
}

func (s *memorySink) abandon() { s.body = nil }

func (s *memorySink) commit(k key, h *head, replaced func(*head) bool) error {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	var oldest *list.Element
	for _, el := range append([]*list.Element(nil), m.keys[k]...) {
		e := el.Value.(*memoryEntry)
		if replaced(e.head) {
			m.drop(el)
		} else if oldest == nil || e.used.Before(oldest.Value.(*memoryEntry).used) {
			oldest = el
		}
	}
	if len(m.keys[k]) >= maxVariants {
		m.drop(oldest)
	}
	if cap(s.body)-len(s.body) > len(s.body)/8 {
		s.body = bytes.Clone(s.body)
	}
	e := &memoryEntry{key: k, head: h, body: s.body, used: time.Now()}
	m.keys[k] = append(m.keys[k], m.lru.PushFront(e))
	m.used += e.size()
	for m.used > m.capacity {
		m.drop(m.lru.Back())
	}
	return nil
}

// size is about what an entry takes.
func (e *memoryEntry) size() int64 { return int64(len(e.body)) + e.head.size() }

func (h *head) size() int64 {
	n := 512 + len(h.URL)
	for name, values := range h.Header {
		n += 64 + len(name)
		for _, v := range values {
			n += 16 + len(v)
		}
	}
	return int64(n)
}

// drop takes an entry out. m.mu is held.
func (m *memory) drop(el *list.Element) {
	e := m.lru.Remove(el).(*memoryEntry)
	m.used -= e.size()
	els := m.keys[e.key]
	for i := range els {
		if els[i] == el {
			els = append(els[:i], els[i+1:]...)
			break
		}
	}
	if m.keys[e.key] = els; len(els) == 0 {
		delete(m.keys, e.key)
	}
}

func (m *memory) update(s *stored, h *head) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, el := range m.keys[s.key] {
		if e := el.Value.(*memoryEntry); bytes.Equal(e.head.ID, h.ID) {
			m.used += h.size() - e.head.size()
			e.head = h
		}
	}
	for m.used > m.capacity {
		m.drop(m.lru.Back())
	}
	return nil
}

func (m *memory) remove(k key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.keys[k]) > 0 {
		m.drop(m.keys[k][0])
	}
	return nil
}

func (m *memory) flush(context.Context) error { return nil }

func (m *memory) reset(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.keys)
	m.lru.Init()
	m.used = 0
	return nil
}

func (m *memory) entries(fn func(key, *head, int64, time.Time)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for el := m.lru.Front(); el != nil; el = el.Next() {
		e := el.Value.(*memoryEntry)
		fn(e.key, e.head, e.size(), e.used)
	}
	return nil
}

func (m *memory) size() (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used, nil
}

// bytesBody is a body in memory.
type bytesBody []byte

func (b bytesBody) section(from, length int64) io.ReadCloser {
	return io.NopCloser(bytes.NewReader(b[from : from+length]))
}

func (bytesBody) close() {}
