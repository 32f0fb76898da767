// Package memstore keeps a session in memory: it is the store of sessions in process, and lasts as long as they do.
package memstore

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// Store is a store.Store in memory. Its zero value is not ready; use New.
//
// What Forget removes leaves a hole in the ordered slices; they are compacted once half of them is holes, so that
// memory follows what is kept, and a call costs O(log n) amortised; mostly it looks at one place, see find.
type Store struct {
	session string

	mu      sync.Mutex
	tasks   []slot // ascending
	gone    int    // holes in tasks
	lastID  task.ID
	log     []task.Event // ascending by Sequence; Detail is nil where it was forgotten
	dead    int          // holes in log
	lastSeq uint64
	acked   uint64
	state   store.State
}

type slot struct {
	id     task.ID
	*entry // nil: it was forgotten
}

type entry struct {
	rec    task.Record
	events []uint64  // numbers of the task's events, ascending
	usual  [4]uint64 // where they are of most tasks: the response, the metrics, a download's file, the end
}

var _ store.Store = (*Store)(nil)

// New makes an empty store; session is the identifier that its events carry.
func New(session string) *Store {
	return &Store{session: session, state: store.Open}
}

func (s *Store) Create(_ context.Context, recs ...*task.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range recs {
		s.lastID++
		r.ID, r.Version = s.lastID, 1
		e := &entry{rec: *r}
		e.events = e.usual[:0]
		s.tasks = append(s.tasks, slot{r.ID, e})
	}
	return nil
}

func (s *Store) Load(_ context.Context, id task.ID) (task.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(id)
	if e == nil {
		return task.Record{}, fmt.Errorf("task %d: %w", id, store.ErrNotFound)
	}
	return e.rec, nil
}

func (s *Store) Save(_ context.Context, rec *task.Record, events ...task.Detail) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.swappable(rec)
	if err != nil {
		return 0, err
	}
	rec.Version++
	e.rec = *rec
	if len(events) == 0 {
		return s.lastSeq, nil
	}
	now := time.Now()
	for _, d := range events {
		e.events = append(e.events, s.append(rec.ID, now, d))
	}
	return s.lastSeq, nil
}

// swappable is the entry that rec may replace. s.mu is held.
func (s *Store) swappable(rec *task.Record) (*entry, error) {
	e := s.entry(rec.ID)
	if e == nil {
		return nil, fmt.Errorf("task %d: %w", rec.ID, store.ErrNotFound)
	}
	if e.rec.Version != rec.Version || e.rec.Attempt > rec.Attempt {
		return nil, fmt.Errorf("task %d: %w", rec.ID, store.ErrConflict)
	}
	return e, nil
}

func (s *Store) Append(_ context.Context, events ...task.Detail) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, d := range events {
		s.append(0, now, d)
		if _, ok := d.(task.Invalidated); ok {
			s.state = store.Invalidated
		}
	}
	return nil
}

// append stores one event and returns its number. s.mu is held.
func (s *Store) append(id task.ID, now time.Time, d task.Detail) uint64 {
	s.lastSeq++
	s.log = append(s.log, task.Event{Session: s.session, Task: id, Sequence: s.lastSeq, Time: now, Detail: d})
	return s.lastSeq
}

func (s *Store) Tasks(_ context.Context, after task.ID, limit int) ([]task.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var recs []task.Record
	for _, e := range s.after(after) {
		if len(recs) == limit {
			break
		}
		if e.entry != nil {
			recs = append(recs, e.rec)
		}
	}
	return recs, nil
}

func (s *Store) Events(_ context.Context, after uint64, id task.ID, limit int) ([]task.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != 0 {
		return s.eventsOf(after, id, limit), nil
	}
	after = min(after, s.lastSeq)
	var out []task.Event
	for _, ev := range s.log[s.index(after+1):] {
		if len(out) >= limit {
			return out, nil
		}
		if ev.Detail == nil {
			continue
		}
		if ev.Sequence > after+1 {
			out = append(out, s.gap(after+1, ev.Sequence-1))
		}
		out = append(out, ev)
		after = ev.Sequence
	}
	if after < s.lastSeq && len(out) < limit {
		out = append(out, s.gap(after+1, s.lastSeq))
	}
	return out, nil
}

func (s *Store) eventsOf(after uint64, id task.ID, limit int) []task.Event {
	e := s.entry(id)
	if e == nil {
		return nil
	}
	i, found := slices.BinarySearch(e.events, after)
	if found {
		i++
	}
	seqs := e.events[i:min(len(e.events), i+limit)]
	if len(seqs) == 0 {
		return nil
	}
	out := make([]task.Event, len(seqs))
	for i, seq := range seqs {
		out[i] = s.log[s.index(seq)]
	}
	return out
}

// index is where the first event with a number of at least seq stands in the log.
func (s *Store) index(seq uint64) int {
	i, _ := find(s.log, seq, s.lastSeq, func(ev *task.Event) uint64 { return ev.Sequence })
	return i
}

// entry is that of a task; nil: there is none.
func (s *Store) entry(id task.ID) *entry {
	if i, found := s.place(id); found {
		return s.tasks[i].entry
	}
	return nil
}

// after are the slots of tasks with numbers after the given one.
func (s *Store) after(id task.ID) []slot {
	i, found := s.place(id)
	if found {
		i++
	}
	return s.tasks[i:]
}

func (s *Store) place(id task.ID) (i int, found bool) {
	return find(s.tasks, id, s.lastID, func(e *slot) task.ID { return e.id })
}

// find is where the first item with a number of at least n stands, and whether it has that number. last is the number of
// the last item that there ever was: where none was compacted away between it and what is looked for, that stands as far
// from the end.
func find[T any, N task.ID | uint64](items []T, n, last N, number func(*T) N) (i int, found bool) {
	if n <= last && last-n < N(len(items)) {
		if i = len(items) - 1 - int(last-n); number(&items[i]) == n {
			return i, true
		}
	}
	i = sort.Search(len(items), func(i int) bool { return number(&items[i]) >= n })
	return i, i < len(items) && number(&items[i]) == n
}

func (s *Store) gap(from, to uint64) task.Event {
	return task.Event{Session: s.session, Time: time.Now(), Detail: task.Gap{From: from, To: to}}
}

func (s *Store) Last(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastSeq, nil
}

func (s *Store) Acknowledged(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked, nil
}

func (s *Store) Acknowledge(_ context.Context, sequence uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = max(s.acked, min(sequence, s.lastSeq))
	return nil
}

func (s *Store) Forget(_ context.Context, ids ...task.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		i, found := s.place(id)
		if !found || s.tasks[i].entry == nil || s.tasks[i].rec.State != task.Completed {
			continue
		}
		for _, seq := range s.tasks[i].events {
			s.log[s.index(seq)] = task.Event{Sequence: seq}
			s.dead++
		}
		s.tasks[i].entry = nil
		s.gone++
	}
	if s.dead > 64 && s.dead > len(s.log)/2 {
		s.log = slices.DeleteFunc(s.log, func(ev task.Event) bool { return ev.Detail == nil })
		s.dead = 0
	}
	if s.gone > 64 && s.gone > len(s.tasks)/2 {
		s.tasks = slices.DeleteFunc(s.tasks, func(e slot) bool { return e.entry == nil })
		s.gone = 0
	}
	return nil
}
