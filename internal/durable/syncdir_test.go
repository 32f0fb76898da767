package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// disk counts the fsyncs that a group makes; each takes a second of the bubble's time.
type disk struct {
	mu     sync.Mutex
	begun  map[string][]time.Time
	failed error
}

func (d *disk) fsync(dir string) error {
	d.mu.Lock()
	d.begun[dir] = append(d.begun[dir], time.Now())
	failed := d.failed
	d.mu.Unlock()
	time.Sleep(time.Second)
	return failed
}

func newGroup() (*group, *disk) {
	d := &disk{begun: make(map[string][]time.Time)}
	return &group{fsync: d.fsync, all: make(map[string]*folder)}, d
}

func TestSyncDirSharesOnlyLaterFsyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := newGroup()
		start := time.Now()
		var wg sync.WaitGroup
		call := func(after, want time.Duration) {
			wg.Go(func() {
				time.Sleep(after)
				if err := g.sync("a"); err != nil {
					t.Error(err)
				}
				if got := time.Since(start); got != want {
					t.Errorf("the call after %v returned after %v, want %v", after, got, want)
				}
			})
		}
		call(0, time.Second)
		for range 100 { // while the first runs: they share the second
			call(100*time.Millisecond, 2*time.Second)
			call(900*time.Millisecond, 2*time.Second)
		}
		call(1500*time.Millisecond, 3*time.Second) // while the second runs: the third
		call(5*time.Second, 6*time.Second)         // alone: at once
		wg.Wait()
		if n := len(d.begun["a"]); n != 4 {
			t.Errorf("%d fsyncs, want 4", n)
		}
		if len(g.all) != 0 {
			t.Errorf("the group still remembers %d folders", len(g.all))
		}
	})
}

func TestSyncDirFoldersDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := newGroup()
		start := time.Now()
		var wg sync.WaitGroup
		for _, dir := range []string{"a", "b", "c"} {
			wg.Go(func() { g.sync(dir) })
		}
		wg.Wait()
		if got := time.Since(start); got != time.Second {
			t.Errorf("three folders took %v, want 1s", got)
		}
	})
}

func TestSyncDirErrorIsOfTheFsyncWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := newGroup()
		d.failed = errors.New("bad disk")
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := g.sync("a"); err == nil {
				t.Error("the first fsync's error is lost")
			}
		})
		synctest.Wait()
		d.mu.Lock()
		d.failed = nil
		d.mu.Unlock()
		for range 3 {
			wg.Go(func() {
				if err := g.sync("a"); err != nil {
					t.Errorf("got the error of an earlier fsync: %v", err)
				}
			})
		}
		wg.Wait()
	})
}

// Every call is covered by an fsync that began after it, under as much disorder as the scheduler gives.
func TestSyncDirRace(t *testing.T) {
	var mu sync.Mutex
	clock, begun := 0, 0 // begun: the clock when the newest finished fsync began
	tick := func() int { mu.Lock(); defer mu.Unlock(); clock++; return clock }
	g := &group{all: make(map[string]*folder), fsync: func(string) error {
		at := tick()
		time.Sleep(time.Microsecond) // lets others come
		mu.Lock()
		begun = at
		mu.Unlock()
		return nil
	}}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 500 {
				called := tick()
				g.sync("a")
				mu.Lock()
				if begun < called {
					t.Errorf("a call at %d was answered by an fsync that began at %d", called, begun)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(g.all) != 0 {
		t.Errorf("the group still remembers %d folders", len(g.all))
	}
}

func TestSyncDirReal(t *testing.T) {
	dir := t.TempDir()
	if err := SyncDir(dir); err != nil {
		t.Error(err)
	}
	if err := SyncDir(""); err != nil {
		t.Errorf("the current folder: %v", err)
	}
	if err := SyncDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
	mustWrite(t, filepath.Join(dir, "file"), "")
	if err := SyncDir(filepath.Join(dir, "file")); err == nil {
		t.Error("a file is no folder, and no error said so")
	}
}

func TestMakeDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 { // it may be there
		if err := MakeDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", d, info, err)
		}
	}
	mustWrite(t, filepath.Join(dir, "f"), "")
	if err := MakeDir(filepath.Join(dir, "f", "c")); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
}
