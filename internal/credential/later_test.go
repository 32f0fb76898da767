package credential

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/urlsession/urlsession/internal/seal"
)

// later is a Storage that is opened when first asked. Who is warned asks it.
func later(t *testing.T, path string) (s *Storage, warned *[]error) {
	t.Helper()
	warned = new([]error)
	s = Later(path, Options{Holders: holders(path), Warn: func(err error) {
		*warned = append(*warned, err)
		s.All()
	}})
	return s, warned
}

func TestLater(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app", "deep", "credentials")
	s, warned := later(t, path)
	fleeting := user("s", marker)
	fleeting.Persistence = Session
	must(t, s.Set(t.Context(), space("h", "r", Basic), fleeting))
	must(t, s.Remove(t.Context(), space("h", "r", Basic), user("nobody", "")))
	must(t, s.Flush(t.Context()))
	must(t, s.Reset(t.Context()))
	if n := len(s.All()); n > 0 || names(t, dir) != "" {
		t.Errorf("it holds %d, and there is %s", n, names(t, dir))
	}
	must(t, s.Set(t.Context(), space("h", "r", Basic), user("u", marker)))
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info, err)
	}
	other, _ := later(t, path)
	if c, ok := other.Default(space("h", "r", Basic)); !ok || c.User != "u" {
		t.Errorf("another process has %v, %v", c, ok)
	}
	must(t, other.Reset(t.Context()))
	if got := names(t, filepath.Dir(path)); got != "credentials.key" {
		t.Errorf("after Reset there is %s", got)
	}
	if len(*warned) > 0 {
		t.Errorf("warned: %v", *warned)
	}
}

// TestLaterFileThatCannotBeRead is said, stays as it is, and what is for the session works; once it can be read it is.
func TestLaterFileThatCannotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	good := openStorage(t, path, nil)
	must(t, good.Set(t.Context(), space("h", "r", Basic), user("u", marker)))
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte("urlsession credentials 2 file X\n"), 0o600))

	s, warned := later(t, path)
	if all := s.All(); len(all) > 0 || len(*warned) != 1 || !errors.Is((*warned)[0], ErrNewer) {
		t.Errorf("it has %v, and warned: %v", all, *warned)
	}
	if err := s.Flush(t.Context()); !errors.Is(err, ErrNewer) {
		t.Errorf("Flush: %v", err)
	}
	taken := Stored{space("i", "r", Basic), user("new", marker), true}
	if err := s.Keep(t.Context(), taken); !errors.Is(err, ErrNewer) {
		t.Errorf("Keep: %v", err)
	}
	if c, ok := s.Default(taken.Space); !ok || c.User != "new" {
		t.Errorf("it was not kept in memory: %v", c)
	}
	must(t, os.WriteFile(path, text, 0o600))
	must(t, s.Flush(t.Context()))
	if c, ok := s.Default(space("h", "r", Basic)); !ok || c.User != "u" {
		t.Errorf("the file is not read: %v", c)
	}
	again := openStorage(t, path, nil)
	if all := again.All(); len(all) != 2 || len(s.All()) != 2 {
		t.Errorf("the file has %v, and memory %v", all, s.All())
	}
	if got := s.owed(); len(got) > 0 {
		t.Errorf("owed are %v", got)
	}
}

func TestLaterFileThatIsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	must(t, os.WriteFile(path, []byte("nonsense"), 0o600))
	s, warned := later(t, path)
	if all := s.All(); len(all) > 0 || len(*warned) != 1 || !errors.Is((*warned)[0], seal.ErrDamaged) {
		t.Errorf("it has %v, and warned: %v", all, *warned)
	}
	if aside, _ := filepath.Glob(path + corruptMark + "*"); len(aside) != 1 {
		t.Errorf("set aside are %v", aside)
	}
	must(t, s.Flush(t.Context()))
}
