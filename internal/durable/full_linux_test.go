package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk is a file system with room for a megabyte.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system to fill")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a small file system to fill: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestWriteFileOnAFullDisk(t *testing.T) {
	dir := smallDisk(t)
	path := filepath.Join(dir, "f")
	mustWrite(t, path, "old")
	for name, write := range map[string]func([]byte) error{
		"WriteFile":    func(b []byte) error { return WriteFile(path, b, 0o644) },
		"WriteFileVia": func(b []byte) error { return WriteFileVia(path+".tmp", path, b, 0o644) },
	} {
		err := write(make([]byte, 2<<20))
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: got %v, want no space left, and where", name, err)
		}
		if got := string(mustRead(t, path)); got != "old" {
			t.Errorf("%s: the old content became %d bytes", name, len(got))
		}
		if got := strings.Join(names(t, dir), " "); got != "f" {
			t.Errorf("%s: the folder has %s", name, got)
		}
		if err := write([]byte("old")); err != nil {
			t.Errorf("%s: with room again: %v", name, err)
		}
	}
}
