package urlsession

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// releases is a service that notes what was released.
type releases struct {
	service
	mu  sync.Mutex
	ids []task.ID
}

func (r *releases) Release(id task.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids = append(r.ids, id)
	slices.Sort(r.ids)
}

func (r *releases) list() []task.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

// collected waits until the garbage collector has run cleanups so that r has released n tasks.
func (r *releases) collected(t *testing.T, n int) []task.ID {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		runtime.GC()
		if ids := r.list(); len(ids) >= n {
			return ids
		}
	}
	t.Fatalf("released are %v, want %d tasks", r.list(), n)
	return nil
}

func holdings(svc service) *Session {
	return &Session{svc: svc, handles: handles{svc: svc, held: make(map[task.ID]holding)}}
}

func TestATaskIsReleasedWhenItsHandleIsDropped(t *testing.T) {
	r := new(releases)
	s := holdings(r)
	kept := s.handles.handle(s, 1)
	for id := task.ID(2); id <= 4; id++ {
		s.handles.handle(s, id)
	}
	if got := r.collected(t, 3); !slices.Equal(got, []task.ID{2, 3, 4}) {
		t.Errorf("released are %v", got)
	}
	if s.handles.handle(s, 1) != kept {
		t.Error("a task has two handles")
	}
	if n := len(s.handles.held); n != 1 {
		t.Errorf("%d tasks are remembered", n)
	}
	runtime.KeepAlive(kept)
	kept = nil
	r.collected(t, 4)
}

func TestAPinnedTaskOutlivesItsHandle(t *testing.T) {
	r := new(releases)
	s := holdings(r)
	s.handles.Pin(1)
	s.handles.Pin(1)
	s.handles.handle(s, 1)
	s.handles.handle(s, 2)
	if got := r.collected(t, 1); !slices.Equal(got, []task.ID{2}) {
		t.Errorf("released are %v", got)
	}
	s.handles.Unpin(1)
	if got := r.list(); len(got) != 1 {
		t.Errorf("released are %v after one of two unpins", got)
	}
	s.handles.Unpin(1)
	if got := r.list(); !slices.Equal(got, []task.ID{1, 2}) {
		t.Errorf("released are %v", got)
	}

	// A handle outlives a pin, too.
	h := s.handles.handle(s, 3)
	s.handles.Pin(3)
	s.handles.Unpin(3)
	if got := r.list(); len(got) != 2 {
		t.Errorf("released are %v, and one has a handle", got)
	}
	runtime.KeepAlive(h)
}

func TestAHandleMadeAnewIsNotReleasedByTheOld(t *testing.T) {
	r := new(releases)
	s := holdings(r)
	first := s.handles.handle(s, 1)
	// As if the collector had taken first, and its cleanup came after the task was asked for again.
	s.handles.held[1] = holding{}
	second := s.handles.handle(s, 1)
	if first == second {
		t.Fatal("no new handle was made")
	}
	s.handles.dropped(1)
	if got := r.list(); len(got) != 0 {
		t.Errorf("released are %v", got)
	}
	runtime.KeepAlive(second)
}
