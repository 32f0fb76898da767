package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

var (
	_ engine.Bodies = (*bodies)(nil)
	_ engine.Spool  = (*spool)(nil)
)

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestBodies(t *testing.T) {
	dir := filepath.Join(control.SessionFolder(t.TempDir(), "s"), "bodies")
	b := &bodies{place{dir: dir}}
	if ids, err := b.List(); err != nil || len(ids) != 0 || exists(dir) {
		t.Errorf("before the first: %v, %v", ids, err)
	}
	must(t, b.Remove(7))
	if _, err := b.Open(7); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	must(t, b.Put(7, []byte("old")))
	must(t, b.Put(7, []byte("new")))
	must(t, b.Put(18446744073709551615, nil))
	must(t, os.WriteFile(filepath.Join(dir, ".X.tmp"), nil, 0o600)) // as a kill leaves it
	r, err := b.Open(7)
	must(t, err)
	got, err := io.ReadAll(r)
	must(t, errors.Join(err, r.Close()))
	if string(got) != "new" {
		t.Errorf("the body is %q", got)
	}
	must(t, os.RemoveAll(filepath.Dir(dir)))
	must(t, b.Put(7, []byte("new")))
	must(t, b.Put(18446744073709551615, nil))
	must(t, os.WriteFile(filepath.Join(dir, ".X.tmp"), nil, 0o600))
	ids, err := b.List()
	must(t, err)
	slices.Sort(ids)
	if !slices.Equal(ids, []task.ID{7, 18446744073709551615}) || len(files(t, dir)) != 2 {
		t.Errorf("the list is %v, and the folder has %v", ids, files(t, dir))
	}
	must(t, b.Remove(7))
	if ids, _ := b.List(); len(ids) != 1 {
		t.Errorf("after one was removed: %v", ids)
	}
}

func TestSpool(t *testing.T) {
	dir := filepath.Join(control.SessionFolder(t.TempDir(), "s"), "spool")
	s := &spool{place{dir: dir}}
	content := urlsessiontest.Body{Seed: 1, Size: spoolBuffer*2 + 1}
	kept, err := s.Keep(t.Context(), content.Reader())
	must(t, err)
	must(t, content.CheckFile(kept.Path))
	info, err := os.Stat(kept.Path)
	must(t, err)
	if kept.Size != content.Size || info.Mode() != 0o600 {
		t.Errorf("it is of %d bytes and mode %v", kept.Size, info.Mode())
	}
	for p := dir; p != filepath.Dir(filepath.Dir(filepath.Dir(dir))); p = filepath.Dir(p) {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v", p, info.Mode())
		}
	}
	broken := errors.New("the app has gone")
	if _, err := s.Keep(t.Context(), io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Keep(ctx, strings.NewReader("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if list, err := s.List(); err != nil || !slices.Equal(list, []string{kept.Path}) {
		t.Errorf("the list is %v: %v", list, err)
	}
	must(t, s.Remove(kept.Path))
	must(t, s.Remove(kept.Path))
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}

// TestTemporaryDownload has no destination: its file is in the state folder.
func TestTemporaryDownload(t *testing.T) {
	srv := origin(t)
	file := urlsessiontest.Body{Seed: 3, Size: 100_000}
	srv.Publish("/f", urlsessiontest.Resource{Content: file, ETag: `"v1"`})
	state := t.TempDir()
	start(t, state)
	c := dial(t, state, "s")
	rec := succeed(t, c, create(t, c, download(srv.URL+"/f", "")))
	if dir := filepath.Join(control.SessionFolder(state, "s"), "temporary"); filepath.Dir(rec.Path) != dir {
		t.Errorf("the file is %s, not in %s", rec.Path, dir)
	}
	must(t, file.CheckFile(rec.Path))
}
