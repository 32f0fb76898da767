package server

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// told is a Service whose events a test says.
type told struct {
	control.Service
	events chan task.Event
	after  uint64 // of the last loop
	err    error
}

func (s *told) Events(ctx context.Context, q task.EventQuery) iter.Seq2[task.Event, error] {
	return func(yield func(task.Event, error) bool) {
		s.after = *q.After
		for {
			select {
			case ev, ok := <-s.events:
				if !ok {
					if s.err != nil {
						yield(ev, s.err)
					}
					return
				}
				if !yield(ev, nil) {
					return
				}
			case <-ctx.Done():
				yield(task.Event{}, ctx.Err())
				return
			}
		}
	}
}

func (s *told) durable(seqs ...uint64) {
	for _, n := range seqs {
		s.events <- task.Event{Task: 1, Sequence: n, Detail: task.ResponseReceived{}}
	}
	synctest.Wait()
}

func (s *told) progress(id task.ID, total int64) {
	s.events <- task.Event{Task: id, Detail: task.DownloadProgress{Total: total}}
	synctest.Wait()
}

func member(from uint64) *subscriber {
	return &subscriber{from: from, changed: make(chan struct{}, 1)}
}

// has is what a subscriber is handed now.
func has(h *hub, s *subscriber) string {
	items, ok := h.take(s, nil)
	if !ok {
		return "dropped"
	}
	var out []string
	for _, it := range items {
		switch d := it.ev.Detail.(type) {
		case task.DownloadProgress:
			out = append(out, fmt.Sprintf("%d:%d", it.ev.Task, d.Total))
		case nil:
			out = append(out, fmt.Sprintf("end %v", it.err))
		default:
			out = append(out, fmt.Sprint(it.seq))
		}
	}
	return strings.Join(out, " ")
}

func TestHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := &told{events: make(chan task.Event)}
		h := &hub{svc: svc}
		want := func(s *subscriber, want string) {
			t.Helper()
			if got := has(h, s); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		first := member(3)
		h.attach()
		if n := h.join(first); n != 3 {
			t.Errorf("joined at %d", n)
		}
		svc.durable(4, 5)
		if svc.after != 3 {
			t.Errorf("the hub listens after %d", svc.after)
		}
		want(first, "4 5")

		// One that is behind has to read the store.
		behind := member(2)
		h.attach()
		if n := h.join(behind); n != 5 {
			t.Errorf("the hub says that it is at %d", n)
		}
		behind.from = 5
		if n := h.join(behind); n != 5 {
			t.Errorf("joined at %d", n)
		}

		// One that is ahead of the hub is handed nothing twice, and nothing too early.
		ahead := member(7)
		h.attach()
		h.join(ahead)
		svc.progress(2, 10)
		svc.durable(6)
		want(ahead, "")
		svc.durable(7)
		want(ahead, "2:10")
		svc.durable(8)
		want(ahead, "8")
		want(behind, "2:10 6 7 8")

		// One for which an event is missing that it has read: the next tells that the hub has passed it.
		passed := member(9)
		h.attach()
		h.join(passed)
		svc.durable(10)
		want(passed, "2:10 10")

		// Who comes later is told where the tasks are that move, but for those that have ended.
		svc.progress(3, 5)
		svc.events <- task.Event{Task: 2, Sequence: 11, Detail: task.SessionCompleted{}}
		synctest.Wait()
		late := member(11)
		h.attach()
		h.join(late)
		want(late, "3:5")

		// Who does not keep up is dropped, and the others are not.
		want(first, "2:10 6 7 8 10 3:5 11")
		for n := uint64(12); n < 12+backlogMost+10; n++ {
			svc.durable(n)
			if n%1000 == 0 {
				has(h, first)
			}
		}
		want(late, "dropped")
		if got := has(h, first); got == "dropped" || got == "" {
			t.Errorf("first: %q", got)
		}

		svc.err = errors.New("the disk is full")
		close(svc.events)
		synctest.Wait()
		want(first, "end the disk is full")
		for _, s := range []*subscriber{first, behind, ahead, passed, late} {
			h.detach(s)
		}
		if h.attached != 0 || h.pump != nil {
			t.Errorf("%d attached", h.attached)
		}
	})
}
