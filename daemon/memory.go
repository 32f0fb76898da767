package daemon

import (
	"runtime/debug"
	"time"
)

// gcPercent trades some processor time for memory, in a process that is the daemon's own: what it holds for long is small,
// and what a batch makes is garbage soon.
const gcPercent = 50

func tuneMemory() { debug.SetGCPercent(gcPercent) }

// trimAfter is how long after the last large request memory is given back to the system.
const trimAfter = 5 * time.Second

// trimmer gives memory back once a burst is over. It has no timer while there is none. Nil: it does nothing.
type trimmer struct{ timer *time.Timer }

func newTrimmer(o Options) *trimmer {
	if !o.OwnsProcess {
		return nil
	}
	t := time.AfterFunc(trimAfter, debug.FreeOSMemory) // the start itself is a burst
	return &trimmer{t}
}

func (t *trimmer) burst() {
	if t != nil {
		t.timer.Reset(trimAfter)
	}
}

func (t *trimmer) stop() {
	if t != nil {
		t.timer.Stop()
	}
}
