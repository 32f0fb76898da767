package sqlitestore

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// newRecord is a download such as an app queues a million of.
func newRecord(n int) *task.Record {
	name := "part-" + strconv.Itoa(n) + ".bin"
	return &task.Record{
		State:   task.Running,
		Created: time.Now(),
		Since:   time.Now(),
		Counts:  task.Counts{ExpectedToReceive: -1},
		Spec: task.Spec{
			Kind: task.Download,
			Request: task.Request{
				Method: "GET",
				URL:    "https://download.example.com/data/" + name,
				Header: http.Header{"Authorization": {"Bearer 0123456789abcdef"}},
			},
			Policy:   task.Policy{RequestTimeout: time.Minute, ResourceTimeout: 7 * 24 * time.Hour, Retries: -1, WaitsForConnectivity: true},
			Download: &task.DownloadSpec{Destination: "data/" + name, Path: "/home/user/data/" + name},
		},
	}
}

func newRecords(n int) []*task.Record {
	recs := make([]*task.Record, n)
	for i := range recs {
		recs[i] = newRecord(i)
	}
	return recs
}

// BenchmarkCreateBatched: one caller, 10,000 tasks a call; an operation is a task.
func BenchmarkCreateBatched(b *testing.B) {
	s := newSessionStore(b)
	const size = 10_000
	recs := newRecords(size)
	b.ResetTimer()
	for left := b.N; left > 0; left -= size {
		must(b, s.Create(b.Context(), recs[:min(size, left)]...))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// BenchmarkCreate64: 64 callers, one task a call, each durable when it returns.
func BenchmarkCreate64(b *testing.B) { benchCallers(b, 64) }

// BenchmarkCreate1: one caller: what an fsync costs.
func BenchmarkCreate1(b *testing.B) { benchCallers(b, 1) }

func benchCallers(b *testing.B, callers int) {
	s := newSessionStore(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	var n atomic.Int64
	for range callers {
		wg.Go(func() {
			for {
				i := n.Add(1)
				if i > int64(b.N) {
					return
				}
				if err := s.Create(b.Context(), newRecord(int(i))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// BenchmarkLife64: 64 tasks at once from creation to end, as an engine writes them: three commits, five events.
func BenchmarkLife64(b *testing.B) {
	s := newSessionStore(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	var n atomic.Int64
	for range 64 {
		wg.Go(func() {
			for {
				i := n.Add(1)
				if i > int64(b.N) {
					return
				}
				if err := live(b.Context(), s, newRecord(int(i))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// BenchmarkPending: an operation is a task that has not ended, of 100,000.
func BenchmarkPending(b *testing.B) {
	s := newSessionStore(b)
	for range 10 {
		must(b, s.Create(b.Context(), newRecords(10_000)...))
	}
	b.ResetTimer()
	var after task.ID
	for left := b.N; left > 0; {
		page, err := s.Pending(b.Context(), after, min(1000, left))
		must(b, err)
		if len(page) == 0 {
			after = 0
			continue
		}
		after = page[len(page)-1].ID
		left -= len(page)
	}
}

// BenchmarkEvents: an operation is an event, read 64 at a time as a listener does, from memory and from the database.
func BenchmarkEvents(b *testing.B) {
	s := newSessionStore(b)
	for i := range 200 {
		must(b, live(b.Context(), s, newRecord(i)))
	}
	ses, err := s.db.lookup("s")
	must(b, err)
	for _, from := range []string{"memory", "database"} {
		if from == "database" {
			ses.recent = recent{}
		}
		b.Run(from, func(b *testing.B) {
			var after uint64
			for left := b.N; left > 0; {
				evs, err := s.Events(b.Context(), after, 0, min(64, left))
				must(b, err)
				if len(evs) == 0 {
					after = 0
					continue
				}
				after = evs[len(evs)-1].Sequence
				left -= len(evs)
			}
		})
	}
}

// BenchmarkEventsOne: an operation is a call that reads one event of the database, of 600.
func BenchmarkEventsOne(b *testing.B) {
	s := newSessionStore(b)
	for i := range 200 {
		must(b, live(b.Context(), s, newRecord(i)))
	}
	ses, err := s.db.lookup("s")
	must(b, err)
	ses.recent = recent{}
	for i := range b.N {
		_, err := s.Events(b.Context(), uint64(i%600), 0, 1+i%2)
		must(b, err)
	}
}
