package partial

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

// complete is a part file with all of its 1000 bytes, and its folder.
func complete(t *testing.T) (*File, string) {
	t.Helper()
	f := begun(t, 1000)
	write(t, f, 0, 1000)
	return f, filepath.Dir(f.Path())
}

func TestCommit(t *testing.T) {
	for _, c := range []struct {
		how   task.Conflict
		there []string // names that are taken
		want  string   // the name that it gets; "": an error that is fs.ErrExist
	}{
		{task.ConflictFail, nil, "a.txt"},
		{task.ConflictFail, []string{"a.txt"}, ""},
		{task.ConflictReplace, nil, "a.txt"},
		{task.ConflictReplace, []string{"a.txt"}, "a.txt"},
		{task.ConflictRename, nil, "a.txt"},
		{task.ConflictRename, []string{"a.txt"}, "a (1).txt"},
		{task.ConflictRename, []string{"a.txt", "a (1).txt", "a (3).txt"}, "a (2).txt"},
	} {
		f, dir := complete(t)
		for _, name := range c.there {
			must(t, os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o644))
		}
		got, err := f.Commit(filepath.Join(dir, "a.txt"), c.how)
		if c.want == "" {
			if !errors.Is(err, fs.ErrExist) || got != "" {
				t.Errorf("%s with %q: %q, %v", c.how, c.there, got, err)
			}
			// The part stays, and so does the choice.
			if got, err = f.Commit(filepath.Join(dir, "b.txt"), c.how); err != nil {
				t.Errorf("by another name after that: %v", err)
			}
		} else if err != nil || got != filepath.Join(dir, c.want) {
			t.Errorf("%q with %q: %q, %v; want %q", c.how, c.there, got, err, c.want)
			continue
		}
		if err := checkHeld(mustRead(t, got), Ranges{{0, 1000}}, 1); err != nil {
			t.Error(err)
		}
		for _, name := range c.there {
			path := filepath.Join(dir, name)
			if path != got && string(mustRead(t, path)) != "old" {
				t.Errorf("%s was changed", path)
			}
		}
		if _, err := os.Lstat(f.Path()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the part is still there: %v", err)
		}
		must(t, f.Close()) // does nothing
		if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, os.ErrClosed) {
			t.Errorf("a write after the end: %v", err)
		}
		for _, err := range []error{f.Checkpoint(), f.Begin(Validator{}, -1), f.Discard(), f.SetTotal(5)} {
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("after the end: %v", err)
			}
		}
	}
}

func TestCommitKeepsThePartOnConflict(t *testing.T) {
	f, dir := complete(t)
	final := filepath.Join(dir, "a.txt")
	must(t, os.WriteFile(final, []byte("old"), 0o644))
	if _, err := f.Commit(final, task.ConflictFail); !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	must(t, f.Close())
	g := mustOpen(t, f.Path())
	if g.Prefix() != 1000 || g.Total() != 1000 {
		t.Errorf("held %v of %d", g.Held(), g.Total())
	}
	if _, err := g.Commit(final, task.ConflictReplace); err != nil {
		t.Error(err)
	}
	wantNames(t, dir, "a.txt")
}

func TestCommitReplacesNeitherFolderNorLinkTarget(t *testing.T) {
	f, dir := complete(t)
	folder, link, target := filepath.Join(dir, "folder"), filepath.Join(dir, "link"), filepath.Join(dir, "target")
	must(t, os.Mkdir(folder, 0o755))
	must(t, os.WriteFile(target, []byte("mine"), 0o644))
	must(t, os.Symlink(target, link))
	if _, err := f.Commit(folder, task.ConflictReplace); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("onto a folder: %v", err)
	}
	if _, err := f.Commit(link, "overwrite"); err == nil {
		t.Error("an unknown policy was taken")
	}
	if _, err := f.Commit(link, task.ConflictReplace); err != nil {
		t.Errorf("onto a link: %v", err)
	}
	if got := string(mustRead(t, target)); got != "mine" {
		t.Errorf("the link's target became %d bytes", len(got))
	}
}

func TestCommitIntoAnotherFolder(t *testing.T) {
	f, dir := complete(t)
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	if _, err := f.Commit(filepath.Join(dir, "none", "a"), task.ConflictFail); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into a missing one: %v", err)
	}
	if _, err := f.Commit(filepath.Join(dir, "d", "a"), task.ConflictFail); err != nil {
		t.Error(err)
	}
	wantNames(t, dir, "d")
	wantNames(t, filepath.Join(dir, "d"), "a")
}

// The rule of the contract: a file that reaches its final name is complete.
func TestCommitRefusesHoles(t *testing.T) {
	for name, c := range map[string]struct {
		total int64
		held  Ranges
		why   string
	}{
		"short":          {1000, Ranges{{0, 999}}, "999 to 999"},
		"nothing of it":  {1000, nil, "0 to 999"},
		"hole":           {-1, Ranges{{0, 10}, {20, 30}}, "10 to 19"},
		"no first byte":  {30, Ranges{{1, 30}}, "0 to 0"},
		"hole and short": {40, Ranges{{0, 10}, {20, 30}}, "10 to 19"},
	} {
		f := begun(t, c.total)
		for _, a := range c.held {
			write(t, f, a[0], a[1])
		}
		final := f.Path() + ".final"
		if _, err := f.Commit(final, task.ConflictFail); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(final); err == nil {
			t.Errorf("%s: it has its final name", name)
		}
	}
	for _, total := range []int64{0, -1} {
		f := begun(t, total)
		if path, err := f.Commit(f.Path()+".final", task.ConflictFail); err != nil || len(mustRead(t, path)) != 0 {
			t.Errorf("an empty file of total %d: %v", total, err)
		}
	}
}

func TestAside(t *testing.T) {
	for _, record := range []bool{false, true} {
		f, dir := complete(t)
		if record {
			must(t, f.Checkpoint())
		}
		must(t, os.WriteFile(f.Path()+mismatchSuffix, []byte("older"), 0o644))
		path, err := f.Aside()
		if err != nil || path != f.Path()+mismatchSuffix {
			t.Errorf("%q, %v", path, err)
		}
		wantNames(t, dir, filepath.Base(path))
		if err := checkHeld(mustRead(t, path), Ranges{{0, 1000}}, 1); err != nil {
			t.Error(err)
		}
		if g := mustOpen(t, f.Path()); g.Held() != nil {
			t.Errorf("the next try holds %v", g.Held())
		}
	}
}

func TestDiscard(t *testing.T) {
	for _, record := range []bool{false, true} {
		f, dir := complete(t)
		if record {
			must(t, f.Checkpoint())
		}
		must(t, f.Discard())
		wantNames(t, dir)
	}
}

// What a kill within a checkpoint has left is gone at every end.
func TestNoLitter(t *testing.T) {
	for name, end := range map[string]func(*File) error{
		"Commit":  func(f *File) error { _, err := f.Commit(f.Path()+".final", task.ConflictFail); return err },
		"Aside":   func(f *File) error { _, err := f.Aside(); return err },
		"Discard": (*File).Discard,
	} {
		f, dir := complete(t)
		must(t, f.Close())
		must(t, os.WriteFile(f.Path()+tempSuffix, []byte(`{"ver`), 0o644))
		f = mustOpen(t, f.Path())
		must(t, end(f))
		if _, err := os.Lstat(f.Path() + tempSuffix); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s leaves it", name)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 1 {
			t.Errorf("%s leaves %v", name, entries)
		}
	}
}
