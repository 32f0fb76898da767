package engine

import "sync"

// signal wakes everybody who waits at the moment. It costs a lock while nobody does.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait is closed at the next notify. To miss none, take it before looking at what it announces.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
