package httpcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// files are the names in a folder, by kind.
func files(t *testing.T, folder string) map[kind][]string {
	t.Helper()
	list, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[kind][]string)
	for _, e := range list {
		what, _, _, _ := parseFileName(e.Name())
		all[what] = append(all[what], filepath.Join(folder, e.Name()))
	}
	return all
}

// numbered answers each URL with a body of its own, of size bytes.
func numbered(size int) func(*http.Request) *http.Response {
	return func(req *http.Request) *http.Response {
		return reply(200, string(pattern(req.URL.Path[1], size)), "Cache-Control: max-age=3600", `Etag: "e"`)
	}
}

func numberedURL(i int) string { return "https://example.org/" + string(rune('A'+i)) }

// has reports whether a URL is stored, and checks its body.
func (w *world) has(i, size int) bool {
	w.t.Helper()
	resp, err := w.cache.RoundTrip(w.under(ReturnDontLoad, numberedURL(i)))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(body, pattern(byte('A'+i), size)) {
		w.t.Errorf("%s: %d bytes, %v", numberedURL(i), len(body), err)
	}
	return true
}

func TestBudgets(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 40_000, "large": 100_000} {
		const capacity = 1 << 20
		for kind, s := range map[string]*Storage{"memory": InMemory(capacity), "folder": open(t, t.TempDir(), FolderOptions{Capacity: capacity})} {
			w := newWorld(t, s, Options{})
			w.answer = numbered(size)
			const n = 50
			for i := range n {
				w.do(newRequest(t, numberedURL(i)))
				if d, ok := s.shelf.(*disk); ok { // a file's time is to the tick of the kernel's clock: make it longer ago
					past := time.Now().Add(time.Duration(i-n) * time.Hour)
					k, _ := keyOf(newRequest(t, numberedURL(i)))
					os.Chtimes(d.path(k, 0), past, past)
				}
				w.has(0, size) // it is used all the time
				if got, err := s.Size(); err != nil || got > capacity {
					t.Fatalf("%s, %s: %d bytes after %d entries, %v", name, kind, got, i+1, err)
				}
			}
			if !w.has(0, size) || !w.has(n-1, size) || w.has(1, size) || w.has(2, size) {
				t.Errorf("%s, %s: stored are %v %v, not %v %v", name, kind, w.has(0, size), w.has(n-1, size), w.has(1, size), w.has(2, size))
			}
			all, err := s.Entries()
			if err != nil || len(all)*size < capacity*3/4 {
				t.Errorf("%s, %s: only %d entries stay, %v", name, kind, len(all), err)
			}
			w.says(200, string(make([]byte, capacity/entryPart+1)), "Cache-Control: max-age=60")
			w.do(newRequest(t, page))
			w.answer = func(*http.Request) *http.Response { // and one that does not say how large it is
				resp := reply(200, string(make([]byte, capacity/entryPart+1)), "Cache-Control: max-age=60")
				resp.ContentLength, resp.TransferEncoding = -1, []string{"chunked"}
				return resp
			}
			w.do(newRequest(t, page))
			if w.do(newRequest(t, page)); w.source != FromNetwork {
				t.Errorf("%s, %s: what is too large was stored", name, kind)
			}
			if d, ok := s.shelf.(*disk); ok {
				if left := files(t, d.folder)[temporaryFile]; len(left) > 0 {
					t.Errorf("left: %v", left)
				}
			}
		}
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, inlineMost, inlineMost + 1, chunkSize - 1, chunkSize, 2*chunkSize + 5} {
		for name, sealer := range map[string]Sealer{"plain": nil, "sealed": newSealer("key")} {
			folder := filepath.Join(t.TempDir(), "a", "cache")
			o := FolderOptions{Capacity: 64 << 20, Sealer: sealer}
			w := newWorld(t, open(t, folder, o), Options{})
			w.answer = numbered(size)
			w.do(newRequest(t, numberedURL(0)+"?token=hidden", "Authorization: Bearer hidden"))
			w.do(newRequest(t, numberedURL(0)))
			ctx, cancel := timeout()
			defer cancel()
			if err := w.storage.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(folder)
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the folder is %v, %v", info.Mode(), err)
			}
			for _, paths := range files(t, folder) {
				for _, path := range paths {
					if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
						t.Errorf("%s is %v, %v", path, info.Mode(), err)
					}
					data, _ := os.ReadFile(path)
					if strings.Contains(path, "hidden") || bytes.Contains(data, []byte("Bearer")) || sealer != nil && bytes.Contains(data, []byte("hidden")) {
						t.Errorf("%s has the secret", path)
					}
					if sealer != nil && size > 100 && bytes.Contains(data, pattern('A', 100)[20:]) {
						t.Errorf("%s has the body unsealed", path)
					}
				}
			}
			os.WriteFile(filepath.Join(folder, "notes.txt"), []byte("mine"), 0o600)
			w = newWorld(t, open(t, folder, o), Options{}) // as another process does
			if !w.has(0, size) {
				t.Errorf("%s: %d bytes are gone", name, size)
			}
			if size > 10 {
				for _, r := range [][2]int{{0, 1}, {size - 1, size}, {size / 2, size}, {size / 3, size/3 + 7}, {chunkSize, chunkSize + 1}} {
					if r[1] > size {
						continue
					}
					want := string(pattern('A', size)[r[0]:r[1]])
					w.get(numberedURL(0), 206, want, FromCache, fmt.Sprintf("Range: bytes=%d-%d", r[0], r[1]-1))
				}
			}
			w.says(304, "", "Cache-Control: max-age=60", "X-New: new")
			if w.do(w.under(ReloadRevalidating, numberedURL(0))); w.source != FromValidated || !w.has(0, size) {
				t.Errorf("%s: %d bytes are gone after a 304", name, size)
			}
			all, err := w.storage.Entries()
			measured, err2 := w.storage.Size()
			if err != nil || err2 != nil || len(all) != 2 || all[0].Size+all[1].Size != measured || all[0].Length != int64(size) {
				t.Errorf("%s: Entries are %+v, Size %d, %v %v", name, all, measured, err, err2)
			}
			if err := w.storage.Reset(t.Context()); err != nil {
				t.Fatal(err)
			}
			if w.has(0, size) {
				t.Error("it is there after a reset")
			}
			if left := files(t, folder); len(left) != 1 || len(left[foreign]) != 1 {
				t.Errorf("a reset leaves %v", left)
			}
		}
	}
}

// TestDamage: whatever becomes of a file, no wrong byte of it is given away, and it is removed.
func TestDamage(t *testing.T) {
	t.Parallel()
	for name, sealer := range map[string]Sealer{"plain": nil, "sealed": newSealer("key")} {
		for _, size := range []int{1000, chunkSize + 9} {
			for damage, spoil := range map[string]func(path string) error{
				"empty":   func(p string) error { return os.Truncate(p, 0) },
				"cut":     func(p string) error { i, _ := os.Stat(p); return os.Truncate(p, i.Size()-1) },
				"longer":  func(p string) error { i, _ := os.Stat(p); return os.Truncate(p, i.Size()+1) },
				"zeros":   func(p string) error { i, _ := os.Stat(p); return os.WriteFile(p, make([]byte, i.Size()), 0o600) },
				"removed": os.Remove,
				"changed": func(p string) error {
					data, err := os.ReadFile(p)
					if err != nil {
						return err
					}
					data[len(data)-10] ^= 1
					return os.WriteFile(p, data, 0o600)
				},
			} {
				for _, what := range []kind{entryFile, bodyOfEntry} {
					if what == bodyOfEntry && size < inlineMost {
						continue
					}
					folder := t.TempDir()
					w := newWorld(t, open(t, folder, FolderOptions{Sealer: sealer}), Options{})
					w.answer = numbered(size)
					w.do(newRequest(t, numberedURL(0)))
					if err := spoil(files(t, folder)[what][0]); err != nil {
						t.Fatal(err)
					}
					resp, err := w.cache.RoundTrip(newRequest(t, numberedURL(0)))
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if !bytes.HasPrefix(pattern('A', size), body) || err == nil && len(body) != size || err != nil && !errors.Is(err, task.ConnectionLost) {
						t.Errorf("%s, %d bytes, kind %d %s: %d bytes, %v", name, size, what, damage, len(body), err)
					}
					w.do(newRequest(t, numberedURL(0))) // it is stored anew, if it was not already
					if !w.has(0, size) {
						t.Errorf("%s, %d bytes, kind %d %s: it is not stored again", name, size, what, damage)
					}
				}
			}
		}
	}
}

// TestLeftovers: what kills leave goes when a Storage is opened, and what others are writing stays.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	w := newWorld(t, open(t, folder, FolderOptions{}), Options{})
	w.answer = numbered(2 * chunkSize)
	w.do(newRequest(t, numberedURL(0)))
	body := files(t, folder)[bodyOfEntry][0]
	write := func(name string, old bool) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if old {
			past := time.Now().Add(-2 * orphanAge)
			os.Chtimes(path, past, past)
		}
		return path
	}
	other := strings.Repeat("B", randomLength)
	past := time.Now().Add(-2 * orphanAge)
	os.Chtimes(body, past, past)
	gone := []string{
		write(strings.Repeat("A", randomLength)+".tmp", false),
		write(filepath.Base(body[:len(body)-randomLength])+other, true), // a body of that entry, which names another
		write(key{9}.fileName()+".0."+other, true),                      // of none
		write(key{8}.fileName()+".1", false),                            // behind a gap
	}
	locked := write(strings.Repeat("C", randomLength)+".tmp", true)
	f, err := os.Open(locked)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := durable.Lock(f); err != nil {
		t.Fatal(err)
	}
	stay := []string{locked, body, write(key{9}.fileName()+".1."+other, false), write("notes.tmp", true)}
	open(t, folder, FolderOptions{})
	for _, path := range gone {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", filepath.Base(path), err)
		}
	}
	for _, path := range stay {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	if !w.has(0, 2*chunkSize) {
		t.Error("the entry is gone")
	}
}

// TestReplaced: a reader goes on with what it has begun, and the old body goes.
func TestReplaced(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	w := newWorld(t, open(t, folder, FolderOptions{}), Options{})
	const size = 3 * chunkSize
	w.answer = numbered(size)
	w.do(newRequest(t, numberedURL(0)))
	resp, err := w.cache.RoundTrip(newRequest(t, numberedURL(0)))
	if err != nil {
		t.Fatal(err)
	}
	w.do(w.under(ReloadIgnoringLocal, numberedURL(0)))
	if got := files(t, folder); len(got[entryFile]) != 1 || len(got[bodyOfEntry]) != 1 {
		t.Errorf("the folder has %v", got)
	}
	w.storage.Reset(t.Context())
	body, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(body, pattern('A', size)) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	resp.Body.Close()
}

func TestFailingFolder(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := Open(file, FolderOptions{}); !errors.Is(err, task.CannotOpenFile) {
		t.Errorf("a file for a folder: %v", err)
	}
	if _, err := Open(filepath.Join(file, "cache"), FolderOptions{}); !errors.Is(err, task.CannotCreateFile) {
		t.Errorf("a folder in a file: %v", err)
	}
	var warned []error
	folder := filepath.Join(t.TempDir(), "cache")
	w := newWorld(t, open(t, folder, FolderOptions{Warn: func(err error) { warned = append(warned, err) }}), Options{})
	w.answer = numbered(100)
	os.RemoveAll(folder)
	os.WriteFile(folder, nil, 0o600)
	for range 3 {
		w.get(numberedURL(0), 200, string(pattern('A', 100)), FromNetwork)
	}
	if len(warned) != 1 || !errors.Is(warned[0], task.CannotWriteFile) {
		t.Errorf("warned of %v", warned)
	}
	os.Remove(folder)
	w.do(newRequest(t, numberedURL(0)))
	if !w.has(0, 100) {
		t.Error("it does not recover")
	}
}

// TestLockedSealer: entries that cannot be opened for now count as missing, and stay.
func TestLockedSealer(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	key := &keyring{Sealer: newSealer("key")}
	var warned int
	w := newWorld(t, open(t, folder, FolderOptions{Sealer: key, Warn: func(error) { warned++ }}), Options{})
	w.answer = numbered(2 * chunkSize)
	w.do(newRequest(t, numberedURL(0)))
	key.locked = true
	if w.has(0, 2*chunkSize) {
		t.Error("a locked entry was opened")
	}
	w.do(newRequest(t, numberedURL(0)))
	if warned != 1 {
		t.Errorf("warned %d times", warned)
	}
	key.locked = false
	if !w.has(0, 2*chunkSize) {
		t.Error("the entry has not stayed")
	}
}

type keyring struct {
	Sealer
	locked bool
}

var errKeyring = errors.New("the keyring is locked")

func (k *keyring) Seal(dst, b []byte) ([]byte, error) {
	if k.locked {
		return nil, errKeyring
	}
	return k.Sealer.Seal(dst, b)
}

func (k *keyring) Open(dst, b []byte) ([]byte, error) {
	if k.locked {
		return nil, errKeyring
	}
	return k.Sealer.Open(dst, b)
}

// TestManyAtOnce: requests, changes and looks of many goroutines give no wrong byte, and leave nothing.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for kind, s := range map[string]*Storage{"memory": InMemory(2 << 20), "folder": open(t, folder, FolderOptions{Capacity: 2 << 20})} {
		c := New(origin(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("If-None-Match") != "" {
				return reply(304, "", "Cache-Control: max-age=60, stale-while-revalidate=60"), nil
			}
			return numbered(70_000)(req), nil
		}), s, Options{})
		var done sync.WaitGroup
		for g := range 8 {
			done.Go(func() {
				for i := range 40 {
					n := (g + i) % 5
					method := http.MethodGet
					if (g+i)%11 == 0 {
						method = http.MethodPost
					}
					req := newRequest(t, method+" "+numberedURL(n))
					resp, err := c.RoundTrip(req.WithContext(WithPolicy(req.Context(), []Policy{UseProtocol, ReloadIgnoringLocal, ReloadRevalidating}[i%3])))
					if err != nil {
						t.Error(err)
						return
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || !bytes.Equal(body, pattern(byte('A'+n), 70_000)) {
						t.Errorf("%s: %d bytes, %v", kind, len(body), err)
					}
					if i%13 == 0 {
						s.Entries()
					}
				}
			})
		}
		done.Wait()
		c.Close()
		if len(s.writers) != 0 {
			t.Errorf("%s: %d writers are left", kind, len(s.writers))
		}
	}
	if got := files(t, folder); len(got[bodyOfEntry]) != len(got[entryFile]) || len(got[temporaryFile]) != 0 {
		t.Errorf("the folder has %v", got)
	}
}

// TestFlush: it says when it could not, and tries all again.
func TestFlush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open(t, t.TempDir(), FolderOptions{}), Options{})
	w.answer = numbered(2 * chunkSize)
	w.do(newRequest(t, numberedURL(0)))
	w.do(newRequest(t, numberedURL(1)))
	w.do(newRequest(t, "HEAD "+numberedURL(0)))
	d := w.storage.shelf.(*disk)
	if len(d.dirty) != 4 {
		t.Errorf("%d files are to be synced", len(d.dirty))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.storage.Flush(ctx); !errors.Is(err, task.Cancelled) || len(d.dirty) != 4 {
		t.Errorf("cancelled: %v, %d files are to be synced", err, len(d.dirty))
	}
	if err := w.storage.Remove(newRequest(t, numberedURL(1)).URL); err != nil {
		t.Error(err)
	}
	ctx, cancel = timeout()
	defer cancel()
	if err := w.storage.Flush(ctx); err != nil || len(d.dirty) != 0 {
		t.Errorf("%v, %d files are to be synced", err, len(d.dirty))
	}
	if err := InMemory(1).Flush(ctx); err != nil {
		t.Error(err)
	}
}
