package urlsession

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/urlsession/urlsession/internal/httpcache"
)

// URLCache keeps responses as RFC 9111 lets a cache of one user (docs/cache.md says what, and when they are used): the NSURLCache
// of sessions in process. Make one by NewURLCache or OpenURLCache; Default and Ephemeral do for their sessions. It may be used
// by several sessions at once, and from any goroutine. It holds no file open, and need not be closed.
//
// A response is kept once its body was read to the end, and while it is read it waits for nothing. Its body may measure an
// eighth of the capacity at most. Where there is no room, what was used longest ago goes.
type URLCache struct {
	storage  *httpcache.Storage
	capacity int64
	// Of one of an application, whose folder New looks up by Configuration.Application:
	application bool
	homeless    error // why there is no folder; nil: there is one
}

// DefaultURLCacheCapacity is the capacity of a URLCache that says none: 256 MiB.
const DefaultURLCacheCapacity int64 = httpcache.DefaultCapacity

// NewURLCache is an empty cache in memory, of capacity bytes, headers among them; 0: DefaultURLCacheCapacity.
func NewURLCache(capacity int64) *URLCache {
	if capacity <= 0 {
		capacity = DefaultURLCacheCapacity
	}
	return &URLCache{storage: httpcache.InMemory(capacity), capacity: capacity}
}

// OpenURLCache is a cache in a folder, which is made, mode 0700, if it is not there; capacity is in bytes of files, and 0 is
// DefaultURLCacheCapacity. The files are encrypted, with a key that lies among them in a file of mode 0600: so a file alone tells
// no secret, but the whole folder, and whoever may act as this user, tells all. Several processes may use one folder at once.
func OpenURLCache(folder string, capacity int64) (*URLCache, error) {
	abs, err := filepath.Abs(folder)
	if err == nil && folder == "" {
		err = errors.New("the folder has no name; . is the working directory")
	}
	if err != nil {
		return nil, &Error{Op: "open cache folder", URL: folder, Code: ErrCannotOpenFile, Err: err}
	}
	if capacity <= 0 {
		capacity = DefaultURLCacheCapacity
	}
	storage, err := httpcache.Open(abs, httpcache.FolderOptions{Capacity: capacity, Sealer: newCacheSealer(abs)})
	if err != nil {
		return nil, publicError("open cache folder", err)
	}
	return &URLCache{storage: storage, capacity: capacity}, nil
}

// CachedResponse tells of a response that a URLCache keeps: an NSCachedURLResponse without its body.
type CachedResponse struct {
	URL        string // without userinfo and fragment. Its query may be a secret
	StatusCode int
	Length     int64 // of the body, coded as it came, in bytes
	Size       int64 // of all that it takes, in bytes
	// Vary names the request's fields that tell it from others of its URL.
	Vary       []string
	Stored     time.Time // or confirmed by the server last
	FreshUntil time.Time // from then on the server is asked; before Stored where it always is
	Used       time.Time // last, to the minute
}

// Entries tells of what is kept of these URLs, or without one of all, the one that was used last first.
func (c *URLCache) Entries(urls ...string) ([]CachedResponse, error) {
	const op = "list the cache"
	wanted := make(map[string]bool, len(urls))
	for _, raw := range urls {
		u, err := cacheURL(op, raw)
		if err != nil {
			return nil, err
		}
		wanted[httpcache.URL(u)] = true
	}
	infos, err := c.storage.Entries()
	var all []CachedResponse
	for _, i := range infos {
		if len(wanted) == 0 || wanted[i.URL] {
			all = append(all, CachedResponse{i.URL, i.Status, i.Length, i.Size, slices.Clone(i.Vary), i.Stored, i.FreshUntil, i.Used})
		}
	}
	return all, publicError(op, err)
}

// Remove removes what is kept of a URL, and keeps what is on its way from being kept.
func (c *URLCache) Remove(url string) error {
	const op = "remove from the cache"
	u, err := cacheURL(op, url)
	if err != nil {
		return err
	}
	return publicError(op, c.storage.Remove(u))
}

func cacheURL(op, raw string) (*url.URL, error) {
	code, why := checkURL(raw)
	if why != "" {
		return nil, &Error{Op: op, URL: redact(raw), Code: code, Err: errors.New(why)}
	}
	u, _ := url.Parse(raw) // checked
	return u, nil
}

// Reset removes all that is kept, with its files, and keeps what is on its way from being kept. Files of others that lie in the
// folder stay, as does the key.
func (c *URLCache) Reset(ctx context.Context) error {
	return publicError("reset the cache", c.storage.Reset(ctx))
}

// Size is what is kept, in bytes; of a folder, what its files take.
func (c *URLCache) Size() (int64, error) {
	n, err := c.storage.Size()
	return n, publicError("measure the cache", err)
}

// Capacity is the most that is kept, in bytes.
func (c *URLCache) Capacity() int64 { return c.capacity }

// Flush makes durable what was kept before the call: until then it outlives the process, but not the loss of power. It says why
// the cache keeps nothing, where that is so, since responses come all the same. In memory there is nothing to do.
func (c *URLCache) Flush(ctx context.Context) error {
	if c.homeless != nil {
		if n, err := c.storage.Size(); err != nil || n > 0 {
			return &Error{Op: "store in the cache", Code: ErrCannotCreateFile, Err: c.homeless}
		}
	}
	return publicError("flush the cache", c.storage.Flush(ctx))
}

// ApplicationURLCache is the cache that default sessions of an application use (Configuration.Application), to look into it; empty:
// this program. It does no I/O.
func ApplicationURLCache(application string) (*URLCache, error) {
	if why := checkApplication(application); why != "" {
		return nil, &Error{Op: "open cache folder", Code: ErrUnknown, Err: fmt.Errorf("the application's name %s", why)}
	}
	return urlCacheOf(application), nil
}
