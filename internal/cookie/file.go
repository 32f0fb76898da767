package cookie

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// Options are those of Open.
type Options struct {
	// Sealer seals the file. It may not be nil.
	Sealer Sealer
	// Warn is told what went wrong while nobody waited: a file that was set aside, a write that failed and will be tried
	// again. It is called from any goroutine, with nothing locked, and gets a *task.Error. Nil: nobody is told.
	Warn func(error)
}

const (
	writeDelay = time.Second      // from a change to the file, at most
	lookDelay  = time.Second      // between two looks at whether the file has changed
	retryDelay = 30 * time.Second // after a write that failed
	lockWait   = 10 * time.Second // for another process's read and write, which take milliseconds
	goneFor    = 5 * time.Minute  // how long the file tells that a cookie was removed: longer than a change waits
)

// file is where a Storage's cookies are kept. Beside it lie path.lock, which whoever reads to write or writes holds, and
// while it is written path.tmp.
//
// Each process has all cookies in memory, and of each the change that the file does not have yet. To write, it takes the
// lock, reads the file if it is another one than it has read or written last, lets the later change of each cookie win,
// and replaces the file as a whole:
//
//	write and fsync path.tmp   so that the name, once moved, stands for all of the content, also after a power cut
//	rename it to path          atomic: who reads, locked or not, sees the old file or the new one; kill -9 leaves either
//	fsync the folder           now the new name lasts too, and Flush may say so
type file struct {
	path   string
	sealer Sealer
	warn   func(error)

	busy  chan struct{} // holds a value while somebody in this process reads or writes the file; taken before Storage.mu
	seen  identity      // of the file as it was merged last. By busy
	tried identity      // of the file as refresh saw it last. By busy
	look  atomic.Int64  // when refresh looks again; Unix, ns
	begun atomic.Bool   // the file was looked at for the first time
	first sync.Once     // does that
	ended atomic.Bool   // by Close

	noticed error // what Warn is to be told once nothing is locked. By busy

	// By Storage.mu:
	changed uint64         // seq of the newest change that the file is to have
	written uint64         // seq of the newest change that it has, durably
	removed map[key]change // cookies that are gone, so that nobody's older change brings them back
	timer   *time.Timer    // of the next write; nil: none
	failure string         // of the last write that nobody waited for, which Warn is told once; "": it was done
}

type change struct {
	seq uint64
	at  time.Time
}

// Open is a Storage that is kept in the file at path, which is made, mode 0600, once there is a cookie to keep; its folder
// must exist. Cookies without an expiry stay in memory and end with the process. A change is in the file within a second,
// or when Flush or Close returns. Any number of Storages may be open on one path, in any number of processes: each sees the
// others' changes within a second, and of two changes to one cookie the later one stays.
//
// A file that is damaged, or sealed with another key, is renamed to path.corrupt-TIME, and Warn is told. The error, a
// *task.Error, is for a file that cannot be read for any other reason; nothing is touched then.
func Open(path string, o Options) (*Storage, error) {
	if o.Sealer == nil {
		return nil, fileError("open", path, task.CannotOpenFile, errors.New("there is nothing to seal it with"))
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(filepath.Dir(path))
	}
	if err != nil {
		return nil, fileError("open", path, task.CannotOpenFile, err)
	}
	s := Later(path, o)
	if err = s.begin(); errors.Is(err, ErrDamaged) {
		ctx, cancel := context.WithTimeout(context.Background(), lockWait)
		defer cancel()
		err = s.sync(ctx)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Later is a Storage as Open's, but that the file, whose path is absolute, is looked at when the Storage is first used, and
// its folder, with those above it, made for their owner alone when there is something to keep: a Storage that is never used
// costs no system call. Where the file cannot be read Warn is told, the cookies are in memory, and Flush returns the error.
func Later(path string, o Options) *Storage {
	s := New()
	s.file = &file{path: path, sealer: o.Sealer, warn: o.Warn, busy: make(chan struct{}, 1), removed: make(map[key]change)}
	return s
}

// begin reads the file for the first time. Others who call it meanwhile wait; the error is the first one's alone.
func (s *Storage) begin() (err error) {
	f := s.file
	f.first.Do(func() {
		f.busy <- struct{}{}
		if err = s.load(nil); err != nil {
			f.tried, _ = identify(f.path)
		}
		<-f.busy
		f.look.Store(time.Now().Add(lookDelay).UnixNano())
		f.begun.Store(true)
	})
	return err
}

// beginNow is begin where nobody waits for its error.
func (s *Storage) beginNow() {
	err := s.begin()
	if err == nil {
		return
	}
	s.mu.Lock()
	damaged := errors.Is(err, ErrDamaged)
	if damaged {
		s.later(0) // it is set aside
	} else {
		s.file.failure = err.Error()
	}
	s.mu.Unlock()
	if !damaged {
		s.file.tell(err)
	}
}

func fileError(op, path string, code task.Code, err error) error {
	return &task.Error{Op: op + " cookie file", URL: path, Code: code, Err: err}
}

func (f *file) tell(err error) {
	if err != nil && f.warn != nil {
		f.warn(err)
	}
}

// noteSet notes that e took the place of old, or of nothing, by change seq. It reports whether that is one for the file.
func (f *file) noteSet(seq uint64, e, old *entry) bool {
	switch {
	case !e.session():
		delete(f.removed, e.key())
		f.changed = seq
	case old != nil && !old.session():
		f.noteRemoved(seq, e.key(), e.Updated)
	default:
		return false
	}
	return true
}

// noteRemoved notes that the cookie of k is gone, by change seq.
func (f *file) noteRemoved(seq uint64, k key, at time.Time) {
	f.changed = seq
	if len(f.removed) >= maxInAll {
		f.forget(at)
	}
	if len(f.removed) < maxInAll { // else only an older change that comes from elsewhere within goneFor can bring it back
		f.removed[k] = change{seq, at}
	}
}

// forget drops what the file has told long enough.
func (f *file) forget(now time.Time) {
	for k, gone := range f.removed {
		if gone.seq <= f.written && now.Sub(gone.at) > goneFor {
			delete(f.removed, k)
		}
	}
}

// later has the changes written after delay, unless they are to be already. s.mu is held.
func (s *Storage) later(delay time.Duration) {
	f := s.file
	if f.timer != nil || f.ended.Load() {
		return
	}
	f.timer = time.AfterFunc(delay, func() {
		s.mu.Lock()
		f.timer = nil
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), lockWait)
		defer cancel()
		err := s.sync(ctx)
		s.mu.Lock()
		failure := ""
		if err != nil {
			failure = err.Error()
			s.later(retryDelay)
		}
		known := failure == f.failure
		f.failure = failure
		s.mu.Unlock()
		if !known {
			f.tell(err)
		}
	})
}

// refresh takes over what another process has changed, if there is a file and it is time to look. What cannot be done at
// once is left to a sync.
func (s *Storage) refresh() {
	f := s.file
	if f == nil || f.ended.Load() {
		return
	}
	if !f.begun.Load() {
		s.beginNow()
		return
	}
	now := time.Now().UnixNano()
	if next := f.look.Load(); now < next && next-now <= int64(lookDelay) || !f.look.CompareAndSwap(next, now+int64(lookDelay)) {
		return
	}
	select {
	case f.busy <- struct{}{}:
		defer func() { <-f.busy }()
	default: // who has it looks too
		return
	}
	id, err := identify(f.path)
	if err == nil && (id.same(f.seen) || id.info != nil && id.same(f.tried)) {
		return
	}
	f.tried = id
	if s.load(nil) != nil {
		s.mu.Lock()
		s.later(0)
		s.mu.Unlock()
	}
}

// Flush returns when every change made before the call is in the file, durably. In memory alone, as after Close, there is
// nothing to do.
func (s *Storage) Flush(ctx context.Context) error {
	if s.file == nil || s.file.ended.Load() || !s.file.begun.Load() {
		return nil
	}
	return s.sync(ctx)
}

// Close is Flush, for 10 s at most, and ends the Storage's use of its file: it goes on in memory. A Storage that is not
// closed holds nothing open, but loses the changes of its last second when the process ends.
func (s *Storage) Close() error {
	f := s.file
	if f == nil {
		return nil
	}
	f.ended.Store(true)
	s.mu.Lock()
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	s.mu.Unlock()
	if !f.begun.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	return s.sync(ctx)
}

// Reset removes all cookies, and the file with all that lies beside it: the lock and files that were set aside. What other
// processes have open is empty within a second, but for what they change meanwhile.
func (s *Storage) Reset(ctx context.Context) error {
	if s.file == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.clear()
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	return s.exclusive(ctx, s.emptied, func(lock *os.File) error {
		f := s.file
		aside, err := filepath.Glob(escapeGlob(f.path) + corruptMark + "*")
		if err != nil {
			return fileError("reset", f.path, task.CannotRemoveFile, err)
		}
		// The lock goes last, while it is held: whoever waits for it sees that it is no more, and makes another.
		for _, path := range append(aside, f.path+".tmp", f.path, lock.Name()) {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fileError("reset", f.path, task.CannotRemoveFile, err)
			}
		}
		if err := durable.SyncDir(filepath.Dir(f.path)); err != nil { // now the names stay gone
			return fileError("reset", f.path, task.CannotRemoveFile, err)
		}
		s.empty()
		return nil
	})
}

// emptied is Reset of a file whose folder is not there; false: it is. busy is held.
func (s *Storage) emptied() bool {
	if _, err := os.Stat(filepath.Dir(s.file.path)); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	s.empty()
	return true
}

// empty forgets all cookies, as the file has. busy is held.
func (s *Storage) empty() {
	s.file.seen = identity{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	clear(s.file.removed)
	s.file.written = s.seq
}

// escapeGlob quotes what filepath.Glob would read as a pattern.
func escapeGlob(path string) string {
	quoted := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		switch path[i] {
		case '*', '?', '[', '\\':
			quoted = append(quoted, '\\')
		}
		quoted = append(quoted, path[i])
	}
	return string(quoted)
}
