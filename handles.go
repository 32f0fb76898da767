package urlsession

import (
	"runtime"
	"sync"
	"weak"

	"github.com/urlsession/urlsession/internal/task"
)

// handles knows who holds a task of a session, so that its service is told when nobody does (Service.Release). There is
// one *Task a task, whoever asked for it, so that dropping one of two cannot release what the other still needs.
type handles struct {
	svc  service
	mu   sync.Mutex
	held map[task.ID]holding
}

// holding is who holds one task: a handle that the app may have, and calls under way.
type holding struct {
	handle weak.Pointer[Task]
	pins   int
}

// handle is the one handle of a task.
func (h *handles) handle(s *Session, id task.ID) *Task {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := h.held[id]
	if t := held.handle.Value(); t != nil {
		return t
	}
	t := &Task{s: s, id: id}
	held.handle = weak.Make(t)
	h.held[id] = held
	runtime.AddCleanup(t, h.dropped, id) // holds the session, not the Task
	return t
}

// dropped is called when a handle is unreachable; another may have been made since.
func (h *handles) dropped(id task.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held, ok := h.held[id]; ok {
		h.set(id, held)
	}
}

// Pin holds a task without a handle, until Unpin.
func (h *handles) Pin(id task.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := h.held[id]
	held.pins++
	h.held[id] = held
}

func (h *handles) Unpin(id task.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := h.held[id]
	held.pins--
	h.set(id, held)
}

// set notes who holds a task, and releases it where nobody does. It is called with mu held: so nobody can take hold of the
// task between the look and the release.
func (h *handles) set(id task.ID, held holding) {
	if held.pins == 0 && held.handle.Value() == nil {
		delete(h.held, id)
		h.svc.Release(id)
		return
	}
	h.held[id] = held
}
