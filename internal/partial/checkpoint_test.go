package partial

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

func recordOf(t *testing.T, f *File) (Record, bool) {
	t.Helper()
	data, err := os.ReadFile(f.Path() + recordSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, false
	}
	must(t, err)
	r, err := ParseRecord(data)
	must(t, err)
	return r, true
}

// The oldest unrecorded byte starts a checkpoint after 2 s, whatever is written meanwhile.
func TestCheckpointAfterTheInterval(t *testing.T) {
	path := newPart(t)
	synctest.Test(t, func(t *testing.T) {
		f := mustOpen(t, path)
		must(t, f.Begin(versioned(1), -1))
		time.Sleep(time.Hour) // nothing to record
		for i := range int64(19) {
			write(t, f, i, i+1)
			time.Sleep(CheckpointInterval / 20)
			synctest.Wait()
		}
		if r, ok := recordOf(t, f); ok {
			t.Errorf("before the interval is over: %+v", r)
		}
		time.Sleep(CheckpointInterval / 20)
		synctest.Wait()
		if r, ok := recordOf(t, f); !ok || r.Held.Prefix() != 19 {
			t.Errorf("after it: %+v, %t", r, ok)
		}

		time.Sleep(time.Hour)
		info, err := os.Stat(path + recordSuffix)
		must(t, err)
		time.Sleep(time.Hour)
		if again, _ := os.Stat(path + recordSuffix); !os.SameFile(info, again) {
			t.Error("the record is written again, and nothing is new")
		}

		write(t, f, 19, 20)
		time.Sleep(CheckpointInterval - time.Nanosecond)
		synctest.Wait()
		if held := f.Held().Prefix(); held != 19 {
			t.Errorf("too early: %d held", held)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if held := f.Held().Prefix(); held != 20 {
			t.Errorf("%d held, want 20", held)
		}
		must(t, f.Close())
	})
}

// With a disk that takes 10 s for an fsync, writing goes on up to the limit and then waits for it.
func TestWriterWaitsAtTheLimitOnly(t *testing.T) {
	path := newPart(t)
	synctest.Test(t, func(t *testing.T) {
		f := mustOpen(t, path)
		f.sync = func(*os.File) error { time.Sleep(10 * time.Second); return nil }
		must(t, f.Begin(versioned(1), -1))
		start := time.Now()
		at := int64(0)
		step := func(n int64, want time.Duration) {
			t.Helper()
			write(t, f, at, at+n)
			at += n
			synctest.Wait()
			if got := time.Since(start); got != want {
				t.Errorf("byte %d was written after %v, want %v", at, got, want)
			}
			if unrecorded := at - f.Held().Prefix(); unrecorded > UnrecordedLimit {
				t.Errorf("%d bytes are unrecorded", unrecorded)
			}
		}
		step(CheckpointBytes-1, 0)
		step(1, 0)                               // the first checkpoint starts
		step(UnrecordedLimit-CheckpointBytes, 0) // while it runs
		step(1, 10*time.Second)                  // it is over; the second has begun, with CheckpointBytes
		step(CheckpointBytes-1, 10*time.Second)
		step(1, 20*time.Second)
		must(t, f.Close())
		if got := time.Since(start); got > 40*time.Second { // the checkpoint that was running, and Close's own
			t.Errorf("closed after %v, want at most 40s", got)
		}
	})
}

// A small file pays for no checkpoint, whatever ends it.
func TestSmallFileHasNoRecord(t *testing.T) {
	path := newPart(t)
	synctest.Test(t, func(t *testing.T) {
		f := mustOpen(t, path)
		f.sync = func(*os.File) error { t.Error("fdatasync"); return nil }
		f.save = func(string, string, []byte) error { t.Error("a record"); return nil }
		must(t, f.Begin(versioned(1), CheckpointBytes-1))
		for at := int64(0); at < CheckpointBytes-1; at += 1 << 20 {
			write(t, f, at, min(at+1<<20, CheckpointBytes-1))
		}
		time.Sleep(CheckpointInterval - 1)
		_, err := f.Commit(path+".final", task.ConflictFail)
		must(t, err)
		time.Sleep(time.Hour)
	})
}

// No record claims a byte that the disk does not have, or one of another version. The disk has what was in the file
// when the last fsync began.
func TestRecordNeverClaimsWhatIsNotSynced(t *testing.T) {
	for seed := range uint64(3) {
		f := mustOpen(t, newPart(t))
		var mu sync.Mutex
		var disk []byte
		var records int
		syncData := f.sync
		f.sync = func(file *os.File) error {
			now, err := os.ReadFile(file.Name())
			if err != nil {
				t.Error(err)
			}
			err = syncData(file)
			mu.Lock()
			disk = now
			mu.Unlock()
			return err
		}
		save := f.save
		f.save = func(temp, path string, data []byte) error {
			mu.Lock()
			defer mu.Unlock()
			records++
			r, err := ParseRecord(data)
			if err != nil {
				t.Errorf("%s: %v", data, err)
			}
			version, err := versionOf(r.Validator)
			if err != nil {
				t.Error(err)
			} else if err := checkHeld(disk, r.Held, version); err != nil {
				t.Errorf("seed %d, record %s: %v", seed, data, err)
			}
			return save(temp, path, data)
		}

		const size = 12 << 20
		rnd := rand.New(rand.NewPCG(seed, 1))
		for version := 1; version <= 3; version++ {
			must(t, f.Begin(versioned(version), size))
			order := rnd.Perm(size >> 18)
			stop := rnd.IntN(len(order))
			var wg sync.WaitGroup
			for worker := range 4 {
				wg.Go(func() {
					for i := worker; i < len(order); i += 4 {
						at := int64(order[i]) << 18
						if _, err := f.WriteAt(content(version, at, at+1<<18), at); err != nil {
							t.Error(err)
						}
						if i == stop {
							if err := f.Checkpoint(); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			wg.Wait()
		}
		must(t, f.Close())
		if records < 3*2 {
			t.Errorf("seed %d: %d records were watched", seed, records)
		}
	}
}

func TestCheckpointClaimsOnlyWhatCameBeforeIt(t *testing.T) {
	f := begun(t, -1)
	write(t, f, 0, 100)
	syncData := f.sync
	f.sync = func(file *os.File) error {
		write(t, f, 100, 200) // while the fsync runs: it may or may not be caught
		f.sync = syncData
		return syncData(file)
	}
	must(t, f.Checkpoint())
	if r, _ := recordOf(t, f); r.Held.Prefix() != 100 {
		t.Errorf("the record claims %v", r.Held)
	}
	must(t, f.Checkpoint())
	if r, _ := recordOf(t, f); r.Held.Prefix() != 200 {
		t.Errorf("the next claims %v", r.Held)
	}
}

// After a failed fsync nothing unrecorded is trusted again: the kernel may have dropped it and say that all is well.
func TestFsyncFails(t *testing.T) {
	f := begun(t, -1)
	write(t, f, 0, 100)
	must(t, f.Checkpoint())
	good := f.sync
	f.sync = func(*os.File) error { f.sync = good; return syscall.EIO }
	write(t, f, 100, 200)
	if err := f.Checkpoint(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Checkpoint: %v", err)
	}
	if _, err := f.WriteAt([]byte("x"), 200); !errors.Is(err, syscall.EIO) {
		t.Errorf("WriteAt: %v", err)
	}
	if _, err := f.Commit(f.Path()+".final", task.ConflictFail); !errors.Is(err, syscall.EIO) {
		t.Errorf("Commit: %v", err)
	}
	if err := f.Begin(versioned(2), -1); !errors.Is(err, syscall.EIO) {
		t.Errorf("Begin: %v", err)
	}
	if err := f.Checkpoint(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Checkpoint again: %v", err)
	}
	if err := f.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Close: %v", err)
	}
	if g := mustOpen(t, f.Path()); g.Prefix() != 100 {
		t.Errorf("held %v, want what was recorded before", g.Held())
	}
}

// A checkpoint in the background that fails is told to the next call, and can be made good if only the record failed.
func TestRecordFails(t *testing.T) {
	path := newPart(t)
	synctest.Test(t, func(t *testing.T) {
		f := mustOpen(t, path)
		must(t, f.Begin(versioned(1), -1))
		good := f.save
		full := &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
		f.save = func(string, string, []byte) error { return full }
		write(t, f, 0, 100)
		time.Sleep(CheckpointInterval)
		synctest.Wait()
		if n, err := f.WriteAt([]byte("x"), 100); n != 0 || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
			t.Errorf("WriteAt: %d, %v", n, err)
		}
		if err := f.Checkpoint(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Checkpoint: %v", err)
		}
		time.Sleep(time.Hour) // it is not tried again by itself
		f.save = good
		must(t, f.Checkpoint())
		if held := f.Held().Prefix(); held != 100 {
			t.Errorf("%d held", held)
		}
		write(t, f, 100, 200)
		must(t, f.Close())
	})
	if f := mustOpen(t, path); !slices.Equal(f.Held(), Ranges{{0, 200}}) {
		t.Errorf("held %v", f.Held())
	}
}

// A waiting writer is told too, and all of several.
func TestWaitingWritersLearnOfTheError(t *testing.T) {
	path := newPart(t)
	synctest.Test(t, func(t *testing.T) {
		f := mustOpen(t, path)
		must(t, f.Begin(versioned(1), -1))
		f.sync = func(*os.File) error { time.Sleep(time.Second); return syscall.EIO }
		write(t, f, 0, UnrecordedLimit)
		var wg sync.WaitGroup
		for i := range int64(3) {
			wg.Go(func() {
				if _, err := f.WriteAt([]byte("x"), UnrecordedLimit+i); !errors.Is(err, syscall.EIO) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		if err := f.Close(); !errors.Is(err, syscall.EIO) {
			t.Errorf("Close: %v", err)
		}
	})
}

// The record is needed for a kill, not for the end.
func TestCommitWithoutARecord(t *testing.T) {
	f := begun(t, 100)
	write(t, f, 0, 100)
	f.save = func(string, string, []byte) error { return syscall.ENOSPC }
	if err := f.Checkpoint(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if _, err := f.Commit(f.Path()+".final", task.ConflictFail); err != nil {
		t.Error(err)
	}
}
