package server

import (
	"net/http"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// nowhere is a ResponseWriter.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header       { return n.header }
func (nowhere) WriteHeader(int)             {}
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Flush()                      {}

// BenchmarkProgress: an operation is a progress event of one of 1,000 tasks, told to 10 listeners that keep up, a tick of
// all tasks at a time.
func BenchmarkProgress(b *testing.B) {
	h, p := new(hub), new(pump)
	h.pump, h.newest, h.members = p, make(map[control.Progress]*item), make(map[*subscriber]struct{})
	listeners := make([]*listening, 10)
	subscribers := make([]*subscriber, len(listeners))
	for i := range listeners {
		subscribers[i] = &subscriber{changed: make(chan struct{}, 1)}
		h.join(subscribers[i])
		listeners[i] = &listening{hub: h, out: newStream(nowhere{http.Header{}}, time.Hour, 0)}
		defer listeners[i].out.close()
	}
	var items []*item
	b.ReportAllocs()
	for n := range b.N {
		ev := task.Event{Session: "bench", Task: task.ID(1 + n%1000), Time: time.Now(),
			Detail: task.DownloadProgress{Written: 256, Total: int64(1+n/1000) * 256, Expected: 1 << 30}}
		it := &item{ev: ev, live: control.ProgressOf(&ev)}
		var err error
		if it.frame, err = frameOf(ev); err != nil {
			b.Fatal(err)
		}
		h.hand(p, it)
		if n%1000 != 999 {
			continue
		}
		for i, l := range listeners {
			items, _ = h.take(subscribers[i], items[:0])
			for _, it := range items {
				if _, err := l.tell(*it); err != nil {
					b.Fatal(err)
				}
			}
			l.out.buf = l.out.buf[:0]
		}
	}
}
