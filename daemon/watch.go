package daemon

import "time"

// every has ticks receive at each interval, until stop is called.
func every(d time.Duration) (ticks <-chan struct{}, stop func()) {
	told, done, gone := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	t := time.NewTicker(d)
	go func() {
		defer close(gone)
		for {
			select {
			case <-t.C:
			case <-done:
				return
			}
			select {
			case told <- struct{}{}:
			default:
			}
		}
	}()
	return told, func() {
		t.Stop()
		close(done)
		<-gone
	}
}
