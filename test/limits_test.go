package test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
)

// TestLimits measures what a limit lets pass in 10 s over real sockets: the first of all, and those after a second. It takes the
// time that it takes, and a machine that is not busy, so that it runs only when it is asked for: URLSESSION_LIMITS=1.
func TestLimits(t *testing.T) {
	if os.Getenv("URLSESSION_LIMITS") == "" {
		t.Skip("URLSESSION_LIMITS is not set")
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for p := make([]byte, 1<<18); ; {
			var err error
			if r.Method == http.MethodPut {
				_, err = r.Body.Read(p)
			} else {
				_, err = w.Write(p)
			}
			if err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "sparse")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 1<<40); err != nil {
		t.Fatal(err)
	}
	for _, rate := range []int64{1 << 10, 64 << 10, 10 << 20, 100 << 20} {
		for _, tasks := range []int{1, 6} {
			for _, kind := range []urlsession.Kind{urlsession.KindData, urlsession.KindUpload} {
				t.Run(fmt.Sprintf("%d B/s over %d tasks, %s", rate, tasks, kind), func(t *testing.T) {
					c := urlsession.Ephemeral()
					c.RateLimit = rate
					s, err := urlsession.New(c)
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					m := &measure{since: time.Now(), from: [2]time.Duration{0, time.Second}}
					ctx, cancel := context.WithTimeout(t.Context(), 11*time.Second)
					defer cancel()
					var running sync.WaitGroup
					for range tasks {
						task := begin(t, s, kind, srv.URL, file)
						running.Go(func() { m.follow(ctx, task) })
					}
					running.Wait()
					s.InvalidateAndCancel(t.Context())
					for i, moved := range m.moved {
						off := 100 * (float64(moved)/float64(10*rate) - 1)
						t.Logf("the 10 s from %v: %d bytes, %+.2f %%", m.from[i], moved, off)
						if off < -2 || off > 2 {
							t.Errorf("%+.2f %% off", off)
						}
					}
				})
			}
		}
	}
}

func begin(t *testing.T, s *urlsession.Session, kind urlsession.Kind, url, file string) (task *urlsession.Task) {
	r, err := urlsession.Get(url), error(nil)
	if kind == urlsession.KindUpload {
		task, err = s.UploadTask(t.Context(), urlsession.Put(url, urlsession.File(file)))
	} else {
		r.Stream = true
		task, err = s.DataTask(t.Context(), r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// measure is how many bytes have moved in the 10 s from each of two times on.
type measure struct {
	since time.Time
	from  [2]time.Duration

	mu    sync.Mutex
	moved [2]int64
}

func (m *measure) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := time.Since(m.since)
	for i, from := range m.from {
		if at >= from && at < from+10*time.Second {
			m.moved[i] += n
		}
	}
}

// follow adds what a task moves, until ctx ends.
func (m *measure) follow(ctx context.Context, task *urlsession.Task) {
	var looking sync.WaitGroup
	defer looking.Wait()
	looking.Go(func() { // an upload's progress is told seldom
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for sent := int64(0); ctx.Err() == nil; <-tick.C {
			if status, err := task.Status(ctx); err == nil {
				m.add(status.BytesSent - sent)
				sent = status.BytesSent
			}
		}
	})
	for ev := range task.Events(ctx) {
		if data, ok := ev.(urlsession.DataReceived); ok {
			m.add(int64(len(data.Data)))
		}
	}
}
