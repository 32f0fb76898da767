package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// DurableCase is one promise of store.Durable, checked on a store that is empty.
type DurableCase struct {
	Name  string
	Check func(ctx context.Context, s store.Durable) error
}

// DurableCases are the promises of a store.Durable beyond those of Cases, to be run as those are.
var DurableCases = []DurableCase{
	{"a session is open until it is told otherwise", state},
	{"Pending pages what has not ended", pending},
	{"Amend replaces a task's newest events", amend},
	{"Amend compares and swaps", amendRefused},
	{"Expired is acknowledged history by time and number", expired},
}

func state(ctx context.Context, s store.Durable) error {
	check := func(want store.State) error {
		if got, err := s.State(ctx); err != nil || got != want {
			return fmt.Errorf("the session is %q, %v; want %q", got, err, want)
		}
		return nil
	}
	if err := check(store.Open); err != nil {
		return err
	}
	var reached store.State
	for _, st := range []store.State{store.Finishing, store.Canceling, store.Finishing} {
		if err := s.SetState(ctx, st); err != nil {
			return err
		}
		if reached != store.Canceling { // it does not go back
			reached = st
		}
		if err := check(reached); err != nil {
			return err
		}
	}
	if err := s.Append(ctx, task.Invalidated{}); err != nil {
		return err
	}
	if err := s.SetState(ctx, store.Canceling); err != nil {
		return err
	}
	return check(store.Invalidated)
}

func pending(ctx context.Context, s store.Durable) error {
	now := time.Now().Round(0).UTC()
	recs, err := create(ctx, s, 8)
	if err != nil {
		return err
	}
	recs[0].State = task.Completed
	recs[1].State = task.Suspended
	recs[2].Spec.Priority, recs[2].Spec.Request.URL = task.PriorityHigh, "https://example.com:8443/f?secret"
	recs[3].Spec.EarliestBegin = now.Add(time.Hour)
	recs[4].Waiting = &task.Wait{Reason: task.WaitRetry, Until: now.Add(time.Minute)}
	recs[5].Spec.Policy.ResourceTimeout, recs[5].Since, recs[5].Active = 3*time.Hour, now, time.Hour
	recs[6].Waiting = &task.Wait{Reason: task.WaitAuthentication, Ticket: "1-1", Challenge: &task.Challenge{Ticket: "1-1"}}
	recs[6].Spec.Policy.ResourceTimeout, recs[6].Since = time.Hour, now
	recs[7].State, recs[7].Waiting = task.Canceling, recs[6].Waiting
	for i := range recs {
		if _, err := s.Save(ctx, &recs[i]); err != nil {
			return err
		}
	}
	var list []store.Pending
	for after := task.ID(0); ; {
		page, err := s.Pending(ctx, after, 2)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		if len(page) > 2 {
			return fmt.Errorf("a page of %d where 2 were asked", len(page))
		}
		list = append(list, page...)
		after = page[len(page)-1].ID
	}
	if len(list) != 7 {
		return fmt.Errorf("pending: %+v", list)
	}
	for i, p := range list {
		rec := recs[i+1]
		want := store.Pending{ID: rec.ID, State: rec.State, Priority: task.PriorityDefault}
		switch i {
		case 1:
			want.Priority = task.PriorityHigh
		case 2:
			want.Due = rec.Spec.EarliestBegin
		case 3:
			want.Due = rec.Waiting.Until
		case 4:
			want.Deadline = now.Add(2 * time.Hour)
		case 5:
			want.Asks, want.Deadline = true, now.Add(time.Hour)
		}
		if p.ID != want.ID || p.Asks != want.Asks || p.State != want.State || p.Priority != want.Priority || !p.Due.Equal(want.Due) || !p.Deadline.Equal(want.Deadline) {
			return fmt.Errorf("pending %+v, want %+v", p, want)
		}
	}
	if u := list[1].URL; len(u) < len("https://example.com:8443") || u[:len("https://example.com:8443")] != "https://example.com:8443" {
		return fmt.Errorf("pending URL %q", u)
	}
	return nil
}

func amend(ctx context.Context, s store.Durable) error {
	recs, err := create(ctx, s, 2)
	if err != nil {
		return err
	}
	mine := &recs[0]
	save := func(rec *task.Record, details ...task.Detail) error {
		_, err := s.Save(ctx, rec, details...)
		return err
	}
	if err := errors.Join(
		save(mine, task.WillRetry{Attempt: 1}),                           // 1
		save(mine, task.Metrics{Attempt: 2}, task.WillRetry{Attempt: 2}), // 2, 3
		save(&recs[1], task.WillRetry{Attempt: 9}),                       // 4: of another task
	); err != nil {
		return err
	}
	mine.Retries = 3
	if err := s.Amend(ctx, mine, 2, task.Metrics{Attempt: 3}, task.WillRetry{Attempt: 3}); err != nil {
		return err
	}
	if mine.Version != 4 {
		return fmt.Errorf("version after Amend: %d", mine.Version)
	}
	if got, err := s.Load(ctx, mine.ID); err != nil || got.Retries != 3 || got.Version != 4 {
		return fmt.Errorf("loaded %+v, %v", got, err)
	}
	evs, err := s.Events(ctx, 0, 0, 10)
	if err != nil {
		return err
	}
	var got []string
	for i, ev := range evs {
		if ev.Sequence != uint64(i+1) {
			return fmt.Errorf("event %d has number %d", i+1, ev.Sequence)
		}
		switch d := ev.Detail.(type) {
		case task.WillRetry:
			got = append(got, fmt.Sprint(ev.Task, "retry", d.Attempt))
		case task.Metrics:
			got = append(got, fmt.Sprint(ev.Task, "metrics", d.Attempt))
		}
	}
	if want := []string{"1retry1", "1metrics3", "1retry3", "2retry9"}; !slices.Equal(got, want) {
		return fmt.Errorf("events %q, want %q", got, want)
	}
	if n, err := s.Save(ctx, mine, task.SessionCompleted{}); err != nil || n != 5 {
		return fmt.Errorf("the next event has number %d, %v", n, err)
	}
	return nil
}

func amendRefused(ctx context.Context, s store.Durable) error {
	recs, err := create(ctx, s, 1)
	if err != nil {
		return err
	}
	stale := recs[0]
	rec := &recs[0]
	if _, err := s.Save(ctx, rec, task.Waiting{}, task.WillRetry{Attempt: 1}); err != nil {
		return err
	}
	stale.Version = 1
	late := *rec
	for name, err := range map[string]error{
		"an older version":           s.Amend(ctx, &stale, 2, task.WillRetry{Attempt: 2}),
		"not the newest events":      s.Amend(ctx, &late, 1, task.WillRetry{Attempt: 2}),
		"more events than there are": s.Amend(ctx, &late, 1, task.Waiting{}, task.Waiting{}, task.Waiting{}),
		"an event to come":           s.Amend(ctx, &late, 3, task.WillRetry{Attempt: 2}),
	} {
		if !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("%s: %v", name, err)
		}
	}
	if late.Version != rec.Version {
		return fmt.Errorf("a refused Amend changed the version to %d", late.Version)
	}
	if err := s.Amend(ctx, &task.Record{ID: 7, Version: 1}, 1, task.Waiting{}); !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("Amend of an unknown task: %v", err)
	}
	evs, err := s.Events(ctx, 0, 0, 10)
	if err != nil || len(evs) != 2 || evs[1].Detail != (task.WillRetry{Attempt: 1}) {
		return fmt.Errorf("events after refused Amends: %+v, %v", evs, err)
	}
	return nil
}

func expired(ctx context.Context, s store.Durable) error {
	start := time.Now().Round(0).UTC()
	recs, err := create(ctx, s, 6)
	if err != nil {
		return err
	}
	// They end in the order 3, 2, 1, 4, 5; 6 runs; 5 is not acknowledged.
	for n, i := range []int{2, 1, 0, 3} {
		recs[i].State, recs[i].Ended = task.Completed, start.Add(time.Duration(n)*time.Minute)
		if _, err := s.Save(ctx, &recs[i], task.SessionCompleted{}); err != nil {
			return err
		}
	}
	if err := s.Acknowledge(ctx, 4); err != nil {
		return err
	}
	recs[4].State, recs[4].Ended = task.Completed, start
	for _, i := range []int{4, 5} {
		if _, err := s.Save(ctx, &recs[i], task.Waiting{}); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		before      time.Time
		keep, limit int
		want        []task.ID
	}{
		{start, -1, 10, nil},
		{start.Add(time.Minute), -1, 10, []task.ID{3}},
		{start.Add(time.Hour), -1, 10, []task.ID{3, 2, 1, 4}},
		{start.Add(time.Hour), -1, 2, []task.ID{3, 2}},
		{time.Time{}, 3, 10, []task.ID{3}},
		{time.Time{}, 0, 10, []task.ID{3, 2, 1, 4}},
		{time.Time{}, 4, 10, nil},
		{start.Add(2 * time.Minute), 3, 10, []task.ID{3, 2}},
	} {
		got, err := s.Expired(ctx, c.before, c.keep, c.limit)
		if err != nil || !slices.Equal(got, c.want) {
			return fmt.Errorf("Expired(start+%v, %d, %d) is %v, %v; want %v", c.before.Sub(start), c.keep, c.limit, got, err, c.want)
		}
	}
	return nil
}
