package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// Both ways to rename without replacing keep the same promises.
var noReplace = map[string]func(oldPath, newPath string) error{
	"RenameNoReplace": RenameNoReplace,
	"linkAndUnlink":   linkAndUnlink,
}

func TestRenameNoReplace(t *testing.T) {
	for name, rename := range noReplace {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			from := filepath.Join(dir, "from")
			mustWrite(t, from, "new")
			obstacles := map[string]func(path string) error{
				"file":   func(path string) error { return os.WriteFile(path, []byte("old"), 0o644) },
				"folder": func(path string) error { return os.Mkdir(path, 0o755) },
				"link":   func(path string) error { return os.Symlink("nowhere", path) },
			}
			for kind, make := range obstacles {
				to := filepath.Join(dir, kind)
				if err := make(to); err != nil {
					t.Fatal(err)
				}
				before, _ := os.Lstat(to)
				if err := rename(from, to); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), to) {
					t.Errorf("onto a %s: %v", kind, err)
				}
				if after, err := os.Lstat(to); err != nil || !os.SameFile(before, after) {
					t.Errorf("the %s was touched: %v", kind, err)
				}
			}
			if got := string(mustRead(t, from)); got != "new" {
				t.Errorf("the source became %q", got)
			}
			to := filepath.Join(dir, "free")
			if err := rename(from, to); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(from); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the old name is still there: %v", err)
			}
			if got := string(mustRead(t, to)); got != "new" {
				t.Errorf("got %q", got)
			}
			if err := rename(from, to+"2"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("of a missing file: %v", err)
			}
		})
	}
}

func TestRenameNoReplaceHasOneWinner(t *testing.T) {
	for name, rename := range noReplace {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for round := range 50 {
				to := filepath.Join(dir, fmt.Sprint("to", round))
				var won atomic.Int32
				var wg sync.WaitGroup
				for i := range 8 {
					from := filepath.Join(dir, fmt.Sprint("from", round, ".", i))
					mustWrite(t, from, from)
					wg.Go(func() {
						switch err := rename(from, to); {
						case err == nil:
							won.Add(1)
						case !errors.Is(err, fs.ErrExist):
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if won.Load() != 1 {
					t.Fatalf("%d won", won.Load())
				}
			}
		})
	}
}

func TestNoLinksSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	err := linkAndUnlink(dir, dir+"2") // a folder cannot be linked, as nothing can on some file systems
	if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "allow the file to be replaced") {
		t.Errorf("got %v", err)
	}
}

func TestRename(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	mustWrite(t, from, "new")
	mustWrite(t, to, "old")
	if err := Rename(from, to); err != nil {
		t.Fatal(err)
	}
	if got := string(mustRead(t, to)); got != "new" {
		t.Errorf("got %q", got)
	}
	if err := Rename(to, dir); err == nil {
		t.Error("a folder was replaced")
	}
}
