package partial

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/urlsession/urlsession/internal/task"
)

// A disk that fills up: the error says so, the part stays, and with room again the download goes on from it.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system to fill")
	}
	t.Run("after checkpoints", func(t *testing.T) { testFullDisk(t, 16<<20, 20<<20) })
	t.Run("before the first", func(t *testing.T) { testFullDisk(t, 1<<20, 2<<20) })
}

func testFullDisk(t *testing.T, room, size int64) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.FormatInt(room, 10)); err != nil {
		t.Skipf("cannot mount a small file system to fill: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })

	path := filepath.Join(dir, Name("file.bin", "0123abcd"))
	download := func(f *File) error {
		if f.Held() == nil {
			must(t, f.Begin(versioned(1), size))
		}
		for at := f.Prefix(); at < size; {
			end := min(at+256<<10, size)
			n, err := f.WriteAt(content(1, at, end), at)
			if at += int64(n); err != nil {
				if f.Prefix() != at {
					t.Errorf("%d bytes were written by the count, %d by the File", at, f.Prefix())
				}
				return err
			}
		}
		return nil
	}

	f := mustOpen(t, path)
	if err := download(f); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v, want no space left, and where", err)
	}
	written := f.Prefix()
	must(t, f.Close()) // there is no room for the last record, but for what it gives up
	f = mustOpen(t, path)
	if held := f.Prefix(); held < written-recordRoom {
		t.Errorf("only %d bytes are held of %d", held, written)
	}
	if err := checkHeld(mustRead(t, path), f.Held(), 1); err != nil {
		t.Error(err)
	}

	must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"))
	must(t, download(f))
	final, err := f.Commit(filepath.Join(dir, "file.bin"), task.ConflictFail)
	must(t, err)
	if err := checkHeld(mustRead(t, final), Ranges{{0, size}}, 1); err != nil {
		t.Error(err)
	}
	wantNames(t, dir, "file.bin")
}
