package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

func numbers(ctx context.Context, s store.Store) error {
	recs, err := create(ctx, s, 3)
	if err != nil {
		return err
	}
	for i, r := range recs {
		if r.ID != task.ID(i+1) || r.Version != 1 {
			return fmt.Errorf("task %d got number %d, version %d", i+1, r.ID, r.Version)
		}
	}
	last := recs[2]
	last.State = task.Completed
	if _, err := s.Save(ctx, &last); err != nil {
		return err
	}
	if err := s.Forget(ctx, last.ID); err != nil {
		return err
	}
	more, err := create(ctx, s, 1)
	if err != nil {
		return err
	}
	if more[0].ID != 4 {
		return fmt.Errorf("after 3 was forgotten, the next task got number %d", more[0].ID)
	}
	return nil
}

func unknown(ctx context.Context, s store.Store) error {
	if _, err := s.Load(ctx, 7); !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("Load: %v", err)
	}
	if _, err := s.Save(ctx, &task.Record{ID: 7, Version: 1}); !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("Save: %v", err)
	}
	return nil
}

func batch(ctx context.Context, s store.Store) error {
	const n = 10_000
	if err := s.Create(ctx); err != nil {
		return fmt.Errorf("Create of none: %w", err)
	}
	recs, err := create(ctx, s, n)
	if err != nil {
		return err
	}
	for i, r := range recs {
		if r.ID != task.ID(i+1) {
			return fmt.Errorf("task %d got number %d", i+1, r.ID)
		}
	}
	got, err := s.Tasks(ctx, n-1, 10)
	if err != nil {
		return err
	}
	if len(got) != 1 || got[0].Spec.Description != fmt.Sprint(n-1) {
		return fmt.Errorf("the last one is %+v", got)
	}
	return nil
}

func swap(ctx context.Context, s store.Store) error {
	recs, err := create(ctx, s, 1)
	if err != nil {
		return err
	}
	mine, theirs := recs[0], recs[0]
	mine.Counts.Received = 1
	if _, err := s.Save(ctx, &mine); err != nil {
		return err
	}
	if mine.Version != 2 {
		return fmt.Errorf("version after a Save: %d", mine.Version)
	}
	if _, err := s.Save(ctx, &theirs); !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("a Save over a newer version: %v", err)
	}
	got, err := s.Load(ctx, mine.ID)
	if err != nil {
		return err
	}
	if got.Counts.Received != 1 || got.Version != 2 || got.Spec.Description != "0" {
		return fmt.Errorf("loaded %+v", got)
	}
	return nil
}

func race(ctx context.Context, s store.Store) error {
	recs, err := create(ctx, s, 1)
	if err != nil {
		return err
	}
	const writers = 16
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers {
		rec := recs[0]
		rec.Counts.Received = int64(i)
		wg.Go(func() { _, errs[i] = s.Save(ctx, &rec, task.WillRetry{Attempt: i}) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			return fmt.Errorf("both %d and %d were told that they had written version 2", winner, i)
		case !errors.Is(err, store.ErrConflict):
			return err
		}
	}
	got, err := s.Load(ctx, recs[0].ID)
	if err != nil {
		return err
	}
	evs, err := s.Events(ctx, 0, 0, writers)
	if err != nil {
		return err
	}
	if got.Counts.Received != int64(winner) || len(evs) != 1 || evs[0].Detail != (task.WillRetry{Attempt: winner}) {
		return fmt.Errorf("%d won, and the store has %+v and %+v", winner, got.Counts, evs)
	}
	return nil
}

func fence(ctx context.Context, s store.Store) error {
	recs, err := create(ctx, s, 1)
	if err != nil {
		return err
	}
	rec := recs[0]
	rec.Attempt = 2
	if _, err := s.Save(ctx, &rec); err != nil {
		return err
	}
	late := rec
	late.Attempt = 1
	if _, err := s.Save(ctx, &late); !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("a Save of attempt 1 after attempt 2: %v", err)
	}
	return nil
}

func pages(ctx context.Context, s store.Store) error {
	if _, err := create(ctx, s, 10); err != nil {
		return err
	}
	var after task.ID
	for n := 0; ; {
		recs, err := s.Tasks(ctx, after, 3)
		if err != nil {
			return err
		}
		if len(recs) > 3 {
			return fmt.Errorf("a page of %d where 3 were asked", len(recs))
		}
		if len(recs) == 0 {
			if n != 10 {
				return fmt.Errorf("%d tasks listed of 10", n)
			}
			return nil
		}
		for _, r := range recs {
			if n++; r.ID != task.ID(n) {
				return fmt.Errorf("task %d listed in place %d", r.ID, n)
			}
			after = r.ID
		}
	}
}
