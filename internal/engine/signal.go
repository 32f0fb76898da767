package engine

import "sync/atomic"

// signal wakes everybody who waits at the moment. It costs an atomic read while nobody does.
type signal struct{ ch atomic.Pointer[chan struct{}] }

// wait is closed at the next notify. To miss none, take it before looking at what it announces.
func (s *signal) wait() <-chan struct{} {
	for {
		if ch := s.ch.Load(); ch != nil {
			return *ch
		}
		ch := make(chan struct{})
		if s.ch.CompareAndSwap(nil, &ch) {
			return ch
		}
	}
}

// notify is called after what it announces has happened.
func (s *signal) notify() {
	if s.ch.Load() == nil {
		return
	}
	if ch := s.ch.Swap(nil); ch != nil {
		close(*ch)
	}
}
