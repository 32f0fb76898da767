package partial

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// maxNumber bounds the names that ConflictRename tries.
const maxNumber = 10000

// Commit gives the file its final name, in the same file system, and returns it: the last step of a download whose
// digest and version its caller has checked. It refuses a file with holes or of another length than Total. When it
// returns nil, the file is complete under that name even after the loss of power; part file and record are gone.
//
// If final exists, ConflictFail is an error that is fs.ErrExist, ConflictReplace replaces a file or a symbolic link,
// never a folder, and ConflictRename takes the first free of "name (1).ext", "name (2).ext" and so on. The first and
// the last never replace anything, whoever else creates files meanwhile.
//
// After an error with an empty path nothing has changed, and the File is still open. After one with a path the file
// stands there, whole, but may not survive the loss of power. Not while a WriteAt runs.
func (f *File) Commit(final string, how task.Conflict) (path string, err error) {
	f.take()
	defer f.release()
	if err := f.quiet("commit"); err != nil {
		return "", err
	}
	if f.lost != nil {
		return "", f.lost
	}
	if err := f.whole(); err != nil {
		return "", err
	}

	// fsync(file), so that the name never stands for less than the bytes; rename; fsync(folder), so that it stands.
	if err := f.file.Sync(); err != nil {
		f.mu.Lock()
		f.lost = err
		f.mu.Unlock()
		return "", err
	}
	f.removeTemp()
	path, err = f.rename(final, how)
	if err != nil {
		return "", err
	}
	// From here on another task may create the same part file. The record goes only now: a kill before the rename
	// must not cost the bytes. A record without its part file is none.
	err = f.removeRecord()
	if synced := durable.SyncDir(filepath.Dir(path)); err == nil {
		err = synced
	}
	if filepath.Dir(path) != f.folder() && err == nil {
		err = durable.SyncDir(f.folder())
	}
	if closed := f.end(false); err == nil {
		err = closed
	}
	return path, err
}

// whole says what is missing from the file.
func (f *File) whole() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := f.written.End()
	if holes := f.written.Holes(max(end, f.total)); len(holes) > 0 {
		return f.errorf("commit", fmt.Errorf("bytes %d to %d are missing", holes[0][0], holes[0][1]-1))
	}
	return nil
}

func (f *File) rename(final string, how task.Conflict) (string, error) {
	switch how {
	case task.ConflictFail:
		if err := f.announced(final); err != nil {
			return "", err
		}
		return final, durable.RenameNoReplace(f.path, final)
	case task.ConflictReplace:
		if err := f.announced(final); err != nil {
			return "", err
		}
		return final, durable.Rename(f.path, final)
	case task.ConflictRename:
		folder, name := filepath.Split(final)
		path := final
		for n := 1; ; n++ {
			err := fs.ErrExist
			if !f.taken(path) {
				if err = f.announced(path); err != nil {
					return "", err
				}
				err = durable.RenameNoReplace(f.path, path)
			}
			if !errors.Is(err, fs.ErrExist) || n > maxNumber {
				return path, err
			}
			path = folder + numbered(name, n)
		}
	}
	return "", f.errorf("commit", fmt.Errorf("unknown conflict policy %q", how))
}

// Aside renames the part file to NAME.KEY.part.mismatch, which it returns, in place of an older one: for bytes whose
// digest was wrong, kept to be looked at. The record is removed, so that the next try starts anew. It ends the File.
func (f *File) Aside() (string, error) {
	f.take()
	defer f.release()
	if err := f.quiet("set aside"); err != nil {
		return "", err
	}
	f.removeTemp()
	path := f.path + mismatchSuffix
	if err := durable.Rename(f.path, path); err != nil {
		return "", err
	}
	err := f.removeRecord()
	if synced := durable.SyncDir(f.folder()); err == nil {
		err = synced
	}
	if closed := f.end(true); err == nil {
		err = closed
	}
	return path, err
}

// Discard removes part file and record, and ends the File. After the loss of power they may be there again, both as
// they were.
func (f *File) Discard() error {
	f.take()
	defer f.release()
	if err := f.quiet("discard"); err != nil {
		return err
	}
	return f.discard()
}

func (f *File) discard() error {
	// The part file last: as long as it stands, locked, nobody else creates one and a record for it.
	f.removeTemp()
	err := f.removeRecord()
	if removed := os.Remove(f.path); err == nil {
		err = removed
	}
	if closed := f.end(true); err == nil {
		err = closed
	}
	return err
}

// Close checkpoints what is unrecorded and closes the file, which releases the lock. Part file and record stay, to be
// gone on from; a part file that holds nothing is removed. On a full disk the last bytes make room for the record. The error is the checkpoint's, or that of an earlier one in
// the background that no call has returned: part file and record are then those of the last good one. Writes that wait
// for their turn end with os.ErrClosed. On a File that has ended Close does nothing.
func (f *File) Close() error {
	f.take()
	defer f.release()
	f.mu.Lock()
	if f.ended {
		f.mu.Unlock()
		return nil
	}
	f.closing = true
	f.wake.Broadcast()
	f.mu.Unlock()
	if err := f.quiet("close"); err != nil {
		return err
	}
	err := f.checkpoint()
	if f.lost == nil && full(err) && f.giveUp(recordRoom) {
		err = f.checkpoint()
	}
	if err == nil && f.written.End() == 0 {
		return f.discard()
	}
	if closed := f.end(true); err == nil {
		err = closed
	}
	return err
}

// recordRoom is how many bytes of a part file are given up where the disk has no room for its record.
const recordRoom = 64 << 10

func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// giveUp cuts n bytes off the end of the file, none of them recorded. It is false where there are none. Called with the
// turn, when nothing is written any more.
func (f *File) giveUp(n int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := max(f.written.End()-n, f.recorded.End())
	if end >= f.written.End() || f.file.Truncate(end) != nil {
		return false
	}
	f.written.Cut(end)
	return true
}

// end closes the file, and with it the lock, and waits until nothing runs in the background. named says that it may have the part
// file's name still. Called with the turn.
func (f *File) end(named bool) error {
	f.mu.Lock()
	f.ended = true
	f.disarm()
	f.wake.Broadcast()
	f.mu.Unlock()
	close(f.done)
	f.background.Wait()
	if named {
		_ = durable.Unlock(f.file) // who opens it next does not meet a child process of ours; else Close does it
	}
	return f.file.Close()
}

func (f *File) removeTemp() {
	if f.litter {
		os.Remove(f.path + tempSuffix) // litter, at worst
	}
}

func (f *File) removeRecord() error {
	if !f.litter {
		return nil
	}
	if err := os.Remove(f.path + recordSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
