package httpcache

// writer is a change of a key's entries that is on its way from the moment that the server is asked: a removal in between stops
// it, since what the server says may be from before. It ends by one call of commit, update or abandon.
type writer struct {
	s       *Storage
	key     key
	stopped bool // by s.mu

	sink sink // nil until create
	n    int64
}

func (s *Storage) begin(k key) *writer {
	w := &writer{s: s, key: k}
	s.mu.Lock()
	s.writers[w] = struct{}{}
	s.mu.Unlock()
	return w
}

// create begins a body of size bytes; -1: nobody knows. It is false where that cannot be stored.
func (w *writer) create(size int64) bool {
	if size > w.s.maxEntry {
		return false
	}
	sink, err := w.s.shelf.create(size)
	w.sink = sink
	return err == nil
}

func (w *writer) Write(p []byte) (int, error) {
	if w.n += int64(len(p)); w.n > w.s.maxEntry {
		return 0, errTooLarge
	}
	return w.sink.Write(p)
}

// commit makes an entry of what was written. An error has nobody to go to: the entry is missing.
func (w *writer) commit(h *head, replaced func(*head) bool) {
	if w.isStopped() {
		w.abandon()
		return
	}
	w.sink.commit(w.key, h, replaced)
	w.end()
}

// update gives e another head.
func (w *writer) update(e *stored, h *head) {
	if !w.isStopped() {
		w.s.shelf.update(e, h)
	}
	w.end()
}

func (w *writer) abandon() {
	if w.sink != nil {
		w.sink.abandon()
	}
	w.s.mu.Lock()
	delete(w.s.writers, w)
	w.s.mu.Unlock()
}

func (w *writer) isStopped() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.stopped
}

// end follows a change. A removal meanwhile may have come before it, and is done again.
func (w *writer) end() {
	w.s.mu.Lock()
	delete(w.s.writers, w)
	stopped := w.stopped
	w.s.mu.Unlock()
	if stopped {
		w.s.shelf.remove(w.key)
	}
}
