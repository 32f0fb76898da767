package durable

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestAwaitLock: many holders in turn, each of which removes the file before it lets go, never two at once.
func TestAwaitLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var inside sync.Mutex
	var holders sync.WaitGroup
	for range 8 {
		holders.Go(func() {
			for range 20 {
				lock, err := AwaitLock(ctx, path)
				if err != nil {
					t.Error(err)
					return
				}
				if inside.TryLock() {
					runtime.Gosched()
					inside.Unlock()
				} else {
					t.Error("two hold it")
				}
				if err := os.Remove(path); err != nil { // from here on it is another's turn
					t.Error(err)
				}
				lock.Close()
			}
		})
	}
	holders.Wait()
}

func TestAwaitLockEnds(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	held, err := AwaitLock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if info, err := held.Stat(); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := AwaitLock(ctx, path); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrLocked) {
		t.Errorf("while it is held: %v", err)
	}
	deep := filepath.Join(dir, "a", "b", "lock")
	if lock, err := AwaitLock(t.Context(), deep); err != nil {
		t.Errorf("without a folder: %v", err)
	} else {
		lock.Close()
	}
	if info, err := os.Stat(filepath.Dir(deep)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info, err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "folder")); err != nil {
		t.Fatal(err)
	}
	if _, err := AwaitLock(t.Context(), filepath.Join(dir, "folder", "lock")); err == nil {
		t.Error("where no folder can be made there is no error")
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := AwaitLock(t.Context(), link); err == nil {
		t.Error("it follows a link")
	}
}
