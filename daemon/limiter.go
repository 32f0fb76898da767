package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/transfer"
)

// limiter keeps the daemon's limits: that of connections as its settings say, and that of the rate as they say for the time of
// the day, or as somebody has set it, until the settings' next change.
type limiter struct {
	limit transfer.Limit
	hosts *engine.Hosts
	read  func() (Settings, error) // Options.Settings
	log   *slog.Logger

	mu       sync.Mutex
	alarm    alarm // run's
	settings Settings
	failure  error     // why the newest settings do not hold
	until    time.Time // when the limit changes next; zero: never
	set      *int64    // by hand, until then
}

// alarm tells that a time has come.
type alarm interface {
	// at has rings receive at a time, in place of the one before; zero: never. It may receive earlier, and does soon after the
	// machine's clock was set.
	at(time.Time)
	rings() <-chan struct{}
	stop()
}

// newLimiter reads the settings. Those that cannot be read do not keep the daemon from its tasks: who started it may not be
// there to mend them.
func newLimiter(o Options) *limiter {
	l := &limiter{hosts: engine.NewHosts(0), read: o.Settings, log: o.Logger}
	if l.read == nil {
		l.read = func() (Settings, error) { return Settings{}, nil }
	}
	_ = l.reload() // status tells
	return l
}

// run changes the limit in time, as an alarm rings, until ctx ends.
func (l *limiter) run(ctx context.Context, a alarm) {
	defer a.stop()
	l.mu.Lock()
	l.alarm = a
	l.look()
	l.mu.Unlock()
	for {
		select {
		case <-a.rings():
			l.mu.Lock()
			l.look()
			l.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// look sets the limit of now, and the alarm for the next. mu is held.
func (l *limiter) look() {
	now := time.Now()
	if l.set != nil && !l.until.IsZero() && !now.Before(l.until) {
		l.set = nil
	}
	rate := l.settings.rate(now)
	if l.set != nil {
		rate = *l.set
	} else {
		l.until = l.settings.change(now)
	}
	if before := l.limit.Rate(); before != rate {
		l.log.Info("the rate limit changes", "bytes a second", rate, "before", before)
		l.limit.Set(rate)
	}
	if l.alarm != nil {
		l.alarm.at(l.until)
	}
}

// setByHand sets the limit until the schedule's next change, or for as long as the daemon runs; 0: none.
func (l *limiter) setByHand(rate int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set, l.until = &rate, l.settings.change(time.Now())
	l.look()
}

// reload reads the settings anew, which then hold, also in place of what was set by hand. What cannot be read changes nothing.
func (l *limiter) reload() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.read()
	if err == nil {
		err = s.check()
	}
	if l.failure = err; err != nil {
		l.log.Error("the settings do not hold", "error", err)
		return fmt.Errorf("%w; those before go on to hold", err)
	}
	l.settings, l.set = s, nil
	l.hosts.SetMaximum(s.MaximumConnectionsPerHost)
	l.look()
	return nil
}

// tell adds to a status.
func (l *limiter) tell(st *control.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	st.RateLimit, st.RateLimitUntil = l.limit.Rate(), l.until
	if l.failure != nil {
		st.SettingsError = l.failure.Error()
	}
}
