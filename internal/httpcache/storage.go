package httpcache

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

const (
	maxVariants = 8 // stored responses of one URL
	entryPart   = 8 // an entry measures at most this part of the capacity
)

// errTooLarge ends the writing of a body that no entry may have.
var errTooLarge = errors.New("too large to be stored")

// Storage keeps entries, in memory or in a folder, and no more than its capacity of them: those that were used longest ago
// go first. Make one with InMemory or Open. Its methods may be called from any goroutine. It holds nothing open.
type Storage struct {
	shelf    shelf
	maxEntry int64 // bytes of a body

	mu      sync.Mutex
	writers map[*writer]struct{} // what is on its way, which a removal must stop
}

// shelf is where entries are. Its methods may be called from any goroutine.
type shelf interface {
	// find is the newest entry of k whose head is wanted, noted as used; nil: none is.
	find(k key, wanted func(*head) bool) *stored
	// create begins a body of about size bytes; -1: nobody knows.
	create(size int64) (sink, error)
	// update gives an entry another head, unless it is there no more.
	update(s *stored, h *head) error
	// remove removes k's entries.
	remove(k key) error
	flush(ctx context.Context) error
	reset(ctx context.Context) error
	entries(func(key, *head, int64, time.Time)) error
	size() (int64, error)
}

// sink takes a body. It ends by one call of commit or abandon, whatever that returns.
type sink interface {
	Write(p []byte) (int, error)
	// commit makes it an entry of k, in place of one that replaced wants replaced.
	commit(k key, h *head, replaced func(*head) bool) error
	abandon()
}

// InMemory is an empty Storage in memory, of capacity bytes, heads with them.
func InMemory(capacity int64) *Storage {
	return newStorage(newMemory(capacity), capacity/entryPart)
}

func newStorage(s shelf, maxEntry int64) *Storage {
	return &Storage{shelf: s, maxEntry: maxEntry, writers: make(map[*writer]struct{})}
}

func (s *Storage) find(k key, wanted func(*head) bool) *stored { return s.shelf.find(k, wanted) }

// remove removes the entries of k, and those on their way: what they hold may be from before that which removes them.
func (s *Storage) remove(k key) error {
	s.stop(func(w *writer) bool { return w.key == k })
	return s.shelf.remove(k)
}

func (s *Storage) stop(which func(*writer) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.writers {
		if which(w) {
			w.stopped = true
		}
	}
}

// Flush returns when every entry that was stored by s before the call is on disk, durably. In memory there is nothing to do.
func (s *Storage) Flush(ctx context.Context) error { return s.shelf.flush(ctx) }

// Reset removes all entries, and those on their way; of a folder those that it comes to before ctx ends.
func (s *Storage) Reset(ctx context.Context) error {
	s.stop(func(*writer) bool { return true })
	return s.shelf.reset(ctx)
}

// Remove removes the entries of a URL.
func (s *Storage) Remove(u *url.URL) error {
	k, _ := keyOfURL(u, "")
	return s.remove(k)
}

// URL is u as Info has it: the form in which two URLs are compared.
func URL(u *url.URL) string {
	_, s := keyOfURL(u, "")
	return s
}

// Size is what the entries measure, in bytes.
func (s *Storage) Size() (int64, error) { return s.shelf.size() }

// Info tells of an entry.
type Info struct {
	URL        string // with its query, which may be a secret
	Status     int
	Size       int64     // of body and head where they are kept, in bytes
	Length     int64     // of the body, coded as it is, in bytes
	Vary       []string  // fields of the request that select it among those of its URL
	Stored     time.Time // or confirmed by the server last
	FreshUntil time.Time // from then on the server is asked; long ago where it always is
	Used       time.Time // to the minute
}

// Entries tells of all entries, the one that was used last first.
func (s *Storage) Entries() ([]Info, error) {
	var all []Info
	err := s.shelf.entries(func(_ key, h *head, size int64, used time.Time) {
		i := Info{URL: h.URL, Status: h.Status, Size: size, Length: h.Length, Vary: h.Vary, Stored: h.Received, Used: used}
		if lifetime := h.lifetime(); lifetime > 0 && !responseDirectives(h.Header).always("no-cache") {
			i.FreshUntil = h.Received.Add(lifetime - h.age(h.Received))
		}
		all = append(all, i)
	})
	slices.SortFunc(all, func(a, b Info) int { return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.URL, b.URL)) })
	return all, err
}

func fileError(op, path string, code task.Code, err error) error {
	return &task.Error{Op: op, URL: path, Code: code, Err: err}
}
