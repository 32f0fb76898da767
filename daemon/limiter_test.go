package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/control"
)

// counted is an alarm that counts how often it has rung.
type counted struct {
	alarm
	rung int
	c    chan struct{}
}

// limiting runs f beside a limiter, in a bubble whose clock begins at midnight of 2000-01-01, a Saturday, UTC.
func limiting(t *testing.T, settings func() (Settings, error), f func(*limiter, *counted)) {
	synctest.Test(t, func(t *testing.T) {
		before := time.Local
		time.Local = time.UTC
		defer func() { time.Local = before }()
		l := newLimiter(Options{Settings: settings, Logger: slog.New(slog.DiscardHandler)})
		a := &counted{alarm: newTimerAlarm(), c: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { l.run(ctx, a) })
		running.Go(func() {
			for {
				select {
				case <-a.alarm.rings():
					a.rung++
					a.c <- struct{}{}
				case <-ctx.Done():
					return
				}
			}
		})
		synctest.Wait()
		f(l, a)
		cancel()
		running.Wait()
	})
}

func (a *counted) rings() <-chan struct{} { return a.c }

func scheduled() (Settings, error) {
	return Settings{RateLimit: 1000, Schedule: []Span{
		{From: clock(8, 0), To: clock(18, 0), RateLimit: 100}, {From: clock(22, 0), To: clock(6, 0)},
	}}, nil
}

// TestLimiterKeepsTime: the limit changes at the minute, and nobody is woken for nothing, but once an hour.
func TestLimiterKeepsTime(t *testing.T) {
	limiting(t, scheduled, func(l *limiter, a *counted) {
		for _, c := range []struct {
			hour int
			rate int64
		}{{0, 0}, {6, 1000}, {8, 100}, {18, 1000}, {22, 0}, {30, 1000}, {32, 100}} {
			at := time.Date(2000, 1, 1, c.hour, 0, 0, 0, time.UTC)
			if before := time.Until(at) - time.Millisecond; before > 0 {
				rate := l.limit.Rate()
				time.Sleep(before)
				if synctest.Wait(); l.limit.Rate() != rate {
					t.Errorf("the limit has changed before %v", at)
				}
				time.Sleep(time.Millisecond)
			}
			if synctest.Wait(); l.limit.Rate() != c.rate {
				t.Errorf("at %v it is %d, want %d", at, l.limit.Rate(), c.rate)
			}
		}
		if a.rung > 32+6 {
			t.Errorf("it was woken %d times in 32 hours", a.rung)
		}
	})
	limiting(t, nil, func(l *limiter, a *counted) {
		if time.Sleep(1000 * time.Hour); a.rung > 0 {
			t.Errorf("without a schedule it was woken %d times", a.rung)
		}
	})
}

// TestLimiterByHand: what was set by hand holds until the schedule's next change, or a reload.
func TestLimiterByHand(t *testing.T) {
	limiting(t, scheduled, func(l *limiter, _ *counted) {
		want := func(rate int64, until int) {
			t.Helper()
			synctest.Wait()
			var st control.Status
			if l.tell(&st); st.RateLimit != rate || !st.RateLimitUntil.Equal(time.Date(2000, 1, 1, until, 0, 0, 0, time.UTC)) {
				t.Errorf("%v: it is %d until %v", time.Now(), st.RateLimit, st.RateLimitUntil)
			}
		}
		want(0, 6)
		l.setByHand(7)
		want(7, 6)
		time.Sleep(6 * time.Hour)
		want(1000, 8)
		l.setByHand(0)
		time.Sleep(2*time.Hour - time.Millisecond)
		want(0, 8)
		time.Sleep(time.Millisecond)
		want(100, 18)
		l.setByHand(9)
		want(9, 18)
		must(t, l.reload())
		want(100, 18)
	})
	limiting(t, nil, func(l *limiter, _ *counted) {
		l.setByHand(7)
		if time.Sleep(1000 * time.Hour); l.limit.Rate() != 7 {
			t.Errorf("it is %d", l.limit.Rate())
		}
	})
}

// TestLimiterReloads: settings that are none change nothing but the status.
func TestLimiterReloads(t *testing.T) {
	bad := errors.New("config.toml:7: a mistake")
	settings, err := Settings{RateLimit: 5}, bad
	limiting(t, func() (Settings, error) { return settings, err }, func(l *limiter, _ *counted) {
		want := func(rate int64, failure string) {
			t.Helper()
			var st control.Status
			if l.tell(&st); st.RateLimit != rate || st.SettingsError != failure {
				t.Errorf("the limit is %d, and the error %q; want %d, %q", st.RateLimit, st.SettingsError, rate, failure)
			}
		}
		want(0, bad.Error()) // and it runs
		err = nil
		must(t, l.reload())
		want(5, "")
		settings, err = Settings{RateLimit: 6}, bad
		if got := l.reload(); !errors.Is(got, bad) {
			t.Errorf("%v", got)
		}
		want(5, bad.Error())
		settings, err = Settings{RateLimit: -6}, nil
		if got := l.reload(); got == nil {
			t.Error("a negative limit was taken")
		}
		settings = Settings{}
		must(t, l.reload())
		want(0, "")
	})
}

// TestAlarm: that of this system rings at its time and not before, and is not disturbed by one that it was set to before.
func TestAlarm(t *testing.T) {
	a := newAlarm()
	defer a.stop()
	a.at(time.Now().Add(time.Hour))
	a.at(time.Time{})
	begin := time.Now()
	a.at(begin.Add(50 * time.Millisecond))
	waitFor(t, "the alarm", a.rings())
	if took := time.Since(begin); took < 50*time.Millisecond {
		t.Errorf("it rang after %v", took)
	}
	a.at(begin) // which is over
	waitFor(t, "the alarm", a.rings())
}
