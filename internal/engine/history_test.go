package engine_test

import (
	"io"
	"testing"
	"testing/synctest"

	"github.com/urlsession/urlsession/internal/task"
)

func TestHistoryIsBoundedForReleasedTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, answer(200))
		kept := create(t, e, get("http://h/"))
		end(t, e, kept)
		for range 3000 {
			id := create(t, e, get("http://h/"))
			end(t, e, id)
			e.Release(id)
		}
		n := 0
		for _, err := range e.Tasks(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 1025 {
			t.Errorf("%d tasks are known, want 1024 released ones and the one that is held", n)
		}
		// A listener of the session is told what it missed, without a hole.
		next := uint64(1)
		for ev, err := range e.Events(t.Context(), task.EventQuery{Own: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if gap, ok := ev.Detail.(task.Gap); ok {
				if gap.From != next {
					t.Fatalf("gap %+v where %d was due", gap, next)
				}
				next = gap.To + 1
			} else if ev.Sequence != 0 {
				if ev.Sequence != next {
					t.Fatalf("event %d where %d was due", ev.Sequence, next)
				}
				next++
				if err := e.Acknowledge(t.Context(), ev.Sequence); err != nil {
					t.Fatal(err)
				}
			} else {
				break
			}
		}
		n = 0
		for range e.Tasks(t.Context()) {
			n++
		}
		if n != 1 {
			t.Errorf("after all was acknowledged %d tasks are known, want the one that is held", n)
		}
		if b, err := e.Body(t.Context(), kept); err != nil {
			t.Error(err)
		} else if s, _ := io.ReadAll(b); string(s) != "body" {
			t.Errorf("body %q", s)
		}
	})
}

func TestAcknowledgeOfWhatIsNotThereYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, answer(200))
		if err := e.Acknowledge(t.Context(), 1<<40); err != nil {
			t.Fatal(err)
		}
		id := create(t, e, get("http://h/"))
		e.Release(id)
		synctest.Wait()
		if _, err := e.Task(t.Context(), id); err != nil {
			t.Errorf("its events were not seen, and it is forgotten: %v", err)
		}
	})
}
