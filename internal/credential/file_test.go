package credential

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/seal"
	"github.com/urlsession/urlsession/internal/task"
)

// lookNow has the next use of s look at its file.
func lookNow(s *Storage) { s.file.look.Store(0) }

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "credentials")
	s := openStorage(t, path, nil)
	if got := names(t, dir); got != "" {
		t.Errorf("an empty one makes %s", got)
	}
	session := user("s", marker)
	session.Persistence = Session
	must(t, s.Set(t.Context(), space("h", "r", Basic), session))
	if got := names(t, dir); got != "" {
		t.Errorf("one of the session makes %s", got)
	}
	odd := Credential{User: "j\xe4\x00", Password: NewSecret(marker + "\xff"), Persistence: Permanent}
	must(t, s.SetDefault(t.Context(), space("h", "r", Basic), odd))
	must(t, s.Set(t.Context(), space("h", "r", Bearer), Credential{Token: NewSecret(marker), Persistence: Permanent}))
	if got := names(t, dir); got != "credentials credentials.key credentials.lock" {
		t.Errorf("there is %s", got)
	}
	for _, name := range []string{"", ".lock", ".key"} {
		info, err := os.Stat(path + name)
		must(t, err)
		if info.Mode() != 0o600 {
			t.Errorf("%s has %v", name, info.Mode())
		}
		data, err := os.ReadFile(path + name)
		must(t, err)
		if bytes.Contains(data, []byte(marker)) || bytes.Contains(data, []byte("realm")) {
			t.Errorf("%s holds a secret", name)
		}
	}
	// Another process has what is permanent, and sees what changes.
	other := openStorage(t, path, nil)
	if n := len(other.All()); n != 2 {
		t.Errorf("%d after a restart", n)
	}
	if c, ok := other.Default(space("h", "r", Basic)); !ok || !c.Equal(odd) || c.Persistence != Permanent {
		t.Errorf("got %v, %v", c, ok)
	}
	must(t, other.Remove(t.Context(), space("h", "r", Basic), odd))
	must(t, other.Set(t.Context(), space("i", "r", Basic), user("new", "x")))
	lookNow(s)
	if c, ok := s.Default(space("i", "", Basic)); ok {
		t.Errorf("a narrow one was given for all: %v", c)
	}
	if c, ok := s.Default(space("i", "r", Basic)); !ok || c.User != "new" {
		t.Errorf("not seen: %v", c)
	}
	if c, ok := s.Default(space("h", "r", Basic)); !ok || c.User != "s" {
		t.Errorf("the session's own: %v", c)
	}
	// A change is of what stands in the file, not of what was read once.
	must(t, other.Set(t.Context(), space("j", "r", Basic), user("j", "x")))
	must(t, s.Set(t.Context(), space("k", "r", Basic), user("k", "x")))
	if n := len(openStorage(t, path, nil).All()); n != 4 {
		t.Errorf("%d: a change was lost", n)
	}
	// Reset.
	must(t, os.WriteFile(path+corruptMark+"x", nil, 0o600))
	must(t, os.WriteFile(path+".tmp", nil, 0o600))
	must(t, s.Reset(t.Context()))
	if got := names(t, dir); got != "credentials.key" {
		t.Errorf("after a reset there is %s", got)
	}
	lookNow(other)
	if len(s.All()) != 0 || len(other.All()) != 0 {
		t.Errorf("after a reset: %v, %v", s.All(), other.All())
	}
	must(t, other.Set(t.Context(), space("j", "r", Basic), user("j", "x")))
}

func TestDamagedFileIsSetAside(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"changed": func(p string) error {
			data, err := os.ReadFile(p)
			data[len(data)-1] ^= 1
			return errors.Join(err, os.WriteFile(p, data, 0o600))
		},
		"cut":      func(p string) error { return os.Truncate(p, 60) },
		"empty":    func(p string) error { return os.Truncate(p, 0) },
		"foreign":  func(p string) error { return os.WriteFile(p, []byte("hello"), 0o600) },
		"lost key": func(p string) error { return os.Remove(p + ".key") },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "credentials")
			before := openStorage(t, path, new([]error))
			must(t, before.Set(t.Context(), space("h", "r", Basic), user("u", marker)))
			must(t, spoil(path))
			var warned []error
			s := openStorage(t, path, &warned)
			if len(warned) != 1 || !errors.Is(warned[0], seal.ErrDamaged) || !strings.Contains(warned[0].Error(), corruptMark) || len(s.All()) != 0 {
				t.Errorf("warned %v, has %v", warned, s.All())
			}
			if aside, _ := filepath.Glob(path + corruptMark + "*"); len(aside) != 1 {
				t.Errorf("set aside: %v", aside)
			}
			must(t, s.Set(t.Context(), space("i", "r", Basic), user("i", "x")))
			if n := len(openStorage(t, path, nil).All()); n != 1 {
				t.Errorf("%d in the new one", n)
			}
		})
	}
}

func TestDamageWhileItIsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	var warned []error
	s := openStorage(t, path, &warned)
	must(t, s.Set(t.Context(), space("h", "r", Basic), user("u", "p")))
	must(t, os.WriteFile(path, []byte("hello"), 0o600))
	lookNow(s)
	if c, ok := s.Default(space("h", "r", Basic)); !ok || len(warned) != 1 {
		t.Errorf("got %v, warned %v", c, warned)
	}
	lookNow(s)
	s.All()
	if len(warned) != 1 {
		t.Errorf("warned again: %v", warned)
	}
	must(t, s.Set(t.Context(), space("i", "r", Basic), user("i", "p")))
	if n := len(openStorage(t, path, nil).All()); n != 2 {
		t.Errorf("%d are left", n)
	}
}

func TestFileThatIsNotTouched(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "credentials")
	later := []byte(fileKind + "2 file X\nwhat is to come")
	must(t, os.WriteFile(path, later, 0o600))
	if _, err := Open(path, Options{Holders: holders(path)}); !errors.Is(err, ErrNewer) {
		t.Errorf("a later version: %v", err)
	}
	if data, _ := os.ReadFile(path); !bytes.Equal(data, later) || names(t, dir) != "credentials" {
		t.Errorf("it was touched: %s", names(t, dir))
	}
	must(t, os.Remove(path))
	must(t, os.Mkdir(path, 0o700))
	if _, err := Open(path, Options{Holders: holders(path)}); !errors.Is(err, task.CannotOpenFile) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none", "c"), Options{Holders: holders(path)}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "c"), Options{}); err == nil {
		t.Error("nothing to seal with, and no error")
	}
}

func TestKeyring(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	r := &ring{}
	open := func(r *ring) (*Storage, error) {
		return Open(path, Options{
			Holders: []seal.Holder{seal.InKeyring(r, "urlsession", "test"), seal.InFile(path + ".key")},
			Warn:    func(err error) { t.Errorf("warned: %v", err) },
		})
	}
	s, err := open(r)
	must(t, err)
	must(t, s.Set(t.Context(), space("h", "r", Basic), user("u", "p")))
	if got := names(t, filepath.Dir(path)); got != "credentials credentials.lock" {
		t.Errorf("there is a key on disk: %s", got)
	}
	// One that does not answer now is no reason to begin anew, or to seal with another key.
	before, _ := os.ReadFile(path)
	if _, err := open(&ring{err: errLocked}); !errors.Is(err, errLocked) {
		t.Errorf("locked: %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file was touched")
	}
	if s, err = open(r); err != nil || len(s.All()) != 1 {
		t.Errorf("unlocked: %v", err)
	}
	// Where none answers when the file is begun, the key is in a file, and stays there.
	must(t, s.Reset(t.Context()))
	s, err = open(&ring{err: errLocked})
	must(t, err)
	must(t, s.Set(t.Context(), space("h", "r", Basic), user("u", "p")))
	if got := names(t, filepath.Dir(path)); got != "credentials credentials.key credentials.lock" {
		t.Errorf("there is %s", got)
	}
	if s, err = open(r); err != nil || len(s.All()) != 1 {
		t.Errorf("with the keyring again: %v", err)
	}
	must(t, s.Set(t.Context(), space("i", "r", Basic), user("u", "p")))
	if s, err = open(&ring{err: errLocked}); err != nil || len(s.All()) != 2 {
		t.Errorf("it has changed its holder: %v", err)
	}
}

func TestAChangeThatFailsChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	s := openStorage(t, path, nil)
	must(t, s.Set(t.Context(), space("h", "r", Basic), user("u", "p")))
	lock, err := s.file.lock(t.Context())
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err = s.Set(ctx, space("i", "r", Basic), user("i", marker))
	if !errors.Is(err, task.TimedOut) || !errors.Is(err, durable.ErrLocked) || strings.Contains(err.Error(), marker) {
		t.Errorf("while it is locked: %v", err)
	}
	if _, ok := s.Default(space("i", "r", Basic)); ok {
		t.Error("it is there all the same")
	}
	must(t, lock.Close())
	must(t, os.Mkdir(path+".tmp", 0o700))
	must(t, os.WriteFile(path+".tmp/x", nil, 0o600))
	if err := s.Remove(t.Context(), space("h", "r", Basic), user("u", "")); !errors.Is(err, task.CannotWriteFile) {
		t.Errorf("no way to write: %v", err)
	}
	if _, ok := s.Default(space("h", "r", Basic)); !ok {
		t.Error("it is gone all the same")
	}
}
