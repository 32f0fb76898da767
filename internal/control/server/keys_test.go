package server

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/urlsession/urlsession/internal/task"
)

func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, gate := newKeys(), make(chan struct{})
		var calls, searches, failed, made, found atomic.Int32
		create := func() ([]task.ID, error) {
			n := calls.Add(1)
			<-gate
			if n == 1 {
				return nil, errors.New("the disk is full")
			}
			return []task.ID{7}, nil
		}
		search := func() ([]task.ID, error) { searches.Add(1); return []task.ID{}, nil }
		for range 5 {
			go func() {
				ids, err := k.once(t.Context(), "s", "K", create)
				if err != nil {
					failed.Add(1)
				} else if slices.Equal(ids, []task.ID{7}) {
					made.Add(1)
				}
			}()
			synctest.Wait()
		}
		go func() {
			if ids, err := k.find(t.Context(), "s", "K", search); err == nil && slices.Equal(ids, []task.ID{7}) {
				found.Add(1)
			}
		}()
		synctest.Wait()
		if n := calls.Load(); n != 1 {
			t.Fatalf("%d creations at once", n)
		}
		gate <- struct{}{} // it fails, and one of the others tries
		synctest.Wait()
		gate <- struct{}{}
		synctest.Wait()
		if calls.Load() != 2 || failed.Load() != 1 || made.Load() != 4 || found.Load()+searches.Load() != 1 {
			t.Errorf("%d calls, %d failed, %d made, %d found, %d searches", calls.Load(), failed.Load(), made.Load(), found.Load(), searches.Load())
		}
		if ids, err := k.find(t.Context(), "other", "K", search); len(ids) != 0 || err != nil {
			t.Errorf("another session's key: %v, %v", ids, err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		go k.once(t.Context(), "s", "slow", func() ([]task.ID, error) { <-gate; return []task.ID{8}, nil })
		synctest.Wait()
		cancel()
		if _, err := k.once(ctx, "s", "slow", create); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(gate)
		synctest.Wait()
	})
}

// TestKeysAreBounded: neither many creations nor large batches are remembered for ever.
func TestKeysAreBounded(t *testing.T) {
	k := newKeys()
	for i := range 2 * keysKept {
		k.once(t.Context(), "s", strconv.Itoa(i), func() ([]task.ID, error) { return []task.ID{1}, nil })
	}
	if len(k.made) != keysKept || len(k.making) != 0 {
		t.Errorf("%d made, %d under way", len(k.made), len(k.making))
	}
	for i := range 10 {
		k.once(t.Context(), "s", "batch"+strconv.Itoa(i), func() ([]task.ID, error) { return make([]task.ID, 10_000), nil })
	}
	if k.count > tasksKept || len(k.made) != len(k.order) {
		t.Errorf("%d tasks of %d keys", k.count, len(k.made))
	}
}
