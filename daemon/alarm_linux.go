package daemon

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// clockAlarm is an alarm by the clock on the wall: timerfd_create(2) with TFD_TIMER_CANCEL_ON_SET also rings when that clock is
// set, and while the machine sleeps time goes on. It costs nothing while it does not ring.
type clockAlarm struct {
	file *os.File
	c    chan struct{}
	done chan struct{}
}

func newAlarm() alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil { // a sandbox without it
		return newTimerAlarm()
	}
	a := &clockAlarm{file: os.NewFile(uintptr(fd), "timerfd"), c: make(chan struct{}, 1), done: make(chan struct{})}
	go a.listen()
	return a
}

func (a *clockAlarm) listen() {
	defer close(a.done)
	expirations := make([]byte, 8)
	for {
		_, err := a.file.Read(expirations)
		if err != nil && !errors.Is(err, unix.ECANCELED) {
			return // stop has closed it
		}
		ring(a.c)
	}
}

func (a *clockAlarm) at(t time.Time) {
	var when unix.ItimerSpec // zero disarms it
	if !t.IsZero() {
		when.Value = unix.NsecToTimespec(t.UnixNano())
	}
	c, err := a.file.SyscallConn()
	if err != nil {
		return // stop has closed it
	}
	_ = c.Control(func(fd uintptr) { // its error is of a time before 1970
		_ = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &when, nil)
	})
}

func (a *clockAlarm) rings() <-chan struct{} { return a.c }

func (a *clockAlarm) stop() {
	a.file.Close()
	<-a.done
}
