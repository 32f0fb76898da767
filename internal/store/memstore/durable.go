package memstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

var _ store.Durable = (*Store)(nil)

func (s *Store) State(context.Context) (store.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, nil
}

func (s *Store) SetState(_ context.Context, state store.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Before(state) {
		s.state = state
	}
	return nil
}

func (s *Store) Pending(_ context.Context, after task.ID, limit int) ([]store.Pending, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []store.Pending
	for _, e := range s.after(after) {
		if len(list) == limit {
			break
		}
		if e.entry == nil || e.rec.State == task.Completed {
			continue
		}
		p := store.Pending{ID: e.id, State: e.rec.State, Priority: cmp.Or(e.rec.Spec.Priority, task.PriorityDefault),
			Due: e.rec.Spec.EarliestBegin, Deadline: e.rec.Deadline(), URL: e.rec.Spec.Request.URL}
		if w := e.rec.Waiting; w != nil && !w.Until.IsZero() {
			p.Due = w.Until
		}
		p.Asks = e.rec.AwaitsAnswer()
		list = append(list, p)
	}
	return list, nil
}

func (s *Store) Amend(_ context.Context, rec *task.Record, from uint64, details ...task.Detail) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.swappable(rec)
	if err != nil {
		return err
	}
	newest := len(e.events) - len(details)
	if newest < 0 || len(details) == 0 || e.events[newest] != from {
		return fmt.Errorf("task %d: event %d is not the first of its newest %d: %w", rec.ID, from, len(details), store.ErrConflict)
	}
	rec.Version++
	e.rec = *rec
	for i, d := range details {
		ev := &s.log[s.index(e.events[newest+i])]
		ev.Time, ev.Detail = time.Now(), d
	}
	return nil
}

func (s *Store) Expired(_ context.Context, before time.Time, keep, limit int) ([]task.ID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var past []*task.Record
	for _, e := range s.tasks {
		if e.entry == nil {
			continue
		}
		if n := len(e.events); e.rec.State == task.Completed && (n == 0 || e.events[n-1] <= s.acked) {
			past = append(past, &e.rec)
		}
	}
	slices.SortFunc(past, func(a, b *task.Record) int {
		return cmp.Or(a.Ended.Compare(b.Ended), cmp.Compare(a.ID, b.ID))
	})
	var ids []task.ID
	for i, rec := range past {
		tooMany := keep >= 0 && len(past)-i > keep
		if len(ids) == limit || !tooMany && !rec.Ended.Before(before) {
			break
		}
		ids = append(ids, rec.ID)
	}
	return ids, nil
}
