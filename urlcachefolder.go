package urlsession

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/seal"
)

// ephemeralCacheCapacity is that of Ephemeral, and of default sessions that have no folder, in bytes.
const ephemeralCacheCapacity = 16 << 20

// applicationCaches are those of this process, by their folder, or "" and the name where there is none.
var applicationCaches struct {
	sync.Mutex
	all map[[2]string]*URLCache
}

// urlCacheOf is the cache of an application's default sessions. It does no I/O: the folder is looked at when a request first
// asks. The key lies in it, and not in the user's keyring: see cookiesOf.
func urlCacheOf(application string) *URLCache {
	if application == "" {
		application = programName()
	}
	folder, err := cacheFolder()
	place := [2]string{"", application}
	if err == nil {
		place = [2]string{filepath.Join(folder, application)}
	}
	applicationCaches.Lock()
	defer applicationCaches.Unlock()
	c := applicationCaches.all[place]
	switch {
	case c != nil:
		return c
	case err != nil:
		c = NewURLCache(ephemeralCacheCapacity)
		c.homeless = err
	default:
		o := httpcache.FolderOptions{Capacity: DefaultURLCacheCapacity, Sealer: newCacheSealer(place[0])}
		c = &URLCache{storage: httpcache.Later(place[0], o), capacity: o.Capacity}
	}
	c.application = true
	if applicationCaches.all == nil {
		applicationCaches.all = make(map[[2]string]*URLCache)
	}
	applicationCaches.all[place] = c
	return c
}

// cacheFolder is where default sessions keep what can be had again. A relative XDG_CACHE_HOME is ignored, as the XDG Base
// Directory Specification wants.
func cacheFolder() (string, error) {
	if dir := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "urlsession"), nil
	}
	home, err := os.UserHomeDir()
	if err == nil && !filepath.IsAbs(home) {
		err = errors.New("HOME is not absolute")
	}
	if err != nil {
		return "", fmt.Errorf("there is no folder for it: %w; set XDG_CACHE_HOME to a folder of yours", err)
	}
	return filepath.Join(home, ".cache", "urlsession"), nil
}

// cacheSealer seals with a key in the cache's folder, which is made when it is first needed. It is a httpcache.Sealer.
//
// The key is read once. It is read again where something does not open: a folder that was removed, as may be done with a
// cache, has another key once another process has stored in it.
type cacheSealer struct {
	folder string
	holder seal.Holder

	mu  sync.Mutex
	now *seal.Sealer // nil: not read yet
}

func newCacheSealer(folder string) *cacheSealer {
	return &cacheSealer{folder: folder, holder: seal.InFile(filepath.Join(folder, "key"))}
}

// sealer is that of the key that is known, or with anew of the one that lies there now.
func (c *cacheSealer) sealer(anew, create bool) (*seal.Sealer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now != nil && !anew {
		return c.now, nil
	}
	if create {
		if err := durable.MakeDir(c.folder); err != nil {
			return nil, err
		}
	}
	key, err := c.holder.Key(context.Background(), create)
	if err != nil {
		return nil, err
	}
	c.now = key.Sealer("url cache")
	return c.now, nil
}

func (c *cacheSealer) Seal(dst, secret []byte) ([]byte, error) {
	s, err := c.sealer(false, true)
	if err != nil {
		return nil, err
	}
	return s.AppendSealed(dst, secret), nil
}

func (c *cacheSealer) Open(dst, sealed []byte) ([]byte, error) {
	for _, anew := range []bool{false, true} {
		s, err := c.sealer(anew, false)
		if errors.Is(err, seal.ErrNoKey) {
			break
		}
		if err != nil {
			return nil, err
		}
		if secret, err := s.AppendOpened(dst, sealed); err == nil {
			return secret, nil
		}
	}
	return nil, httpcache.ErrDamaged
}
