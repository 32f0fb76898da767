//go:build linux

package platform

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSpaceOfAMissingPathNamesIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing")
	_, err := Space(path)
	if e, ok := errors.AsType[*fs.PathError](err); !ok || e.Path != path || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v, want a PathError of %s", err, path)
	}
}

func TestSpaceShrinksByWhatIsWritten(t *testing.T) {
	dir := t.TempDir()
	const size, block, written = 4 << 20, 4 << 10, 1 << 20
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("a small tmpfs needs the right to mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, 0) })
	before, err := Space(dir)
	if err != nil || before > size || before < size-8*block {
		t.Fatalf("Space = %d, %v; want nearly %d", before, err, size)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, written), 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := Space(filepath.Join(dir, "f"))
	if used := before - after; err != nil || used < written || used > written+8*block {
		t.Fatalf("after 1 MiB was written, %d bytes fewer are free (%v)", used, err)
	}
}
