package httpcache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

// TestLaterMakesNothing until there is something to store; then its folder is for the owner alone.
func TestLaterMakesNothing(t *testing.T) {
	t.Parallel()
	top := filepath.Join(t.TempDir(), "a")
	folder := filepath.Join(top, "b")
	s := Later(folder, FolderOptions{Warn: func(err error) { t.Errorf("warned: %v", err) }})
	w := newWorld(t, s, Options{})
	w.says(200, "x", "Cache-Control: no-store")
	w.get(page, 200, "x", FromNetwork)
	w.do(newRequest(t, "POST "+page))
	if all, err := s.Entries(); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	if size, err := s.Size(); err != nil || size != 0 {
		t.Errorf("%d bytes, %v", size, err)
	}
	for _, err := range []error{s.Flush(context.Background()), s.Reset(t.Context()), s.Flush(context.Background())} {
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(top); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is %s: %v", top, err)
	}

	large := string(pattern('x', 3*chunkSize))
	for _, body := range []string{"small", large} {
		w.says(200, body, "Cache-Control: max-age=60")
		w.get(page, 200, body, FromNetwork)
		w.get(page, 200, body, FromCache)
		if err := s.Flush(context.Background()); err != nil {
			t.Error(err)
		}
		for _, dir := range []string{top, folder} {
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v, %v", dir, info, err)
			}
		}
		if err := os.RemoveAll(top); err != nil { // as a user may; it is made anew
			t.Fatal(err)
		}
		w.get(page, 200, body, FromNetwork)
		w.get(page, 200, body, FromCache)
		os.RemoveAll(top)
		if err := s.Flush(context.Background()); err != nil {
			t.Errorf("of a folder that is gone: %v", err)
		}
	}
}

// TestLaterFindsWhatIsThere, and removes what a kill has left, before it stores anything.
func TestLaterFindsWhatIsThere(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	w := newWorld(t, open(t, folder, FolderOptions{}), Options{})
	w.says(200, "x", "Cache-Control: max-age=60")
	w.get(page, 200, "x", FromNetwork)
	left := filepath.Join(folder, "AAAAAAAAAAAAAAAAAAAAAAAAAA.tmp")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w = newWorld(t, Later(folder, FolderOptions{}), Options{})
	w.says(200, "y", "Cache-Control: max-age=60")
	w.get(page, 200, "x", FromCache)
	w.get(page+"/other", 200, "y", FromNetwork)
	if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a kill has left: %v", err)
	}
}

// TestLaterWithoutAFolder: nothing is stored, nothing fails, and Flush says why until Reset or a success.
func TestLaterWithoutAFolder(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(path string) error{
		"a file":          func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a dangling link": func(path string) error { return os.Symlink("nowhere/at/all", path) },
	} {
		for _, at := range []string{"above", "itself"} {
			t.Run(name+" "+at, func(t *testing.T) {
				folder := filepath.Join(t.TempDir(), "a", "b")
				bad := folder
				if at == "above" {
					bad = filepath.Dir(folder)
				} else if err := os.Mkdir(filepath.Dir(folder), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := spoil(bad); err != nil {
					t.Fatal(err)
				}
				var warned []error
				s := Later(folder, FolderOptions{Warn: func(err error) { warned = append(warned, err) }})
				w := newWorld(t, s, Options{})
				w.says(200, "x", "Cache-Control: no-store")
				w.get(page, 200, "x", FromNetwork)
				if err := s.Flush(context.Background()); err != nil {
					t.Errorf("with nothing to store: %v", err)
				}
				w.says(200, "x", "Cache-Control: max-age=60")
				w.get(page, 200, "x", FromNetwork)
				w.get(page, 200, "x", FromNetwork)
				var e *task.Error
				if err := s.Flush(context.Background()); !errors.As(err, &e) || e.URL != folder || len(warned) != 1 {
					t.Errorf("%v; warned of %v", err, warned)
				}
				if err := os.Remove(bad); err != nil {
					t.Fatal(err)
				}
				if err := s.Reset(t.Context()); err != nil {
					t.Error(err)
				}
				if err := s.Flush(context.Background()); err != nil {
					t.Errorf("after Reset: %v", err)
				}
			})
		}
	}
}
