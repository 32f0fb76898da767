package cookie

import (
	"time"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// merge makes what the file holds the state, but for what this process has changed later.
func (s *Storage) merge(in content, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.file
	for k, at := range in.removed {
		if e := s.find(k); e != nil && e.Updated.Before(at) {
			s.drop(e) // by another process, after our last change
		}
		if gone, ok := f.removed[k]; !ok && len(f.removed) < maxInAll || ok && gone.at.Before(at) {
			f.removed[k] = change{at: at} // for those to whom our next write will be the first news of it
		}
	}
	inFile := make(map[key]bool, len(in.cookies))
	for _, c := range in.cookies {
		k := c.key()
		if c.session() || c.expired(now) || inFile[k] {
			continue
		}
		inFile[k] = true
		if gone, ok := f.removed[k]; ok {
			if !c.Updated.After(gone.at) {
				continue
			}
			delete(f.removed, k) // it was set anew after it had been removed
		}
		e := &entry{Cookie: c}
		accessed := c.Accessed.UnixNano()
		if old := s.find(k); old != nil {
			if s.own(old) && !c.Updated.After(old.Updated) {
				continue
			}
			accessed = max(accessed, old.accessed.Load())
			s.drop(old)
		}
		e.accessed.Store(accessed)
		s.insert(e)
	}
	for _, e := range s.entries() {
		if !inFile[e.key()] && !s.own(e) {
			s.drop(e) // another process has removed it
		}
	}
	s.evictAll(now)
}

// own tells an entry that the file need not have: of a change that was not written yet, or of a cookie that never is.
func (s *Storage) own(e *entry) bool { return e.session() || e.seq > s.file.written }

// corruptMark stands between a file's name and the time at which it was set aside.
const corruptMark = ".corrupt-"

// setAside gives the damaged file another name, and has what this process still knows written in its place. The lock is
// held: no other process can have put a good file there since it was read.
func (s *Storage) setAside(reason error) error {
	f := s.file
	aside := f.path + corruptMark + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := durable.RenameNoReplace(f.path, aside); err != nil {
		return fileError("set aside", f.path, task.CannotMoveFile, err)
	}
	f.seen = identity{}
	s.mu.Lock()
	for _, e := range s.entries() {
		if !e.session() {
			s.seq++
			e.seq, f.changed = s.seq, s.seq
		}
	}
	s.mu.Unlock()
	f.noticed = fileError("read", f.path, task.CannotOpenFile, setAsideError{reason, aside})
	return nil
}

type setAsideError struct {
	reason error
	path   string
}

func (e setAsideError) Error() string {
	return e.reason.Error() + ": it was kept as " + e.path + ", and a new one begun"
}

func (e setAsideError) Unwrap() error { return e.reason }
