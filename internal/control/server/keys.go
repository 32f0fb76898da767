package server

import (
	"context"
	"sync"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// keys sees to it that what is asked for by one key is made once while the daemon lives: a client whose connection broke
// asks again, and the first request may be under way, or just done. What was made by a daemon before is found in the
// tasks themselves, whose specs have the keys.
type keys struct {
	mu     sync.Mutex
	making map[sessionKey]chan struct{} // closed when it is made, or has failed
	made   map[sessionKey][]task.ID
	order  []sessionKey // of made, oldest first
	count  int          // tasks in made
}

type sessionKey struct{ session, key string }

// keysKept and tasksKept bound what is remembered: the requests of connections that broke are handled at once, so that few
// come between one and its repetition.
const (
	keysKept  = 4096
	tasksKept = 4 * control.MaxBatch
)

func newKeys() *keys {
	return &keys{making: make(map[sessionKey]chan struct{}), made: make(map[sessionKey][]task.ID)}
}

// once calls create, unless that was done for the key: then its result is that one's.
func (k *keys) once(ctx context.Context, session, key string, create func() ([]task.ID, error)) ([]task.ID, error) {
	if key == "" {
		return create()
	}
	sk := sessionKey{session, key}
	for {
		ids, wait := k.look(sk, true)
		switch {
		case ids != nil:
			return ids, nil
		case wait == nil:
			return k.make(sk, create)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// find is what was made for a key: by this daemon, once it is, else what search says.
func (k *keys) find(ctx context.Context, session, key string, search func() ([]task.ID, error)) ([]task.ID, error) {
	for {
		ids, wait := k.look(sessionKey{session, key}, false)
		switch {
		case ids != nil:
			return ids, nil
		case wait == nil:
			return search()
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look is what was made, or what to wait for; neither: nothing is known, and with begin it is under way now.
func (k *keys) look(sk sessionKey, begin bool) ([]task.ID, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if ids, ok := k.made[sk]; ok {
		return ids, nil
	}
	if wait, ok := k.making[sk]; ok {
		return nil, wait
	}
	if begin {
		k.making[sk] = make(chan struct{})
	}
	return nil, nil
}

func (k *keys) make(sk sessionKey, create func() ([]task.ID, error)) (ids []task.ID, err error) {
	made := false
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		close(k.making[sk])
		delete(k.making, sk)
		if made {
			k.made[sk], k.order, k.count = ids, append(k.order, sk), k.count+len(ids)
			for len(k.order) > keysKept || k.count > tasksKept {
				k.count -= len(k.made[k.order[0]])
				delete(k.made, k.order[0])
				k.order = k.order[1:]
			}
		}
	}()
	ids, err = create()
	made = err == nil
	return ids, err
}
