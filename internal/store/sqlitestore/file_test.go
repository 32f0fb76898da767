package sqlitestore

import (
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
)

// A newer schema is refused, and its files stay as they are to the byte: also where the version is in the -wal file
// alone, which a program that was killed left behind.
func TestNewerIsRefused(t *testing.T) {
	for _, state := range []string{"closed", "killed"} {
		t.Run(state, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			db := openDB(t, path)
			must(t, db.CreateSession(t.Context(), "s", []byte("c")))
			_, err := db.write.conn.ExecContext(t.Context(), "PRAGMA user_version = 99")
			must(t, err)
			if state == "killed" {
				dir := t.TempDir()
				for name, data := range folder(t, filepath.Dir(path)) {
					must(t, os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600))
				}
				path = filepath.Join(dir, "db")
				if _, err := os.Stat(path + "-wal"); err != nil {
					t.Fatal(err)
				}
			}
			must(t, db.Close())
			before := folder(t, filepath.Dir(path))
			_, err = Open(t.Context(), path)
			if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "99") {
				t.Errorf("got %v", err)
			}
			if !maps.Equal(before, folder(t, filepath.Dir(path))) {
				t.Error("the files were changed")
			}
		})
	}
}

func TestDamaged(t *testing.T) {
	original := filepath.Join(t.TempDir(), "db")
	db := openDB(t, original)
	must(t, db.CreateSession(t.Context(), "s", nil))
	must(t, db.Session("s").Create(t.Context(), newRecords(500)...))
	must(t, db.Close())

	noise := func(n int) []byte {
		b := make([]byte, n)
		rand.NewChaCha8([32]byte{1}).Read(b)
		return b
	}
	for name, spoil := range map[string]func(f *os.File, size int64) error{
		"no database": func(f *os.File, size int64) error {
			_, err := f.WriteAt([]byte("Dear diary, today"), 0)
			return err
		},
		"of another program": func(f *os.File, size int64) error {
			_, err := f.WriteAt([]byte{0, 0, 0, 7}, 68) // the header's application id
			return err
		},
		"cut": func(f *os.File, size int64) error { return f.Truncate(size / 2) },
		"overwritten": func(f *os.File, size int64) error {
			_, err := f.WriteAt(noise(int(size)-4096), 4096)
			return err
		},
		"a page of it": func(f *os.File, size int64) error {
			_, err := f.WriteAt(noise(4096), size/2/4096*4096)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := copyDB(t, original)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			size, err := f.Seek(0, io.SeekEnd)
			must(t, err)
			must(t, spoil(f, size))
			must(t, f.Close())

			err = readAll(t.Context(), path)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want ErrDamaged and the path", err)
			}
		})
	}
	if err := readAll(t.Context(), original); err != nil {
		t.Errorf("the one that is whole: %v", err)
	}
}

// readAll opens a database and reads all tasks of session s.
func readAll(ctx context.Context, path string) error {
	db, err := Open(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()
	recs, err := db.Session("s").Tasks(ctx, 0, 1000)
	if err == nil && len(recs) != 500 {
		return errors.New("tasks are missing")
	}
	return err
}

// smallDisk is a file system with room for so many bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system to fill")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("cannot mount a small file system to fill: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "8m")
	path, ballast := filepath.Join(dir, "db"), filepath.Join(dir, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 4<<20), 0o600))
	db := openDB(t, path)
	must(t, db.CreateSession(t.Context(), "s", nil))
	s := db.Session("s")

	var stored int
	fill := func() {
		t.Helper()
		for {
			rec := newRecord(stored)
			err := s.Create(t.Context(), rec)
			if errors.Is(err, store.ErrFull) {
				if rec.ID != 0 {
					t.Fatalf("a task that was not stored has number %d", rec.ID)
				}
				return
			}
			must(t, err)
			_, err = s.Save(t.Context(), rec, task.WillRetry{Attempt: 1})
			if stored++; errors.Is(err, store.ErrFull) {
				if rec.Version != 1 {
					t.Fatalf("a Save that was refused gave version %d", rec.Version)
				}
				return
			}
			must(t, err)
		}
	}
	check := func() {
		t.Helper()
		if n := len(allTasks(t, s)); n != stored {
			t.Fatalf("%d tasks stand, and %d were stored", n, stored)
		}
		checkSequence(t, s)
	}

	fill()
	check() // what stands can be read
	if stored < 50 {
		t.Fatalf("%d tasks filled the disk", stored)
	}
	full := stored
	if err := s.Create(t.Context(), newRecords(1000)...); !errors.Is(err, store.ErrFull) {
		t.Fatalf("a batch on a full disk: %v", err)
	}
	must(t, os.Remove(ballast))
	for range 50 { // there is room: each is taken
		must(t, s.Create(t.Context(), newRecord(stored)))
		stored++
	}
	check()
	fill()
	check()
	if stored < full+50 {
		t.Errorf("%d tasks before room was made, %d after", full, stored)
	}

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openDB(t, path)
	s = db.Session("s")
	check()
}

// A full disk is said also where the database cannot even be made.
func TestOpenOnAFullDisk(t *testing.T) {
	for _, free := range []int{0, 4 << 10, 12 << 10, 40 << 10} {
		dir := smallDisk(t, "1m")
		path, ballast := filepath.Join(dir, "db"), filepath.Join(dir, "ballast")
		must(t, os.WriteFile(ballast, make([]byte, 1<<20-free), 0o600))
		_, err := Open(t.Context(), path)
		if !errors.Is(err, store.ErrFull) {
			t.Errorf("%d bytes free: %v", free, err)
		}
		must(t, os.Remove(ballast))
		db := openDB(t, path)
		must(t, db.CreateSession(t.Context(), "s", nil))
		must(t, db.Close())
	}
}
