package partial

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/urlsession/urlsession/internal/task"
)

func TestOpenNew(t *testing.T) {
	path := newPart(t)
	f := mustOpen(t, path)
	if f.Held() != nil || f.Prefix() != 0 || f.Total() != -1 || f.Validator() != (Validator{}) || f.Path() != path {
		t.Errorf("a new part file has held %v, prefix %d, total %d, %+v", f.Held(), f.Prefix(), f.Total(), f.Validator())
	}
	must(t, f.Close())
	wantNames(t, filepath.Dir(path)) // it held nothing
}

func TestOpenGoesOn(t *testing.T) {
	f := begun(t, 10000)
	write(t, f, 0, 3000)
	write(t, f, 5000, 6000)
	must(t, f.Close())

	g := mustOpen(t, f.Path())
	want := Ranges{{0, 3000}, {5000, 6000}}
	if !slices.Equal(g.Held(), want) || !slices.Equal(g.Written(), want) || g.Prefix() != 3000 {
		t.Errorf("held %v, written %v, prefix %d", g.Held(), g.Written(), g.Prefix())
	}
	if g.Total() != 10000 || g.Validator() != versioned(1) {
		t.Errorf("total %d, %+v", g.Total(), g.Validator())
	}
	write(t, g, 3000, 5000)
	write(t, g, 6000, 10000)
	final := filepath.Join(filepath.Dir(f.Path()), "file.bin")
	if _, err := g.Commit(final, task.ConflictFail); err != nil {
		t.Fatal(err)
	}
	if err := checkHeld(mustRead(t, final), Ranges{{0, 10000}}, 1); err != nil {
		t.Error(err)
	}
	wantNames(t, filepath.Dir(final), "file.bin")
}

// A record that cannot be believed is removed before anything is written, so that it does not come true later.
func TestOpenRecordLies(t *testing.T) {
	good := string(Record{Validator: versioned(1), Total: 9999, Held: Ranges{{0, 100}}}.Encode())
	for name, plant := range map[string]func(record string) error{
		"beyond the file": func(p string) error {
			return os.WriteFile(p, []byte(`{"version":1,"etag":"\"1\"","total":9999,"held":[[0,101]]}`), 0o644)
		},
		"a later version": func(p string) error {
			return os.WriteFile(p, []byte(`{"version":2,"etag":"\"1\"","total":9999,"held":[[0,100]]}`), 0o644)
		},
		"garbage":   func(p string) error { return os.WriteFile(p, []byte("\x00\x00\x00"), 0o644) },
		"empty":     func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"cut":       func(p string) error { return os.WriteFile(p, []byte(good[:len(good)/2]), 0o644) },
		"a symlink": func(p string) error { os.WriteFile(p+"2", []byte(good), 0o644); return os.Symlink(p+"2", p) },
		"a FIFO":    func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"a folder":  func(p string) error { return os.Mkdir(p, 0o755) },
		"huge": func(p string) error {
			return os.WriteFile(p, []byte(good+strings.Repeat(" ", maxRecord)), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPart(t)
			must(t, os.WriteFile(path, content(1, 0, 100), 0o644))
			must(t, plant(path+recordSuffix))
			f := mustOpen(t, path)
			if f.Held() != nil || f.Total() != -1 || f.Validator() != (Validator{}) {
				t.Errorf("held %v of %d, %+v", f.Held(), f.Total(), f.Validator())
			}
			if _, err := os.Lstat(path + recordSuffix); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the record is still there: %v", err)
			}
			if size := len(mustRead(t, path)); size != 0 {
				t.Errorf("%d bytes that are not held are still there", size)
			}
		})
	}
	t.Run("believable", func(t *testing.T) { // the same, but for the lie
		path := newPart(t)
		must(t, os.WriteFile(path, content(1, 0, 100), 0o644))
		must(t, os.WriteFile(path+recordSuffix, []byte(good), 0o644))
		if f := mustOpen(t, path); f.Prefix() != 100 {
			t.Errorf("held %v", f.Held())
		}
	})
}

func TestOpenRecordWithoutItsPart(t *testing.T) {
	for _, held := range []Ranges{nil, {{0, 100}}} {
		path := newPart(t)
		must(t, os.WriteFile(path+recordSuffix, Record{Validator: versioned(1), Total: 100, Held: held}.Encode(), 0o644))
		f := mustOpen(t, path)
		if f.Held() != nil || f.Total() != -1 {
			t.Errorf("held %v of %d", f.Held(), f.Total())
		}
		wantNames(t, filepath.Dir(path), filepath.Base(path))
	}
}

func TestOpenCutsWhatIsNotHeld(t *testing.T) {
	path := newPart(t)
	must(t, os.WriteFile(path, content(1, 0, 1000), 0o644))
	must(t, os.WriteFile(path+recordSuffix, Record{Total: -1, Held: Ranges{{0, 10}, {20, 30}}}.Encode(), 0o644))
	mustOpen(t, path)
	if size := len(mustRead(t, path)); size != 30 {
		t.Errorf("%d bytes are left, want 30", size)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(path string) error
		why   string
	}{
		"symlink":          {func(p string) error { os.WriteFile(p+"2", []byte("mine"), 0o644); return os.Symlink(p+"2", p) }, "symbolic link"},
		"dangling symlink": {func(p string) error { return os.Symlink(p+"3", p) }, "symbolic link"},
		"folder":           {func(p string) error { return os.Mkdir(p, 0o755) }, "directory"},
		"FIFO":             {func(p string) error { return syscall.Mkfifo(p, 0o644) }, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPart(t)
			must(t, c.plant(path))
			f, err := Open(path)
			if err == nil {
				f.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("it is gone: %v", err)
			}
			if _, err := os.Lstat(path + "3"); err == nil {
				t.Error("the link's target was created")
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none", Name("x", "0123abcd"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a missing folder: %v", err)
	}
}

// What Open finds without a record is cut off: it must be a part file by its name.
func TestOpenRefusesOtherNames(t *testing.T) {
	for _, name := range []string{"letter.txt", "x.part", "x.0123abcd.part.json", "x.0123abcd.part.mismatch", "x.0123abcg.part", ".0123abcd.part.bak"} {
		path := filepath.Join(t.TempDir(), name)
		must(t, os.WriteFile(path, []byte("dear"), 0o644))
		if _, err := Open(path); !errors.Is(err, ErrName) {
			t.Errorf("%s: %v", name, err)
		}
		if string(mustRead(t, path)) != "dear" {
			t.Errorf("%s was changed", name)
		}
	}
}

func TestOpenRefusesAnotherUsersFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := newPart(t)
	must(t, os.WriteFile(path, content(1, 0, 100), 0o666))
	must(t, os.WriteFile(path+recordSuffix, Record{Total: 100, Held: Ranges{{0, 100}}}.Encode(), 0o666))
	must(t, os.Chown(path+recordSuffix, 12345, -1))
	f := mustOpen(t, path)
	if f.Held() != nil {
		t.Error("another user's record was believed")
	}
	must(t, f.Close())

	must(t, os.WriteFile(path, content(1, 0, 100), 0o666))
	must(t, os.Chown(path, 12345, -1))
	if _, err := Open(path); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "12345") {
		t.Errorf("got %v", err)
	}
	if size := len(mustRead(t, path)); size != 100 {
		t.Errorf("it has %d bytes left", size)
	}
}

// A kill between link and unlink leaves a finished file with the part's name too: it must not be written to.
func TestOpenLeavesTheOtherName(t *testing.T) {
	path := newPart(t)
	final := path + ".final"
	must(t, os.WriteFile(final, content(1, 0, 100), 0o644))
	must(t, os.Link(final, path))
	must(t, os.WriteFile(path+recordSuffix, Record{Validator: versioned(1), Total: 100, Held: Ranges{{0, 100}}}.Encode(), 0o644))
	f := mustOpen(t, path)
	if f.Held() != nil {
		t.Errorf("held %v", f.Held())
	}
	must(t, f.Begin(versioned(2), -1))
	if _, err := f.WriteAt(content(2, 0, 50), 0); err != nil {
		t.Fatal(err)
	}
	must(t, f.Close())
	if err := checkHeld(mustRead(t, final), Ranges{{0, 100}}, 1); err != nil {
		t.Errorf("the finished file was changed: %v", err)
	}
}

func TestOpenLocked(t *testing.T) {
	f := begun(t, 10)
	if _, err := Open(f.Path()); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), f.Path()) {
		t.Errorf("while it is open: %v", err)
	}
	write(t, f, 0, 5)
	must(t, f.Close())
	if g := mustOpen(t, f.Path()); g.Prefix() != 5 {
		t.Errorf("held %v", g.Held())
	}
}

func childHold(path string) {
	f, err := Open(path)
	if err != nil {
		panic(err)
	}
	fmt.Println("open")
	time.Sleep(time.Minute) // until it is killed
	f.Close()
}

func TestOpenLockedByAnotherProcess(t *testing.T) {
	path := newPart(t)
	cmd := childCommand(t, "hold", path)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrLocked) {
		t.Errorf("while another process has it: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	mustOpen(t, path)
}

// Many tasks for one part file, each of which commits, sets aside, discards or closes: whoever gets it has it alone, by
// the name that it was opened with, and never writes to a file that has its final name.
func TestOpenRace(t *testing.T) {
	path := newPart(t)
	folder := filepath.Dir(path)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for round := 0; round < 40; {
				f, err := Open(path)
				if errors.Is(err, ErrLocked) {
					time.Sleep(time.Microsecond)
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				version := 1 + worker*1000 + round
				err = f.Begin(versioned(version), 3*page)
				if err == nil {
					_, err = f.WriteAt(content(version, 0, 3*page), 0)
				}
				switch {
				case err != nil:
				case round%4 == 0:
					err = f.Discard()
				case round%4 == 1:
					_, err = f.Aside()
				case round%4 == 2:
					_, err = f.Commit(filepath.Join(folder, fmt.Sprint(version)), task.ConflictFail)
				}
				if closed := f.Close(); err != nil || closed != nil {
					t.Error(err, closed)
					return
				}
				round++
			}
		})
	}
	wg.Wait()
	finished := 0
	entries, err := os.ReadDir(folder)
	must(t, err)
	for _, e := range entries {
		var version int
		if _, err := fmt.Sscanf(e.Name(), "%d", &version); err != nil || strings.Contains(e.Name(), ".") {
			continue
		}
		finished++
		data := mustRead(t, filepath.Join(folder, e.Name()))
		if err := checkHeld(data, Ranges{{0, 3 * page}}, version); err != nil || len(data) != 3*page {
			t.Errorf("%s: %d bytes, %v", e.Name(), len(data), err)
		}
	}
	if finished != 8*10 {
		t.Errorf("%d finished files, want 80", finished)
	}
}

// A part file that was closed is free at once, also while a child process is being started, which has it open until its
// exec.
func TestClosedWhileAChildStarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name("f", Key("", "f")))
	f, err := Open(path)
	must(t, err)
	must(t, f.Begin(Validator{ETag: `"v"`}, 10))
	_, err = f.WriteAt([]byte("01234"), 0)
	must(t, err)
	inherited, err := unix.Dup(int(f.file.Fd()))
	must(t, err)
	defer unix.Close(inherited)
	must(t, f.Close())
	f, err = Open(path)
	must(t, err)
	must(t, f.Close())
}
