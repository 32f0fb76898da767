package partial

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

func TestMove(t *testing.T) {
	for _, recorded := range []bool{true, false} {
		dir := t.TempDir()
		from, to := filepath.Join(dir, Name("7", Key("", "7"))), filepath.Join(dir, Name("12", Key("", "12")))
		f, err := Open(from)
		must(t, err)
		must(t, f.Begin(Validator{ETag: `"v"`}, 10))
		_, err = f.WriteAt([]byte("01234"), 0)
		must(t, err)
		if recorded {
			must(t, f.Close())
			must(t, os.WriteFile(to+recordSuffix, []byte("of a move that was killed"), 0o600))
			f, err = Open(from)
			must(t, err)
		}
		must(t, f.Move(to))
		if f.Path() != to {
			t.Errorf("it is %s", f.Path())
		}
		_, err = f.WriteAt([]byte("56"), 5)
		must(t, err)
		must(t, f.Close())
		f, err = Open(to)
		must(t, err)
		if f.Prefix() != 7 || f.Total() != 10 {
			t.Errorf("recorded %v: it holds %d of %d", recorded, f.Prefix(), f.Total())
		}
		_, err = f.WriteAt([]byte("789"), 7)
		must(t, err)
		path, err := f.Commit(filepath.Join(dir, "file"), task.ConflictFail)
		must(t, err)
		if b, _ := os.ReadFile(path); !bytes.Equal(b, []byte("0123456789")) {
			t.Errorf("%q", b)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("left: %v", entries)
		}
	}
}
