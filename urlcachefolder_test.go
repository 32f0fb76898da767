package urlsession

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/urlsessiontest"
)

const cacheMarker = "marker5d3c"

// largeSize is of a body that has a file of its own, of several chunks.
const largeSize = 1 << 20

// cacheTest is an origin, and a home of its own for sessions that ask it.
type cacheTest struct {
	cached
	home string
}

func newCacheTest(t *testing.T) *cacheTest {
	t.Helper()
	c := &cacheTest{cached{t: t, srv: urlsessiontest.NewServer()}, t.TempDir()}
	t.Cleanup(c.srv.Close)
	t.Setenv("XDG_CACHE_HOME", c.home)
	c.srv.Publish("/large", urlsessiontest.Resource{Content: urlsessiontest.Body{Seed: 5, Size: largeSize}, ETag: `"v1"`,
		Header: http.Header{"Cache-Control": {"max-age=3600"}}})
	return c
}

// open has the test go on in a default session of the application.
func (c *cacheTest) open(application string, change func(*Configuration)) *Session {
	c.t.Helper()
	config := Default()
	config.Application = application
	config.CookieStorage = nil
	if change != nil {
		change(&config)
	}
	s, err := New(config)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { s.Close() })
	c.s = s
	return s
}

// forgetCaches has this process open the applications' folders anew, as another would.
func forgetCaches() {
	applicationCaches.Lock()
	defer applicationCaches.Unlock()
	applicationCaches.all = nil
}

func TestDefaultCacheLasts(t *testing.T) {
	c := newCacheTest(t)
	s := c.open("app", nil)
	c.has("1", "Cache-Control: no-store")
	c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
	if err := s.Flush(t.Context()); err != nil || len(files(t, c.home)) > 0 {
		t.Errorf("without a response to keep there are %v, %v", files(t, c.home), err)
	}
	c.has("body of " + cacheMarker)
	r := Get(c.srv.URL + page + "?token=" + cacheMarker)
	r.Header = http.Header{"Authorization": {"Bearer " + cacheMarker}, "X-Key": {cacheMarker}}
	if _, _, err := c.do(r); err != nil {
		t.Fatal(err)
	}
	large := Get(c.srv.URL + "/large")
	if _, _, err := c.do(large); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range files(t, c.home) {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
		if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(cacheMarker)) || bytes.Contains(b, []byte("max-age")) {
			t.Errorf("%s has what was to be sealed", path)
		}
	}
	c.open("other", nil)
	if got, _, err := c.do(large); err != nil || got.from != FetchNetwork {
		t.Errorf("another application gets %q, %v", got.from, err)
	}
	for _, process := range []string{"this", "another"} {
		c.open("app", nil)
		for _, r := range []Request{r, large} {
			if got, _, err := c.do(r); err != nil || got.from != FetchCache {
				t.Errorf("another session of the application in %s process gets %q, %v", process, got.from, err)
			}
		}
		forgetCaches()
	}
	s = c.open("app", nil)
	if size, err := s.Configuration().URLCache.Size(); err != nil || size < largeSize {
		t.Errorf("%d bytes, %v", size, err)
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := files(t, filepath.Join(c.home, "urlsession", "app")); len(got) != 1 || filepath.Base(got[0]) != "key" {
		t.Errorf("after Reset there are %v", got)
	}
	if got, _, err := c.do(large); err != nil || got.from != FetchNetwork {
		t.Errorf("after Reset it gets %q, %v", got.from, err)
	}
	if s.config.URLCache != urlCacheOf("app") || Default().URLCache == urlCacheOf("app") {
		t.Error("an application has not one cache of its own in the process")
	}
}

// TestTheCachesKey: where it was lost nothing is found, and all goes on with a new one.
func TestTheCachesKey(t *testing.T) {
	c := newCacheTest(t)
	c.has("1")
	key := filepath.Join(c.home, "urlsession", "app", "key")
	for name, lose := range map[string]func() error{
		"removed":              func() error { return os.Remove(key) },
		"with all the folder":  func() error { return os.RemoveAll(c.home) },
		"in another's process": func() error { forgetCaches(); return os.RemoveAll(c.home) },
	} {
		c.open("app", nil)
		c.post()
		c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		c.open("app", nil)
		if got, _, err := c.do(c.get(CachePolicyDefault)); err != nil || name != "removed" && got.from != FetchNetwork {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		c.want(answer{200, "1", FetchCache, 0}, CachePolicyDefault)
		forgetCaches()
		c.open("app", nil)
		first, _, _ := c.do(c.get(CachePolicyDefault)) // of what was sealed with a key that is gone it finds nothing
		if first.body != "1" {
			t.Errorf("%s: %+v", name, first)
		}
		c.want(answer{200, "1", FetchCache, 0}, CachePolicyDefault)
		if err := c.s.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Where another process has made a new one, what is sealed with that is found.
	if err := os.RemoveAll(c.home); err != nil {
		t.Fatal(err)
	}
	c.open("app", func(config *Configuration) {
		var err error
		if config.URLCache, err = OpenURLCache(filepath.Dir(key), 0); err != nil {
			t.Fatal(err)
		}
	})
	c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
	c.open("app", nil)
	c.want(answer{200, "1", FetchCache, 0}, CachePolicyDefault)
	// One that others could read is not used, and says so.
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	forgetCaches()
	c.open("app", nil)
	for range 2 {
		c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
	}
	if err := c.s.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "0644") {
		t.Errorf("Flush says %v", err)
	}
}

// TestNoPlaceForTheCache: sessions work, and Flush and Close say why they keep nothing.
func TestNoPlaceForTheCache(t *testing.T) {
	for name, spoil := range map[string]func(c *cacheTest){
		"a folder that cannot be made": func(c *cacheTest) {
			if err := os.Symlink("nowhere", filepath.Join(c.home, "urlsession")); err != nil {
				c.t.Fatal(err)
			}
		},
		"no home": func(c *cacheTest) {
			c.t.Setenv("XDG_CACHE_HOME", "relative")
			c.t.Setenv("HOME", "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			forgetCaches()
			c := newCacheTest(t)
			spoil(c)
			s := c.open("app", nil)
			c.has("1", "Cache-Control: no-store")
			c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
			if err := s.Flush(t.Context()); err != nil {
				t.Errorf("with nothing to keep: %v", err)
			}
			c.has("1")
			c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault)
			for _, err := range []error{s.Flush(t.Context()), s.Close()} {
				if err == nil || !strings.Contains(err.Error(), "store in the cache") {
					t.Errorf("it says %v", err)
				}
			}
			s = c.open("app", nil)
			if err := s.Reset(t.Context()); err != nil {
				t.Errorf("Reset: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("after Reset: %v", err)
			}
			forgetCaches()
		})
	}
}

// TestADamagedBodyIsLoadedAnew by the next attempt: what has gone wrong in its midst is a lost connection.
func TestADamagedBodyIsLoadedAnew(t *testing.T) {
	for retries, want := range []error{ErrConnectionLost, nil} {
		c := newCacheTest(t)
		c.open("app", func(config *Configuration) { config.Retries = retries })
		large := Get(c.srv.URL + "/large")
		if _, _, err := c.do(large); err != nil {
			t.Fatal(err)
		}
		damaged := 0
		for _, path := range files(t, c.home) {
			if info, _ := os.Stat(path); info.Size() < largeSize {
				continue
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteAt([]byte("damage"), largeSize/2)
			f.Close()
			damaged++
		}
		if damaged != 1 {
			t.Fatalf("%d bodies were damaged", damaged)
		}
		got, _, err := c.do(large)
		if want != nil {
			wantCode(t, err, want.(Code))
			got, _, err = c.do(large)
		}
		if err != nil || got.from != FetchNetwork || got.asked != 1 {
			t.Errorf("with %d retries: %q from %q, asked %d times, %v", retries, got.body[:min(10, len(got.body))], got.from, got.asked, err)
		}
		if err := (urlsessiontest.Body{Seed: 5, Size: largeSize}).Check(strings.NewReader(got.body)); err != nil {
			t.Error(err)
		}
		forgetCaches()
	}
}

// TestResetWhileABodyIsStored: the task goes on, and what it brings is not kept.
func TestResetWhileABodyIsStored(t *testing.T) {
	c := newCacheTest(t)
	s := c.open("app", nil)
	gate := urlsessiontest.NewGate()
	c.srv.Script("/large", urlsessiontest.HoldAt(urlsessiontest.AtBody(largeSize*3/4), gate))
	made, err := s.DataTask(t.Context(), Get(c.srv.URL+"/large"))
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(c.home, "urlsession", "app")
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if part, _ := filepath.Glob(filepath.Join(folder, "*.tmp")); len(part) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is stored")
		}
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	gate.Open()
	body, err := made.Body(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := (urlsessiontest.Body{Seed: 5, Size: largeSize}).Check(bytes.NewReader(body)); err != nil {
		t.Error(err)
	}
	if all, err := s.config.URLCache.Entries(); err != nil || len(all) != 0 {
		t.Errorf("kept are %+v, %v", all, err)
	}
	if got := files(t, folder); len(got) != 1 {
		t.Errorf("there are %v", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestResetWhileABodyIsStoredInMemory is the same without files.
func TestResetWhileABodyIsStoredInMemory(t *testing.T) {
	s, srv := start(t, nil)
	c := &cached{t, s, srv}
	c.has("content")
	gate := urlsessiontest.NewGate()
	defer gate.Open()
	srv.Script(page, urlsessiontest.HoldAt(urlsessiontest.AtBody(3), gate))
	made, err := s.DataTask(t.Context(), Get(srv.URL+page))
	if err != nil {
		t.Fatal(err)
	}
	for ev, err := range made.Events(within(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := ev.(ResponseReceived); ok {
			if err := s.Reset(t.Context()); err != nil {
				t.Error(err)
			}
			gate.Open()
		}
	}
	if body, err := made.Body(within(t)); err != nil || string(body) != "content" {
		t.Errorf("%q, %v", body, err)
	}
	c.want(answer{200, "content", FetchNetwork, 1}, CachePolicyDefault)
}

func TestURLCache(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a", "cache")
	onDisk, err := OpenURLCache(folder, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	other, err := OpenURLCache(folder, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	inMemory := NewURLCache(1 << 20)
	for name, caches := range map[string][2]*URLCache{"folder": {onDisk, other}, "memory": {inMemory, inMemory}} {
		t.Run(name, func(t *testing.T) {
			cache := caches[0]
			s, srv := start(t, func(c *Configuration) { c.URLCache = cache })
			c := &cached{t, s, srv}
			begin := time.Now().Add(-time.Second)
			c.has("1", "Vary: Accept-Language")
			c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault, "Accept-Language: de")
			c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault, "Accept-Language: en")
			srv.Publish("/other", urlsessiontest.Resource{Content: urlsessiontest.Bytes("22"), ETag: `"2"`})
			if _, _, err := s.Data(t.Context(), Get(srv.URL+"/other?secret=1")); err != nil {
				t.Fatal(err)
			}
			cache = caches[1]
			all, err := cache.Entries()
			if err != nil || len(all) != 3 {
				t.Fatalf("%+v, %v", all, err)
			}
			some, err := cache.Entries(strings.ToUpper(srv.URL[:7])+srv.URL[7:]+"/other?secret=1#x", "http://nobody.example")
			if err != nil || len(some) != 1 {
				t.Fatalf("%+v, %v", some, err)
			}
			if e := some[0]; e.URL != srv.URL+"/other?secret=1" || e.StatusCode != 200 || e.Length != 2 || e.Size <= 2 || e.Stored.Before(begin) ||
				e.FreshUntil.After(time.Now()) || e.Used.Before(begin) {
				t.Errorf("%+v", e)
			}
			some, err = cache.Entries(srv.URL + page)
			if err != nil || len(some) != 2 || !some[0].FreshUntil.After(time.Now()) || strings.Join(some[0].Vary, " ") != "accept-language authorization" {
				t.Errorf("%+v, %v", some, err)
			}
			if size, err := cache.Size(); err != nil || size != all[0].Size+all[1].Size+all[2].Size || cache.Capacity() < size {
				t.Errorf("%d bytes, %v", size, err)
			}
			if err := cache.Remove(srv.URL + page); err != nil {
				t.Error(err)
			}
			c.want(answer{200, "1", FetchNetwork, 1}, CachePolicyDefault, "Accept-Language: de")
			if err := cache.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			if err := cache.Reset(t.Context()); err != nil {
				t.Error(err)
			}
			if all, err := cache.Entries(); err != nil || len(all) != 0 {
				t.Errorf("%+v, %v", all, err)
			}
			for _, bad := range []string{"", "example.com/x", "ftp://h/?hunter2", "http://u:hunter2@h:99999/"} {
				_, err := cache.Entries(bad)
				for _, err := range []error{err, cache.Remove(bad)} {
					if err == nil || strings.Contains(err.Error(), "hunter2") {
						t.Errorf("%q: %v", bad, err)
					}
				}
			}
		})
	}
	if _, err := OpenURLCache("", 0); !errors.Is(err, ErrCannotOpenFile) {
		t.Errorf("a folder without a name: %v", err)
	}
	if _, err := OpenURLCache(filepath.Join(folder, "key", "x"), 0); err == nil {
		t.Error("a folder in a file was opened")
	}
	if _, err := ApplicationURLCache("a/b"); err == nil || !strings.Contains(err.Error(), `"a/b"`) {
		t.Errorf("%v", err)
	}
}
