package partial

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// A File is an open, locked part file. Its methods may be called from several goroutines, WriteAt from many at once,
// as the segments of one download do; but what says so must not run while bytes are still being written.
//
// Two sets say what it has. Written is what is in the file: a retry in this process goes on from it. Held is the part
// of it that the record claims: another process goes on from that, after kill -9 or the loss of power. After Open and
// after Checkpoint they are the same.
//
// One goroutine at most runs in the background, only while a checkpoint does, and none after Close, Commit, Aside or
// Discard, one of which ends every File.
type File struct {
	path string
	file *os.File

	// turn holds a token while somebody checkpoints, begins or ends: one at a time. Taken before mu. A channel, and
	// not a mutex, so that a testing/synctest bubble knows who waits.
	turn       chan struct{}
	done       chan struct{}  // closed at the end
	background sync.WaitGroup // a checkpoint that has been started

	announce func(final string, file task.Source) error // see Announce; nil: nobody asked

	// What makes promises true; tests watch them.
	sync func(*os.File) error                       // data on disk
	save func(temp, path string, data []byte) error // the record on disk

	mu        sync.Mutex
	wake      sync.Cond // of mu: pending or unrecorded bytes got fewer, or an error or the end has come
	validator Validator
	total     int64  // -1: unknown
	written   Ranges // its end is the size of the file
	recorded  Ranges
	stale     bool // the record lacks more than the fresh bytes: the total, or what a failed checkpoint did not claim

	// Bytes on their way to the record, in order.
	pending int64 // a WriteAt is writing them
	fresh   int64 // written since the last checkpoint began
	syncing int64 // the running checkpoint will record them

	due    bool        // a background checkpoint has been started and has not begun
	timer  *time.Timer // starts a checkpoint when the first fresh byte is CheckpointInterval old
	armed  bool        // the timer runs
	litter bool        // a record, or its temporary file, may lie beside the part file

	failed  error // the last record could not be written; a Checkpoint can try again
	lost    error // fsync failed: nothing written since the last checkpoint can be trusted again. Written with the turn
	closing bool  // no more writes
	ended   bool
}

// Path is the part file's path, as it was opened.
func (f *File) Path() string { return f.path }

func (f *File) folder() string { return filepath.Dir(f.path) }

// Held is what the record claims: what survives a kill and the loss of power.
func (f *File) Held() Ranges {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.recorded.Clone()
}

// Written is what is in the file, recorded or not: what a retry in this process need not fetch again.
func (f *File) Written() Ranges {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written.Clone()
}

// Prefix is how many bytes from position 0 on are in the file: Written().Prefix().
func (f *File) Prefix() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written.Prefix()
}

// Validator says of which version the bytes are: what Begin was given, by this process or an earlier one.
func (f *File) Validator() Validator {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.validator
}

// Total is the complete length in bytes, -1 when it is unknown.
func (f *File) Total() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// SetTotal gives a length that was unknown. It is an error to change a known one or to give one that is exceeded
// already: that is another version, and needs Begin.
func (f *File) SetTotal(total int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ended:
		return f.errorf("set length", os.ErrClosed)
	case total == f.total:
		return nil
	case total < 0 || f.total >= 0:
		return f.errorf("set length", fmt.Errorf("%d bytes, and it was %d before", total, f.total))
	case f.written.End() > total:
		return f.errorf("set length", fmt.Errorf("%d bytes, and byte %d is written", total, f.written.End()))
	}
	f.total, f.stale = total, true
	return nil
}

// Begin starts a version: it forgets the bytes of another and empties the file. The old record is gone durably when
// Begin returns, before the first byte of the new version can be written. total is -1 when it is unknown. After an
// error the File takes nothing more. Not while a WriteAt runs: its bytes would be taken for the new version's.
func (f *File) Begin(v Validator, total int64) error {
	f.take()
	defer f.release()
	if err := f.quiet("begin"); err != nil {
		return err
	}
	if f.lost != nil {
		return f.lost
	}
	f.mu.Lock()
	size := f.written.End()
	f.validator, f.total = v, max(total, -1)
	f.written, f.recorded, f.fresh, f.failed, f.stale = nil, nil, 0, nil, false
	f.disarm()
	f.mu.Unlock()

	// unlink and fsync(folder), then the truncation: after the loss of power at any point there is the old record with
	// all of its bytes, or none.
	var err error
	if f.litter {
		err = f.forgetRecord()
	}
	if err == nil && size > 0 {
		err = f.file.Truncate(0)
	}
	if err != nil {
		f.mu.Lock()
		f.lost = err
		f.mu.Unlock()
	}
	return err
}

// WriteAt writes p at off. It waits while more than UnrecordedLimit bytes would be unrecorded, so that it is as fast as
// the disk in the long run. The bytes count as written, never yet as held. It returns the error of an earlier
// checkpoint in the background; for a full disk errors.Is(err, syscall.ENOSPC). Bytes past a known total are refused.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > math.MaxInt64-int64(len(p)) {
		return 0, f.errorf("write", syscall.EINVAL)
	}
	var done int
	for done < len(p) {
		// In pieces that a checkpoint records at once, so that the limit holds for every length of p.
		piece := p[done:min(len(p), done+CheckpointBytes)]
		at := off + int64(done)
		if err := f.reserve(at, int64(len(piece))); err != nil {
			return done, err
		}
		n, err := f.file.WriteAt(piece, at)
		f.wrote(at, int64(n), int64(len(piece)))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// reserve waits until n more bytes may be unrecorded, and makes them pending.
func (f *File) reserve(at, n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.closing || f.ended:
			return f.errorf("write", os.ErrClosed)
		case f.lost != nil:
			return f.lost
		case f.failed != nil:
			return f.failed
		case f.total >= 0 && at+n > f.total:
			return f.errorf("write", fmt.Errorf("up to byte %d of a file of %d bytes", at+n, f.total))
		case f.pending+f.fresh+f.syncing+n <= UnrecordedLimit:
			f.pending += n
			return nil
		}
		// Not forever: as n ≤ CheckpointBytes, more than CheckpointBytes are on their way, and as many fresh ones start
		// a checkpoint.
		f.wake.Wait()
	}
}

// wrote makes n of the reserved bytes at at written and fresh, and sees to it that they will be recorded.
func (f *File) wrote(at, n, reserved int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending -= reserved
	f.fresh += n
	f.written.Add(at, at+n)
	if f.pending == 0 || n < reserved {
		f.wake.Broadcast()
	}
	if f.ended || n == 0 {
		return
	}
	switch {
	case f.fresh >= CheckpointBytes:
		f.start()
	case !f.armed && !f.due:
		f.arm()
	}
}

// ReadAt reads what is in the file, written or not: io.NewSectionReader(f, 0, f.Prefix()) is what a digest of the held
// bytes is computed from.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.file.ReadAt(p, off) }

// take waits for the turn to checkpoint, begin or end.
func (f *File) take() { f.turn <- struct{}{} }

func (f *File) release() { <-f.turn }

// quiet waits for the writes that run. Its error is that the File has ended. Called with the turn.
func (f *File) quiet(op string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.pending > 0 {
		f.wake.Wait()
	}
	if f.ended {
		return f.errorf(op, os.ErrClosed)
	}
	return nil
}

func (f *File) errorf(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.path, Err: err}
}
