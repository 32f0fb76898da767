package partial

import (
	"os"
	"path/filepath"
	"time"

	"github.com/urlsession/urlsession/internal/durable"
)

// Checkpoint makes everything that was written before the call held, and returns when it is: on disk, with a record
// that claims it. For suspend, cancel, SIGINT and SIGTERM; while bytes arrive, checkpoints go on by themselves. After
// an error of the record (a full disk) it may be tried again; after one of fsync the File takes nothing more.
//
// It takes as long as the disk does and cannot be interrupted, since an fsync cannot.
func (f *File) Checkpoint() error {
	f.take()
	defer f.release()
	f.mu.Lock()
	ended := f.ended
	f.mu.Unlock()
	if ended {
		return f.errorf("checkpoint", os.ErrClosed)
	}
	return f.checkpoint()
}

// checkpoint does it. Called with the turn.
func (f *File) checkpoint() error {
	f.mu.Lock()
	f.due = false
	f.disarm()
	if f.lost != nil || f.fresh == 0 && !f.stale {
		defer f.mu.Unlock()
		return f.lost
	}
	// The claim is what has been written by now. What a WriteAt writes from here on may or may not be caught by the
	// fsync, and is not claimed.
	claim := Record{Validator: f.validator, Total: f.total, Held: f.written.Clone()}
	f.syncing, f.fresh, f.stale = f.fresh, 0, false
	f.litter = true
	f.mu.Unlock()

	var failed error
	lost := f.sync(f.file) // fdatasync: the claimed bytes are on disk
	if lost == nil {
		failed = f.save(f.path+tempSuffix, f.path+recordSuffix, claim.Encode()) // only then the claim
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost, f.failed = lost, failed
	if lost != nil || failed != nil {
		f.stale = true // the next one claims what this one did not
	} else {
		f.recorded = claim.Held
	}
	f.syncing = 0
	f.wake.Broadcast()
	if lost != nil {
		return lost
	}
	return failed
}

// saveRecord replaces the record. The folder's fsync makes it the one that is there after the loss of power, and with
// it the name of the part file.
func saveRecord(temp, path string, data []byte) error {
	if err := durable.WriteFileVia(temp, path, data, 0o666); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// start starts a checkpoint in the background, unless one is due already. Called with mu.
func (f *File) start() {
	if f.due || f.ended || f.lost != nil || f.failed != nil {
		return
	}
	f.due = true
	f.background.Go(func() {
		select {
		case f.turn <- struct{}{}:
			f.checkpoint() // its error is kept for the next call; it does nothing if another one came before
			f.release()
		case <-f.done:
		}
	})
}

// arm makes the timer start a checkpoint when the bytes that are fresh now are CheckpointInterval old. Called with mu.
func (f *File) arm() {
	f.armed = true
	if f.timer != nil {
		f.timer.Reset(CheckpointInterval)
		return
	}
	f.timer = time.AfterFunc(CheckpointInterval, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		// One that fired just before it was disarmed finds nothing fresh, or checkpoints early.
		f.armed = false
		if f.fresh > 0 {
			f.start()
		}
	})
}

// disarm stops the timer. Called with mu.
func (f *File) disarm() {
	if f.armed {
		f.armed = false
		f.timer.Stop()
	}
}
