package transfer

import (
	"context"
	"sync"

	"github.com/urlsession/urlsession/internal/partial"
)

// followBytes is how many bytes a follower hashes at once; in between, what is written next may be hashed at once.
const followBytes = 1 << 20

// A follower hashes what of a file is there from its beginning on, while several connections write it in no order: in the
// end little is left to hash. Its methods may be called on nil, which follows nothing.
type follower struct {
	grown chan struct{}
	done  sync.WaitGroup
}

// follow starts a follower, until its end, unless there is nothing to hash.
func (v *verifier) follow(ctx context.Context, part *partial.File) *follower {
	if len(v.hashes) == 0 {
		return nil
	}
	f := &follower{grown: make(chan struct{}, 1)}
	f.done.Go(func() {
		for range f.grown {
			for v.step(ctx, part) {
			}
		}
	})
	return f
}

// step hashes a little more, and reports whether there may be more. What cannot be read is tried again in the end.
func (v *verifier) step(ctx context.Context, part *partial.File) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	upto := part.Prefix()
	for i := range v.hashes {
		upto = min(upto, v.hashes[i].upto+followBytes)
	}
	before := v.hashes[0].upto
	return upto > before && v.catchUp(ctx, part, upto) == nil
}

// wake tells that there may be more.
func (f *follower) wake() {
	if f == nil {
		return
	}
	select {
	case f.grown <- struct{}{}:
	default:
	}
}

// end waits until it has stopped. Where the context has ended, that is soon.
func (f *follower) end() {
	if f != nil {
		close(f.grown)
		f.done.Wait()
	}
}
