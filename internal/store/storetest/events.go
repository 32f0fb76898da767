package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

func refusedStoresNothing(ctx context.Context, s store.Store) error {
	recs, err := create(ctx, s, 1)
	if err != nil {
		return err
	}
	stale := recs[0]
	if _, err := s.Save(ctx, &recs[0]); err != nil {
		return err
	}
	if _, err := s.Save(ctx, &stale, task.Waiting{}); !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("stale Save: %v", err)
	}
	last, err := s.Last(ctx)
	if err != nil || last != 0 {
		return fmt.Errorf("Last is %d, %v", last, err)
	}
	return nil
}

func concurrent(ctx context.Context, s store.Store) error {
	const writers, each = 8, 25
	recs, err := create(ctx, s, writers)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i := range recs {
		wg.Go(func() {
			for n := range each {
				if _, err := s.Save(ctx, &recs[i], task.WillRetry{Attempt: n}); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	evs, err := s.Events(ctx, 0, 0, 10*writers*each)
	if err != nil {
		return err
	}
	if len(evs) != writers*each {
		return fmt.Errorf("%d events stored, %d read", writers*each, len(evs))
	}
	next := map[task.ID]int{}
	for i, ev := range evs {
		if ev.Sequence != uint64(i+1) {
			return fmt.Errorf("event %d has number %d", i+1, ev.Sequence)
		}
		if got := ev.Detail.(task.WillRetry).Attempt; got != next[ev.Task] {
			return fmt.Errorf("task %d: event %d comes where %d was due", ev.Task, got, next[ev.Task])
		}
		next[ev.Task]++
	}
	return nil
}

func events(ctx context.Context, s store.Store) error {
	recs, err := create(ctx, s, 2)
	if err != nil {
		return err
	}
	if n, err := s.Save(ctx, &recs[0], task.Waiting{Reason: task.WaitSchedule}, task.WillRetry{Attempt: 1}); err != nil || n != 2 {
		return fmt.Errorf("Save returned %d, %v", n, err)
	}
	if _, err := s.Save(ctx, &recs[1], task.Waiting{Reason: task.WaitRetry}); err != nil {
		return err
	}
	if err := s.Append(ctx, task.Invalidated{}); err != nil {
		return err
	}
	check := func(after uint64, id task.ID, limit int, want ...uint64) error {
		evs, err := s.Events(ctx, after, id, limit)
		if err != nil {
			return err
		}
		var got []uint64
		for _, ev := range evs {
			got = append(got, ev.Sequence)
			if ev.Time.IsZero() || id != 0 && ev.Task != id {
				return fmt.Errorf("Events(%d, %d, %d): %+v", after, id, limit, ev)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("Events(%d, %d, %d) are %v, want %v", after, id, limit, got, want)
		}
		return nil
	}
	return errors.Join(
		check(0, 0, 10, 1, 2, 3, 4),
		check(0, 0, 2, 1, 2),
		check(2, 0, 10, 3, 4),
		check(4, 0, 10),
		check(99, 0, 10),
		check(0, 1, 10, 1, 2),
		check(1, 1, 10, 2),
		check(0, 1, 1, 1),
		check(0, 2, 10, 3),
		check(0, 9, 10),
	)
}

func cursor(ctx context.Context, s store.Store) error {
	for range 5 {
		if err := s.Append(ctx, task.Invalidated{}); err != nil {
			return err
		}
	}
	for _, step := range []struct{ ack, want uint64 }{{3, 3}, {2, 3}, {0, 3}, {99, 5}} {
		if err := s.Acknowledge(ctx, step.ack); err != nil {
			return err
		}
		if got, err := s.Acknowledged(ctx); err != nil || got != step.want {
			return fmt.Errorf("after Acknowledge(%d) the cursor is %d, %v; want %d", step.ack, got, err, step.want)
		}
	}
	return nil
}

func forget(ctx context.Context, s store.Store) error {
	recs, err := create(ctx, s, 3)
	if err != nil {
		return err
	}
	for i := range recs {
		if i != 1 {
			recs[i].State = task.Completed
		}
		if _, err := s.Save(ctx, &recs[i], task.SessionCompleted{}); err != nil {
			return err
		}
	}
	if err := s.Forget(ctx, 1, 2, 3, 99); err != nil {
		return err
	}
	if _, err := s.Load(ctx, 1); !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("Load of a forgotten task: %v", err)
	}
	if _, err := s.Load(ctx, 2); err != nil {
		return fmt.Errorf("Forget took a task that runs: %v", err)
	}
	evs, err := s.Events(ctx, 0, 0, 10)
	if err != nil {
		return err
	}
	if len(evs) != 3 || evs[0].Detail != (task.Gap{From: 1, To: 1}) || evs[1].Sequence != 2 || evs[2].Detail != (task.Gap{From: 3, To: 3}) {
		return fmt.Errorf("events after Forget: %+v", evs)
	}
	if evs[0].Sequence != 0 {
		return fmt.Errorf("a Gap has number %d", evs[0].Sequence)
	}
	for _, after := range []uint64{3, 4, 1 << 63, math.MaxUint64} {
		for id := range task.ID(3) {
			if evs, err := s.Events(ctx, after, id, 10); err != nil || len(evs) != 0 {
				return fmt.Errorf("after number %d came %+v, %v", after, evs, err)
			}
		}
	}
	return nil
}

func forgetMany(ctx context.Context, s store.Store) error {
	const n = 1000
	recs, err := create(ctx, s, n)
	if err != nil {
		return err
	}
	for i := range recs {
		recs[i].State = task.Completed
		if _, err := s.Save(ctx, &recs[i], task.SessionCompleted{Status: i}); err != nil {
			return err
		}
	}
	var ids []task.ID
	for _, r := range recs {
		if r.ID%100 != 0 {
			ids = append(ids, r.ID)
		}
	}
	if err := s.Forget(ctx, ids...); err != nil {
		return err
	}
	kept, err := s.Tasks(ctx, 0, n)
	if err != nil {
		return err
	}
	if len(kept) != n/100 {
		return fmt.Errorf("%d tasks kept, want %d", len(kept), n/100)
	}
	for _, r := range kept {
		evs, err := s.Events(ctx, 0, r.ID, 10)
		if err != nil {
			return err
		}
		if len(evs) != 1 || evs[0].Sequence != uint64(r.ID) || evs[0].Detail.(task.SessionCompleted).Status != int(r.ID-1) {
			return fmt.Errorf("events of task %d: %+v", r.ID, evs)
		}
	}
	evs, err := s.Events(ctx, 0, 0, n)
	if err != nil {
		return err
	}
	if len(evs) != 2*n/100 {
		return fmt.Errorf("%d events and gaps, want %d", len(evs), 2*n/100)
	}
	return nil
}
