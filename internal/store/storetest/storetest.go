// Package storetest is what every store.Store must pass.
package storetest

import (
	"context"
	"fmt"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// Case is one promise of store.Store, checked on a store that is empty.
type Case struct {
	Name  string
	Check func(ctx context.Context, s store.Store) error
}

// Cases are all the promises; a store's test runs each as a subtest, on a store of its own.
var Cases = []Case{
	{"numbers start at 1 and are never used again", numbers},
	{"Load of an unknown task is ErrNotFound", unknown},
	{"records and events come back as they were stored", whole},
	{"Create of ten thousand is one call", batch},
	{"Save compares and swaps", swap},
	{"of writers of the same version one wins", race},
	{"Save of an earlier attempt is refused", fence},
	{"a refused Save stores no event", refusedStoresNothing},
	{"events are numbered without gaps, whoever writes", concurrent},
	{"Events pages and filters", events},
	{"Tasks pages in order", pages},
	{"the cursor only goes forward", cursor},
	{"Forget removes ended tasks only, and leaves a Gap", forget},
	{"what is forgotten does not disturb what is kept", forgetMany},
}

func create(ctx context.Context, s store.Store, n int) ([]task.Record, error) {
	recs := make([]task.Record, n)
	ptrs := make([]*task.Record, n)
	for i := range recs {
		recs[i] = task.Record{State: task.Running, Spec: task.Spec{Description: fmt.Sprint(i)}}
		ptrs[i] = &recs[i]
	}
	return recs, s.Create(ctx, ptrs...)
}
