package transfer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

func TestLimitThatIsSetMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limit
		took := func(n int, meanwhile func()) time.Duration {
			start := time.Now()
			done := make(chan error)
			go func() { done <- l.wait(t.Context(), n) }()
			if meanwhile != nil {
				time.Sleep(time.Second)
				meanwhile()
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		if d := took(1<<40, nil); d != 0 || l.piece(1<<20) != 1<<20 {
			t.Errorf("no limit took %v", d)
		}
		l.Set(1 << 20)
		if d := took(1<<18+10<<20, nil); d < 10*time.Second || d > 10*time.Second+time.Millisecond {
			t.Errorf("10 MiB beyond the burst took %v at 1 MiB/s", d)
		}
		if d := took(1<<30, func() { l.Set(0) }); d != time.Second {
			t.Errorf("once the limit was lifted, it still waited until %v", d)
		}
		l.Set(1)
		if d := took(1<<30, func() { l.Set(1 << 30) }); d > 3*time.Second {
			t.Errorf("it waited by the limit before: %v", d)
		}
		before := l.now()
		if l.Set(1 << 30); l.now() != before {
			t.Error("the same limit again gave a new burst")
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		mine := errors.New("mine")
		l.Set(1)
		time.AfterFunc(time.Second, func() { cancel(mine) })
		if err := l.wait(ctx, 1<<30); err != mine {
			t.Errorf("%v", err)
		}
	})
	var none Limits
	if none.piece(1<<20) != 1<<20 || none.wait(context.Background(), 1<<30) != nil {
		t.Error("no limit at all limits")
	}
}

// A device has another number after a reboot: the file is the same.
func TestSourceOnADeviceOfAnotherNumber(t *testing.T) {
	_, a := newData(t)
	fromFile(t, a, file)
	a.Spec.Request.Method = "PUT"
	a.Spec.Request.Body.Source.Device++
	if _, err := Run(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	a.Spec.Request.Body.Source.Inode++
	_, err := Run(t.Context(), a)
	wantCode(t, err, task.SourceChanged)
}

func TestResultUnsent(t *testing.T) {
	_, a := newData(t)
	if res, err := Run(t.Context(), a); err != nil || res.Unsent {
		t.Errorf("answered, and unsent: %v, %v", res.Unsent, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res, err := Run(ctx, a); err == nil || !res.Unsent {
		t.Errorf("ended before it began, and sent: %v, %v", res.Unsent, err)
	}
}

// BenchmarkNoLimit: what a piece of a body costs where a limit may be set, and is not.
func BenchmarkNoLimit(b *testing.B) {
	r := &run{Attempt: &Attempt{Limits: Limits{new(Limit)}}}
	for b.Loop() {
		r.Limits.piece(1 << 20)
		r.throttle(b.Context(), 1<<20)
	}
}
