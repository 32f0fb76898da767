package cookie

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/urlsession/urlsession/internal/seal"
)

// later is a Storage in a folder that is not there yet, and what it warns of.
func later(t *testing.T) (open func() *Storage, path string, warned func() []error) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, "a", "b", "cookies")
	var mu sync.Mutex
	var told []error
	sealer := SealedBy(seal.InFile(filepath.Join(dir, "key")), "cookies")
	open = func() *Storage {
		s := Later(path, Options{Sealer: sealer, Warn: func(err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, err)
		}})
		t.Cleanup(func() { s.Close() })
		return s
	}
	return open, path, func() []error {
		mu.Lock()
		defer mu.Unlock()
		return told
	}
}

// TestLaterMakesNothing until there is a cookie to keep; then its folder is for the owner alone.
func TestLaterMakesNothing(t *testing.T) {
	open, path, _ := later(t)
	s := open()
	sent(t, s, site)
	mustReceive(t, s, site, "fleeting=1")
	flush(t, s)
	if err := s.Reset(t.Context()); err != nil {
		t.Error(err)
	}
	if got := sent(t, s, site); got != "" {
		t.Errorf("after Reset it sends %q", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	top := filepath.Dir(filepath.Dir(path))
	if _, err := os.Lstat(top); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is %s: %v", top, err)
	}
	s = open()
	mustReceive(t, s, site, "k=1"+forDays)
	flush(t, s)
	for _, dir := range []string{top, filepath.Dir(path)} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}
}

// TestLaterReadsOnce: whoever comes first, at the same time too, finds what the file has.
func TestLaterReadsOnce(t *testing.T) {
	open, _, warned := later(t)
	mustReceive(t, open(), site, "k=1"+forDays)
	a := open()
	mustReceive(t, a, site, "k=1"+forDays)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b := open()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got := sent(t, b, site); got != "k=1" {
				t.Errorf("it sends %q", got)
			}
		})
	}
	all.Wait()
	if !open().Remove(Cookie{Name: "k", Domain: "www.example.org", HostOnly: true, Path: "/"}) {
		t.Error("a cookie of the file is not removed by the first call")
	}
	if told := warned(); len(told) > 0 {
		t.Error(told)
	}
}

// TestLaterCannotRead: the cookies are in memory, that is said once, and Flush says it too; the file stays as it is.
func TestLaterCannotRead(t *testing.T) {
	open, path, warned := later(t)
	if err := os.MkdirAll(path, 0o700); err != nil { // a folder in the file's place
		t.Fatal(err)
	}
	s := open()
	if told := warned(); len(told) > 0 {
		t.Errorf("before it is used it warns: %v", told)
	}
	mustReceive(t, s, site, "k=1"+forDays)
	if got := sent(t, s, site); got != "k=1" {
		t.Errorf("it sends %q", got)
	}
	ctx, cancel := timeout()
	defer cancel()
	if err := s.Flush(ctx); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Flush says %v", err)
	}
	if told := warned(); len(told) != 1 {
		t.Errorf("it warns: %v", told)
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		t.Errorf("the folder: %v, %v", info, err)
	}
}

// TestLaterWithoutAFolder that could be made: a link to nowhere is not waited for.
func TestLaterWithoutAFolder(t *testing.T) {
	open, path, _ := later(t)
	if err := os.Symlink("nowhere", filepath.Dir(filepath.Dir(path))); err != nil {
		t.Fatal(err)
	}
	s := open()
	mustReceive(t, s, site, "k=1"+forDays)
	ctx, cancel := timeout()
	defer cancel()
	if err := s.Flush(ctx); !errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
		t.Errorf("Flush says %v", err)
	}
}

// TestSealedByAKey that is lost, spoiled, or of another purpose.
func TestSealedByAKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	s := SealedBy(seal.InFile(path), "cookies")
	sealed, err := s.Seal([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Open(sealed); err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := SealedBy(seal.InFile(path), "others").Open(sealed); !errors.Is(err, ErrDamaged) {
		t.Errorf("of another purpose: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(sealed); !errors.Is(err, seal.ErrKey) || errors.Is(err, ErrDamaged) {
		t.Errorf("with a key that others can read: %v", err)
	}
	if _, err := s.Seal(nil); !errors.Is(err, seal.ErrKey) {
		t.Errorf("with a key that others can read: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(sealed); !errors.Is(err, ErrDamaged) {
		t.Errorf("with a lost key: %v", err)
	}
}
