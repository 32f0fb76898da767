package httpcache

import (
	"io"
	"sync"
)

// tee is the body of a response that is stored while it is read. It ends as an entry when the body ends as it should: at its
// clean end, or closed when all of the length that was said has been read. What fails about storing is not the reader's.
type tee struct {
	body     io.ReadCloser
	want     int64 // bytes; -1: the end says it
	h        *head
	selected func(*head) bool

	mu sync.Mutex // Close may come while Read waits
	n  int64
	w  *writer // nil: it was finished, or given up
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.body.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n += int64(n)
	if t.w != nil && n > 0 {
		if _, werr := t.w.Write(p[:n]); werr != nil {
			t.abandon()
		}
	}
	switch {
	case err == io.EOF && (t.want < 0 || t.n == t.want):
		t.finish()
	case err != nil:
		t.abandon()
	}
	return n, err
}

func (t *tee) Close() error {
	t.mu.Lock()
	if t.want >= 0 && t.n == t.want {
		t.finish()
	} else {
		t.abandon()
	}
	t.mu.Unlock()
	return t.body.Close()
}

func (t *tee) finish() {
	if t.w != nil {
		t.h.Length = t.n
		t.w.commit(t.h, t.selected)
		t.w = nil
	}
}

func (t *tee) abandon() {
	if t.w != nil {
		t.w.abandon()
		t.w = nil
	}
}
