package urlsession

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// A task that runs is slowed down and let go faster, by its own limit and its session's.
func TestRateLimitOfARunningTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, srv := startInBubble(t, nil)
		file := urlsessiontest.Body{Seed: 1, Size: 16 << 20}
		srv.Publish("/f", urlsessiontest.Resource{Content: file})
		r := Get(srv.URL + "/f")
		r.RateLimit = 100_000
		task, err := s.DataTask(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		moved := func() int64 {
			status, err := task.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return status.BytesReceived
		}
		for _, c := range []struct{ task, session, want int64 }{
			{100_000, 0, 100_000}, {1000, 0, 1000}, {200_000, 0, 200_000}, {200_000, 50_000, 50_000}, {200_000, 300_000, 200_000}, {0, 300_000, 300_000},
		} {
			if err := task.SetRateLimit(t.Context(), c.task); err != nil {
				t.Fatal(err)
			}
			if err := s.SetRateLimit(t.Context(), c.session); err != nil {
				t.Fatal(err)
			}
			before := moved()
			time.Sleep(10 * time.Second)
			if off := float64(moved()-before)/float64(10*c.want) - 1; math.Abs(off) > .02 {
				t.Errorf("%+v: %+.1f %% off in 10 s", c, 100*off)
			}
			if status, err := task.Status(t.Context()); err != nil || status.RateLimit != c.task {
				t.Errorf("the status says %d, want %d, %v", status.RateLimit, c.task, err)
			}
		}
		for _, set := range []func() error{
			func() error { return s.SetRateLimit(t.Context(), -1) }, func() error { return task.SetRateLimit(t.Context(), -1) },
		} {
			wantCode(t, set(), ErrUnknown)
		}
		if err := s.SetRateLimit(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if body, err := task.Body(t.Context()); err != nil || int64(len(body)) != file.Size || time.Since(begin) > time.Second {
			t.Errorf("%d bytes, %v, after %v", len(body), err, time.Since(begin))
		}
	})
}
