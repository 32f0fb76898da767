package memstore_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/store/storetest"
	"github.com/urlsession/urlsession/internal/task"
)

func TestConformance(t *testing.T) {
	for _, c := range storetest.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Check(t.Context(), memstore.New("s")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDurableConformance(t *testing.T) {
	for _, c := range storetest.DurableCases {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Check(t.Context(), memstore.New("s")); err != nil {
				t.Error(err)
			}
		})
	}
}

// Whatever was forgotten in between, a task and its events are found.
func TestFindsWhatIsLeft(t *testing.T) {
	s := memstore.New("s")
	rnd := rand.New(rand.NewPCG(1, 2))
	kept := make(map[task.ID][]uint64)
	for range 3000 {
		rec := task.Record{State: task.Completed}
		if err := s.Create(t.Context(), &rec); err != nil {
			t.Fatal(err)
		}
		for range rnd.IntN(6) {
			seq, err := s.Save(t.Context(), &rec, task.Waiting{})
			if err != nil {
				t.Fatal(err)
			}
			kept[rec.ID] = append(kept[rec.ID], seq)
		}
		if kept[rec.ID] == nil {
			kept[rec.ID] = []uint64{}
		}
		for id := range kept {
			if rnd.IntN(50) == 0 {
				if err := s.Forget(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				delete(kept, id)
			}
		}
		id := task.ID(1 + rnd.Uint64N(uint64(rec.ID)))
		_, err := s.Load(t.Context(), id)
		if _, known := kept[id]; known != (err == nil) {
			t.Fatalf("task %d: %v, and it is kept: %v", id, err, known)
		}
		evs, err := s.Events(t.Context(), 0, id, 100)
		if err != nil || len(evs) != len(kept[id]) {
			t.Fatalf("task %d has %d events, %v; want %v", id, len(evs), err, kept[id])
		}
		for i, ev := range evs {
			if ev.Sequence != kept[id][i] || ev.Task != id {
				t.Fatalf("task %d: %+v, want %v", id, ev, kept[id])
			}
		}
	}
	recs, err := s.Tasks(t.Context(), 0, math.MaxInt)
	if err != nil || len(recs) != len(kept) || len(kept) == 0 {
		t.Errorf("%d tasks, %v; want %d", len(recs), err, len(kept))
	}
}
