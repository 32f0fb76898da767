package daemon

import "time"

// timerAlarm is an alarm by a timer, which knows nothing of the machine's clock and stands still while the machine sleeps: so
// it rings once an hour, too.
type timerAlarm struct {
	timer *time.Timer
	c     chan struct{}
}

func newTimerAlarm() alarm {
	a := &timerAlarm{c: make(chan struct{}, 1)}
	a.timer = time.AfterFunc(time.Hour, func() { ring(a.c) })
	a.timer.Stop()
	return a
}

func (a *timerAlarm) at(t time.Time) {
	a.timer.Stop()
	if !t.IsZero() {
		a.timer.Reset(min(time.Until(t.Round(0)), time.Hour)) // by the clock on the wall
	}
}

func (a *timerAlarm) rings() <-chan struct{} { return a.c }
func (a *timerAlarm) stop()                  { a.timer.Stop() }

// ring has a channel of one place receive.
func ring(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
