package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openLocked(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := Lock(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func TestLockInTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := openLocked(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Lock(f); err != nil {
		t.Errorf("locked again by its holder: %v", err)
	}
	if _, err := openLocked(path); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("while it is held: %v", err)
	}
	// The lock follows the file to its new name.
	if err := Rename(path, path+"2"); err != nil {
		t.Fatal(err)
	}
	if _, err := openLocked(path + "2"); !errors.Is(err, ErrLocked) {
		t.Errorf("while it is held by another name: %v", err)
	}
	f.Close()
	if f, err = openLocked(path + "2"); err != nil {
		t.Fatalf("after its release: %v", err)
	}
	f.Close()
	if err := Lock(f); !errors.Is(err, os.ErrClosed) {
		t.Errorf("of a closed file: %v", err)
	}
}

func childLock(path string) {
	f, err := openLocked(path)
	if err != nil {
		panic(err)
	}
	ready()
	time.Sleep(time.Minute) // until it is killed
	f.Close()
}

func TestLockOfAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	child := startChild(t, "lock", path)
	if _, err := openLocked(path); !errors.Is(err, ErrLocked) {
		t.Errorf("while another process holds it: %v", err)
	}
	child.Process.Kill()
	child.Wait()
	f, err := openLocked(path)
	if err != nil {
		t.Fatalf("after the other process was killed: %v", err)
	}
	f.Close()
}

// A child process that is being started has all files open until its exec.
func TestUnlockBesideAChild(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := openLocked(path)
	if err != nil {
		t.Fatal(err)
	}
	inherited, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	if err := Unlock(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if f, err = openLocked(path); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := Unlock(f); !errors.Is(err, os.ErrClosed) {
		t.Errorf("of a closed file: %v", err)
	}
}
