package partial

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

// committing is a complete part file, with a record, that stops where fn says.
func committing(t *testing.T, path, final string, fn func(f *File, final string, file task.Source) error) {
	t.Helper()
	f := mustOpen(t, path)
	const size = 1 << 20
	must(t, f.Begin(versioned(1), size))
	write1(t, f, size)
	must(t, f.Checkpoint())
	f.Announce(func(final string, file task.Source) error { return fn(f, final, file) })
	if _, err := f.Commit(final, task.ConflictFail); err == nil {
		t.Fatal("it was not stopped")
	}
	f.file.Close() // what a kill does
}

func write1(t *testing.T, f *File, size int64) {
	t.Helper()
	if _, err := f.WriteAt(content(1, 0, size), 0); err != nil {
		t.Fatal(err)
	}
}

var errKilled = errors.New("killed")

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

func TestFinish(t *testing.T) {
	for name, c := range map[string]struct {
		kill func(t *testing.T, part, final string)
		done bool
		part bool // is left
	}{
		"before the rename":       {func(*testing.T, string, string) {}, false, true},
		"after the rename":        {func(t *testing.T, part, final string) { must(t, os.Rename(part, final)) }, true, false},
		"between link and unlink": {func(t *testing.T, part, final string) { must(t, os.Link(part, final)) }, true, false},
		"and a new download has begun": {func(t *testing.T, part, final string) {
			must(t, os.Rename(part, final))
			must(t, os.Remove(part+recordSuffix))
			f := mustOpen(t, part)
			must(t, f.Begin(versioned(2), 100))
			_, err := f.WriteAt(content(2, 0, 50), 0)
			must(t, err)
			must(t, f.Close())
		}, true, true},
		"and the file was changed": {func(t *testing.T, part, final string) {
			must(t, os.Rename(part, final))
			must(t, os.WriteFile(final, bytes.Repeat([]byte("x"), 1<<20), 0o600))
		}, false, false},
		"and the file was replaced": {func(t *testing.T, part, final string) {
			must(t, os.Rename(part, final+" elsewhere"))
			must(t, os.WriteFile(final, bytes.Repeat([]byte("x"), 1<<20), 0o600))
		}, false, false},
		"and the file was removed": {func(t *testing.T, part, final string) { must(t, os.Remove(part)) }, false, false},
		"and a link stands there": {func(t *testing.T, part, final string) {
			must(t, os.Rename(part, final+" elsewhere"))
			must(t, os.Symlink(final+" elsewhere", final))
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			part := newPart(t)
			final := filepath.Join(filepath.Dir(part), "final")
			var announced task.Source
			committing(t, part, final, func(f *File, path string, file task.Source) error {
				if path != final {
					t.Errorf("announced %s", path)
				}
				announced = file
				return errKilled
			})
			c.kill(t, part, final)
			before := exists(final)
			done, err := Finish(part, final, announced)
			if err != nil || done != c.done {
				t.Fatalf("done: %t, %v", done, err)
			}
			if exists(part) != c.part || exists(final) != before {
				t.Errorf("the part file stands: %t; the final one: %t", exists(part), exists(final))
			}
			if c.done && !c.part && exists(part+recordSuffix) {
				t.Error("the record was left")
			}
			if c.done {
				if got := mustRead(t, final); !bytes.Equal(got, content(1, 0, 1<<20)) {
					t.Errorf("the file has %d bytes, not those of the download", len(got))
				}
			}
			if c.part && c.done {
				f := mustOpen(t, part)
				if f.Prefix() != 50 {
					t.Errorf("of the other download %d bytes are held", f.Prefix())
				}
				must(t, f.Close())
			}
		})
	}
}

// An announcement that fails leaves everything as it was.
func TestAnnounceRefuses(t *testing.T) {
	part := newPart(t)
	final := filepath.Join(filepath.Dir(part), "final")
	f := mustOpen(t, part)
	must(t, f.Begin(versioned(1), 100))
	write1(t, f, 100)
	var names []string
	refuse := true
	f.Announce(func(path string, file task.Source) error {
		if names = append(names, filepath.Base(path)); refuse {
			return errKilled
		}
		return nil
	})
	must(t, os.WriteFile(final, nil, 0o600))
	if path, err := f.Commit(final, task.ConflictRename); err != errKilled || path != "" || !exists(part) {
		t.Errorf("%q, %v", path, err)
	}
	refuse = false
	path, err := f.Commit(final, task.ConflictRename)
	if err != nil || filepath.Base(path) != "final (1)" || exists(part) {
		t.Errorf("%q, %v", path, err)
	}
	if len(names) != 2 || names[0] != "final (1)" || names[1] != "final (1)" {
		t.Errorf("announced %q", names)
	}
}
