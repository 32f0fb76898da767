package credential

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/urlsession/urlsession/internal/task"
)

// Storage keeps credentials by protection space. Make one with New, Open or Later. Its methods may be called from any goroutine.
type Storage struct {
	mu      sync.RWMutex
	session table // those that end with the process
	kept    table // what the file held when it was read last

	file *file // nil: in memory alone. Set once
}

// table has the credentials of each space. The slices in it are not changed once they are there.
type table map[Space][]entry

type entry struct {
	Credential
	isDefault bool
}

// Stored is a credential in a Storage.
type Stored struct {
	Space      Space      `json:"space"`
	Credential Credential `json:"credential"`
	Default    bool       `json:"default,omitempty"`
}

// New is an empty Storage in memory.
func New() *Storage { return &Storage{session: table{}, kept: table{}} }

func (t table) set(space Space, c Credential, isDefault bool) {
	list := make([]entry, 0, len(t[space])+1)
	for _, e := range t[space] {
		if e.id() == c.id() {
			isDefault = isDefault || e.isDefault
			continue
		}
		list = append(list, e)
	}
	if isDefault {
		for i := range list {
			list[i].isDefault = false
		}
	}
	t[space] = append(list, entry{c, isDefault})
}

// remove reports whether there was one.
func (t table) remove(space Space, id string) bool {
	list := slices.DeleteFunc(slices.Clone(t[space]), func(e entry) bool { return e.id() == id })
	removed := len(list) < len(t[space])
	if len(list) == 0 {
		delete(t, space)
	} else {
		t[space] = list
	}
	return removed
}

// All is all that is stored, in the order of spaces and users.
func (s *Storage) All() []Stored {
	s.refresh()
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []Stored
	spaces := maps.Clone(s.kept)
	maps.Copy(spaces, s.session)
	for space := range spaces {
		for _, e := range s.entries(space) {
			all = append(all, Stored{space, e.Credential, e.isDefault})
		}
	}
	slices.SortFunc(all, func(a, b Stored) int {
		return cmp.Or(cmp.Compare(a.Space.String(), b.Space.String()), cmp.Compare(a.Credential.id(), b.Credential.id()))
	})
	return all
}

// entries are those of exactly this space. s.mu is held.
func (s *Storage) entries(space Space) []entry {
	session, kept := s.session[space], s.kept[space]
	switch {
	case len(session) == 0:
		return kept
	case len(kept) == 0:
		return session
	}
	list := slices.Clone(session)
	marked := slices.ContainsFunc(session, func(e entry) bool { return e.isDefault })
	for _, e := range kept {
		if slices.ContainsFunc(session, func(other entry) bool { return other.id() == e.id() }) {
			continue
		}
		e.isDefault = e.isDefault && !marked
		list = append(list, e)
	}
	return list
}

// Credentials are those that are stored for space, also for all realms or methods of its origin, and fit its method: the
// narrower their space, the earlier.
func (s *Storage) Credentials(space Space) []Credential {
	s.refresh()
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Credential
	for _, w := range space.wider(nil) {
		for _, e := range s.entries(w) {
			if space.Method == AnyMethod || e.fits(space.Method) {
				list = append(list, e.Credential)
			}
		}
	}
	return list
}

// Default is the credential to try first in space: in the narrowest space that has one, that which SetDefault has set, or
// the only one.
func (s *Storage) Default(space Space) (Credential, bool) {
	s.refresh()
	s.mu.RLock()
	defer s.mu.RUnlock()
	var few [4]Space
	for _, w := range space.wider(few[:0]) {
		var fitting int
		var only Credential
		for _, e := range s.entries(w) {
			if space.Method != AnyMethod && !e.fits(space.Method) {
				continue
			}
			if e.isDefault {
				return e.Credential, true
			}
			fitting++
			only = e.Credential
		}
		if fitting == 1 {
			return only, true
		}
	}
	return Credential{}, false
}

// Set stores c for space, in place of the one of its user. A Permanent one is in the file, durably, once Set has returned
// nil; on an error nothing was changed. One whose Persistence is None is refused.
func (s *Storage) Set(ctx context.Context, space Space, c Credential) error {
	return s.set(ctx, space, c, false)
}

// SetDefault is Set, and makes c what is tried first in space.
func (s *Storage) SetDefault(ctx context.Context, space Space, c Credential) error {
	return s.set(ctx, space, c, true)
}

func (s *Storage) set(ctx context.Context, space Space, c Credential, isDefault bool) error {
	switch {
	case c.IsZero():
		return &task.Error{Op: "store credential for", URL: space.String(), Code: task.BadURL, Err: errors.New("it is empty")}
	case c.Persistence == None:
		return &task.Error{Op: "store credential for", URL: space.String(), Code: task.BadURL,
			Err: errors.New("its persistence is none: choose session or permanent")}
	}
	if c.Persistence == Permanent && s.file != nil {
		err := s.edit(ctx, func(kept table) bool {
			kept.set(space, c, isDefault)
			return true
		})
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.session.remove(space, c.id())
		if isDefault {
			list := slices.Clone(s.session[space])
			for i := range list {
				list[i].isDefault = false
			}
			s.session[space] = list
		}
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session.set(space, c, isDefault)
	return nil
}

// Keep is SetDefault of what a server has taken. Where the file cannot be written, what is to last is in memory all the
// same, until Flush can write it, and the error says so.
func (s *Storage) Keep(ctx context.Context, taken Stored) error {
	err := s.SetDefault(ctx, taken.Space, taken.Credential)
	if err != nil && taken.Credential.Persistence == Permanent && !taken.Credential.IsZero() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.session.set(taken.Space, taken.Credential, true)
	}
	return err
}

// owed are those that Keep could not write.
func (s *Storage) owed() (all []Stored) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for space, entries := range s.session {
		for _, e := range entries {
			if e.Persistence == Permanent {
				all = append(all, Stored{space, e.Credential, e.isDefault})
			}
		}
	}
	return all
}

// settle drops from memory those of owed that have not changed since: the file has them.
func (s *Storage) settle(owed []Stored) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range owed {
		if slices.ContainsFunc(s.session[o.Space], func(e entry) bool { return e.Credential.Equal(o.Credential) }) {
			s.session.remove(o.Space, o.Credential.id())
		}
	}
}

// Remove removes the credential of c's user, or token, or certificate, from exactly this space; from the file durably. It
// is no error where there is none.
func (s *Storage) Remove(ctx context.Context, space Space, c Credential) error {
	s.mu.Lock()
	s.session.remove(space, c.id())
	s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	if id, err := identify(s.file.path); err == nil && id.info == nil {
		return nil
	}
	return s.edit(ctx, func(kept table) bool { return kept.remove(space, c.id()) })
}
