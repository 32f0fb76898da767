package partial

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name("7", Key("", "7")))
	must(t, Remove(path))
	for _, suffix := range []string{"", recordSuffix, tempSuffix, mismatchSuffix} {
		must(t, os.WriteFile(path+suffix, nil, 0o600))
	}
	must(t, Remove(path))
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
}

func TestExpire(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, Name("f", Key("", "f")))
	f, err := Open(path)
	must(t, err)
	must(t, f.Begin(Validator{ETag: `"v"`}, 10))
	_, err = f.WriteAt([]byte("01234"), 0)
	must(t, err)
	left := func() (names []string) {
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	later := time.Now().Add(time.Hour)
	must(t, Expire(path, later))
	if len(left()) == 0 {
		t.Error("one that a task has open was removed")
	}
	must(t, f.Close())
	whole := left()
	must(t, Expire(path, later.Add(-2*time.Hour)))
	must(t, os.Symlink("f", path+".link.00000000.part"))
	must(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	for _, other := range []string{filepath.Join(dir, "f"), path + ".link.00000000.part"} {
		_ = Expire(other, later) // a symbolic link is an error
		if _, err := os.Lstat(other); err != nil {
			t.Errorf("%s was removed", other)
		}
		must(t, os.Remove(other))
	}
	if !slices.Equal(left(), whole) || len(whole) != 2 {
		t.Errorf("one that was written later: %v are left of %v", left(), whole)
	}
	must(t, Expire(path, later))
	must(t, Expire(path, later))
	if names := left(); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}
