package powerfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const childEnv = "POWERFS_TEST_MAP"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := mapFile(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := Guard(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func mount(t *testing.T, d *Disk) string {
	t.Helper()
	m, err := d.Mount(t.TempDir())
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() { must(t, m.Unmount()) })
	return m.Path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func syncPath(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

// cuts does the same to many disks, of both journals, cuts their power and tells what each has then. A disk must have each of
// the outcomes sometimes, and no other ever.
func cuts(t *testing.T, work func(t *testing.T, dir string), outcome func(d *Disk) string, want ...string) {
	t.Helper()
	for _, journal := range []Journal{Ordered, Scattered} {
		t.Run(journal.String(), func(t *testing.T) {
			seen := make(map[string]int)
			for seed := range uint64(24) {
				d := New(journal, seed)
				m, err := d.Mount(t.TempDir())
				if errors.Is(err, ErrUnavailable) {
					t.Skip(err)
				}
				must(t, err)
				work(t, m.Path)
				d.Cut()
				must(t, m.Unmount())
				d.Restore()
				seen[outcome(d)]++
			}
			for _, w := range want {
				if seen[w] == 0 {
					t.Errorf("%q was never the outcome", w)
				}
				delete(seen, w)
			}
			if len(seen) > 0 {
				t.Errorf("and there was %v", seen)
			}
		})
	}
}

// listed is what a disk has, in short: names and contents.
func listed(d *Disk) string {
	var all []string
	for _, name := range d.Names() {
		data, err := d.ReadFile(name)
		if err != nil {
			return err.Error()
		}
		all = append(all, name+"="+string(data))
	}
	return strings.Join(all, " ")
}

func TestFileAndName(t *testing.T) {
	write := func(t *testing.T, path, data string, sync bool) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
		must(t, err)
		_, err = f.WriteString(data)
		must(t, err)
		if sync {
			must(t, f.Sync())
		}
		must(t, f.Close())
	}
	t.Run("file and folder", func(t *testing.T) {
		cuts(t, func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "a"), "x", true)
			syncPath(t, dir)
		}, listed, "a=x")
	})
	t.Run("file alone", func(t *testing.T) {
		cuts(t, func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a"), "x", true) }, listed, "", "a=x")
	})
	t.Run("folder alone", func(t *testing.T) {
		cuts(t, func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "a"), "xx", false)
			syncPath(t, dir)
		}, func(d *Disk) string {
			data, err := d.ReadFile("a")
			switch {
			case err != nil:
				return "lost"
			case string(data) == "xx", string(data) == "\x00\x00":
				return fmt.Sprintf("%q", data)
			case len(data) == 2:
				return "garbage"
			}
			return fmt.Sprintf("%d bytes", len(data))
		}, "0 bytes", `"xx"`, `"\x00\x00"`, "garbage")
	})
	t.Run("rename", func(t *testing.T) {
		cuts(t, func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "a"), "old", true)
			write(t, filepath.Join(dir, "b"), "new", true)
			syncPath(t, dir)
			must(t, os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "a")))
		}, listed, "a=old b=new", "a=new")
	})
	t.Run("written over", func(t *testing.T) {
		cuts(t, func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "a"), "old", true)
			syncPath(t, dir)
			write(t, filepath.Join(dir, "a"), "new", false)
		}, listed, "a=old", "a=new")
	})
	t.Run("removed", func(t *testing.T) {
		cuts(t, func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "a"), "x", true)
			syncPath(t, dir)
			must(t, os.Remove(filepath.Join(dir, "a")))
		}, listed, "", "a=x")
	})
}

// Two changes that have nothing to do with each other keep their order in a journal, and nowhere else. So does a folder's own
// name with the fsync of what is in it.
func TestJournals(t *testing.T) {
	for journal, loose := range map[Journal]bool{Ordered: false, Scattered: true} {
		reversed, lost := false, false
		for seed := range uint64(60) {
			d := New(journal, seed)
			r := d.nodes[root]
			d.rename(named{r, "first", d.newNode(syscall.S_IFREG, 0, 0)})
			d.rename(named{r, "second", d.newNode(syscall.S_IFREG, 0, 0)})
			d.Restore()
			reversed = reversed || slices.Equal(d.Names(), []string{"second"})

			d = New(journal, seed)
			folder := d.newNode(syscall.S_IFDIR, 0, 0)
			d.rename(named{d.nodes[root], "folder", folder})
			d.rename(named{folder, "file", d.newNode(syscall.S_IFREG, 0, 0)})
			d.syncNames(folder)
			d.Restore()
			lost = lost || len(d.Names()) == 0
		}
		if reversed != loose {
			t.Errorf("%v: the second name without the first: %v", journal, reversed)
		}
		if lost != loose {
			t.Errorf("%v: a folder was lost though what is in it was fsynced: %v", journal, lost)
		}
	}
}

// A sector is written whole, and each for itself.
func TestTornWrite(t *testing.T) {
	torn := false
	for seed := range uint64(200) {
		n := new(node)
		d := New(Ordered, seed)
		n.write(0, bytes.Repeat([]byte("a"), 8*sector))
		n.sync(false)
		n.write(0, bytes.Repeat([]byte("b"), 8*sector))
		n.survive(d.random)
		kinds := make(map[byte]bool)
		for s := range slices.Chunk(n.data, sector) {
			if len(s) != sector || !bytes.Equal(s, bytes.Repeat(s[:1], sector)) {
				t.Fatalf("seed %d: a sector is torn", seed)
			}
			kinds[s[0]] = true
		}
		torn = torn || len(kinds) == 2
	}
	if !torn {
		t.Error("no write was torn")
	}
}

// Without power nothing can be done, and nobody hangs.
func TestDark(t *testing.T) {
	d := New(Ordered, 1)
	dir := mount(t, d)
	f, err := os.Create(filepath.Join(dir, "a"))
	must(t, err)
	defer f.Close()
	d.CutAt(2)
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("fsync: %v", err)
	}
	select {
	case <-d.Dark():
	default:
		t.Error("the power is on")
	}
	if _, err := f.WriteString("x"); !errors.Is(err, syscall.EIO) {
		t.Errorf("write: %v", err)
	}
	if _, err := os.Create(filepath.Join(dir, "b")); !errors.Is(err, syscall.EIO) {
		t.Errorf("create: %v", err)
	}
}

// What is mapped is written back by msync, as SQLite needs of its -shm file.
func TestMapped(t *testing.T) {
	d := New(Ordered, 1)
	dir := mount(t, d)
	path := filepath.Join(dir, "a")
	cmd := exec.CommandContext(t.Context(), os.Args[0]) // see the package's last sentence
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := d.ReadFile("a")
	must(t, err)
	if !bytes.HasPrefix(data, []byte("mapped")) || len(data) != 4096 {
		t.Errorf("%d bytes, %q", len(data), data[:min(8, len(data))])
	}
}

func mapFile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		return err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	copy(b, "mapped")
	return errors.Join(unix.Msync(b, unix.MS_SYNC), unix.Munmap(b))
}
