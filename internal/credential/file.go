package credential

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/seal"
	"github.com/urlsession/urlsession/internal/task"
)

// Options are those of Open.
type Options struct {
	// Holders are where the key of the file may lie, by preference: a new file is sealed with the key of the first that
	// gives one. An existing file names its own.
	Holders []seal.Holder
	// Warn is told what went wrong while nobody waited: a file that was set aside, a keyring that does not answer. It is
	// called from any goroutine, with nothing locked, and gets a *task.Error. Nil: nobody is told.
	Warn func(error)
}

const (
	lookDelay = time.Second      // between two looks at whether the file has changed
	lockWait  = 10 * time.Second // for another process's change, which takes milliseconds
)

// file is where a Storage's permanent credentials are kept. Beside it lie path.lock, which whoever changes the file holds,
// and while it is written path.tmp.
//
// The file is the truth, and what is in memory a copy of it. A change reads, edits and replaces it as a whole, under the lock:
//
//	lock path.lock             so that no change of another process comes between and is lost
//	write and fsync path.tmp   so that the name, once moved, stands for all of the content, also after a power cut
//	rename it to path          atomic: who reads, locked or not, sees the old file or the new one; kill -9 leaves either
//	fsync the folder           now the new name lasts too, and the change may be said to be made
type file struct {
	path    string
	holders []seal.Holder
	warn    func(error)

	busy   chan struct{}           // holds a value while somebody in this process reads or changes the file; taken before Storage.mu
	seen   identity                // of the file as it was read last. By busy
	failed identity                // of the file that could not be read when refresh looked last. By busy
	keys   map[string]*seal.Sealer // by the holder's name. By busy
	look   atomic.Int64            // when refresh looks again; Unix, ns
	begun  atomic.Bool             // the file was looked at for the first time
	first  sync.Once               // does that

	noticed error // what Warn is to be told once nothing is locked. By busy
}

// Open is a Storage whose permanent credentials are kept in the file at path, which is made, mode 0600, once there is one to
// keep; its folder must exist. Any number of Storages may be open on one path, in any number of processes: each sees the
// others' changes within a second.
//
// A file that is damaged, or whose key is lost, is renamed to path.corrupt-TIME, and Warn is told. The error, a *task.Error,
// is for a file that cannot be read for any other reason, such as a keyring that is locked; nothing is touched then.
func Open(path string, o Options) (*Storage, error) {
	if len(o.Holders) == 0 {
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
	if err = s.begin(); err != nil {
		return nil, err
	}
	return s, nil
}

// Later is a Storage as Open's, but that the file, whose path is absolute, is looked at when the Storage is first asked, and
// its folder, with those above it, made for their owner alone when there is something to keep: a Storage that is never asked
// costs no system call. Where the file cannot be read Warn is told, and Flush returns the error; the Storage has then what
// is set to last for the session.
func Later(path string, o Options) *Storage {
	s := New()
	s.file = &file{path: path, holders: o.Holders, warn: o.Warn, busy: make(chan struct{}, 1), keys: map[string]*seal.Sealer{}}
	return s
}

// begin reads the file for the first time. Others who call it meanwhile wait; the error is the first one's alone.
func (s *Storage) begin() (err error) {
	f := s.file
	f.first.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 4*lockWait) // a keyring may ask its user
		defer cancel()
		f.busy <- struct{}{}
		if err = s.load(ctx, false); err != nil {
			f.failed, _ = identify(f.path)
		}
		<-f.busy
		f.look.Store(time.Now().Add(lookDelay).UnixNano())
		f.begun.Store(true)
	})
	if errors.Is(err, seal.ErrDamaged) {
		err = s.setAside(context.Background())
	}
	return err
}

// setAside has edit set a damaged file aside.
func (s *Storage) setAside(ctx context.Context) error {
	return s.edit(ctx, func(table) bool { return false })
}

func fileError(op, path string, code task.Code, err error) error {
	return &task.Error{Op: op + " credential file", URL: path, Code: code, Err: err}
}

// refresh reads the file anew if another process has changed it, and it is time to look.
func (s *Storage) refresh() {
	f := s.file
	if f == nil {
		return
	}
	if !f.begun.Load() {
		f.tell(s.begin())
		return
	}
	now := time.Now().UnixNano()
	if next := f.look.Load(); now < next && next-now <= int64(lookDelay) || !f.look.CompareAndSwap(next, now+int64(lookDelay)) {
		return
	}
	select {
	case f.busy <- struct{}{}:
	default: // who has it looks too
		return
	}
	var err error
	id, stat := identify(f.path)
	if stat != nil || !id.same(f.seen) && !(id.info != nil && id.same(f.failed)) {
		ctx, cancel := context.WithTimeout(context.Background(), lockWait)
		if err = s.load(ctx, false); err != nil {
			f.failed = id // tell it once, and leave it to who changes something, or flushes
		}
		cancel()
	}
	<-f.busy
	f.tell(err)
}

func (f *file) tell(err error) {
	if err != nil && f.warn != nil {
		f.warn(err)
	}
}

// edit has change applied to what the file holds, and writes it if change says that it did something. Once it returns nil
// that is durable.
func (s *Storage) edit(ctx context.Context, change func(kept table) bool) error {
	return s.exclusive(ctx, func(*os.File) error {
		if err := s.load(ctx, true); err != nil {
			return err
		}
		kept := maps.Clone(s.kept)                      // only we, with busy, replace it
		aside := s.file.noticed != nil && len(kept) > 0 // then what we still know of it is written in its place
		if !change(kept) && !aside {
			return nil
		}
		if err := s.write(ctx, kept); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.kept = kept
		return nil
	})
}

func (s *Storage) write(ctx context.Context, kept table) error {
	f := s.file
	holder, sealer, err := f.sealer(ctx)
	var data []byte
	if err == nil {
		data, err = encode(kept, holder, sealer)
	}
	if err == nil {
		err = durable.WriteFileVia(f.path+".tmp", f.path, data, 0o600) // fsync, rename
	}
	if err == nil {
		f.seen, err = identify(f.path)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(f.path))
	}
	if err != nil {
		return fileError("write", f.path, task.CannotWriteFile, err)
	}
	return nil
}

// sealer is what the file is to be sealed with: the key that it has, or of the first holder that gives one.
func (f *file) sealer(ctx context.Context) (string, *seal.Sealer, error) {
	if name := f.seen.holder(); name != "" {
		sealer, err := f.key(ctx, name, false)
		return name, sealer, err
	}
	var all []error
	for _, h := range f.holders {
		sealer, err := f.key(ctx, h.Name, true)
		if err == nil {
			return h.Name, sealer, nil
		}
		all = append(all, err)
	}
	return "", nil, errors.Join(all...)
}

// key is the key that the holder of that name has.
func (f *file) key(ctx context.Context, name string, create bool) (*seal.Sealer, error) {
	if sealer := f.keys[name]; sealer != nil {
		return sealer, nil
	}
	for _, h := range f.holders {
		if h.Name != name {
			continue
		}
		key, err := h.Key(ctx, create)
		if err != nil {
			return nil, err
		}
		f.keys[name] = key.Sealer("credentials")
		return f.keys[name], nil
	}
	return nil, errors.New("its key is held by " + name + ", which is not asked here")
}

// load reads the file if it is another one than was read last. With the lock held, one that is damaged is set aside;
// without, the error is seal.ErrDamaged. busy is held.
func (s *Storage) load(ctx context.Context, locked bool) error {
	f := s.file
	id, data, err := readFile(f.path)
	if err == nil && id.same(f.seen) {
		return nil
	}
	kept := table{}
	if err == nil && id.info != nil {
		kept, err = f.decode(ctx, id, data)
	}
	switch {
	case err == nil:
		s.mu.Lock()
		s.kept = kept
		s.mu.Unlock()
		f.seen = id
		return nil
	case errors.Is(err, seal.ErrDamaged) && locked:
		return f.setAside(err)
	}
	return fileError("read", f.path, task.CannotOpenFile, err)
}

// decode opens what stands in the file. A key that is lost is as damage: nothing will ever open it.
func (f *file) decode(ctx context.Context, id identity, data []byte) (table, error) {
	if err := checkHeader(id.header); err != nil {
		return nil, err
	}
	sealer, err := f.key(ctx, id.holder(), false)
	if errors.Is(err, seal.ErrNoKey) {
		return nil, errors.Join(seal.ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	kept, err := decode(data, sealer)
	if errors.Is(err, seal.ErrDamaged) {
		delete(f.keys, id.holder()) // whose key may have been replaced
		if sealer, err = f.key(ctx, id.holder(), false); err == nil {
			kept, err = decode(data, sealer)
		}
	}
	return kept, err
}

// corruptMark stands between a file's name and the time at which it was set aside.
const corruptMark = ".corrupt-"

// setAside gives the damaged file another name. What is in memory of it stays for this process. The lock is held: no other
// process can have put a good file there since it was read.
func (f *file) setAside(reason error) error {
	aside := f.path + corruptMark + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := durable.RenameNoReplace(f.path, aside); err != nil {
		return fileError("set aside", f.path, task.CannotMoveFile, err)
	}
	f.seen = identity{}
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

// Flush returns when all that is to last is in the file, durably: a change is once its call has returned, but for what Keep
// could not write. What others have changed before is seen then. The error is also that of a file that cannot be read. Of one
// that nobody has asked yet it does nothing.
func (s *Storage) Flush(ctx context.Context) error {
	f := s.file
	if f == nil {
		return nil
	}
	if owed := s.owed(); len(owed) > 0 {
		if err := s.edit(ctx, func(kept table) bool {
			for _, o := range owed {
				kept.set(o.Space, o.Credential, o.Default)
			}
			return true
		}); err != nil {
			return err
		}
		s.settle(owed)
		return nil
	}
	select {
	case f.busy <- struct{}{}:
	case <-ctx.Done():
		return fileError("flush", f.path, task.CodeOf(ctx.Err()), ctx.Err())
	}
	var err error
	if f.begun.Load() {
		err = s.load(ctx, false)
	}
	<-f.busy
	if errors.Is(err, seal.ErrDamaged) {
		err = s.setAside(ctx)
	}
	return err
}

// Reset removes all credentials, and the file with all that lies beside it: the lock and files that were set aside. The key
// stays with its holder, who may hold it for more than this. Other processes find theirs gone within a second. Where the
// file cannot be removed, those in memory are gone all the same.
func (s *Storage) Reset(ctx context.Context) error {
	s.mu.Lock()
	clear(s.session)
	s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(s.file.path)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return s.exclusive(ctx, func(lock *os.File) error {
		f := s.file
		beside, err := os.ReadDir(filepath.Dir(f.path))
		if err != nil {
			return fileError("reset", f.path, task.CannotRemoveFile, err)
		}
		var paths []string
		for _, e := range beside {
			if strings.HasPrefix(e.Name(), filepath.Base(f.path)+corruptMark) {
				paths = append(paths, filepath.Join(filepath.Dir(f.path), e.Name()))
			}
		}
		// The lock goes last, while it is held: whoever waits for it sees that it is no more, and makes another.
		for _, path := range append(paths, f.path+".tmp", f.path, lock.Name()) {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fileError("reset", f.path, task.CannotRemoveFile, err)
			}
		}
		if err := durable.SyncDir(filepath.Dir(f.path)); err != nil { // now the names stay gone
			return fileError("reset", f.path, task.CannotRemoveFile, err)
		}
		f.seen = identity{}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.kept = table{}
		return nil
	})
}

// exclusive calls fn while no other goroutine and no other process changes the file. What fn has noticed is told once
// nothing is locked.
func (s *Storage) exclusive(ctx context.Context, fn func(lock *os.File) error) error {
	ctx, cancel := context.WithTimeout(ctx, 4*lockWait)
	defer cancel()
	f := s.file
	select {
	case f.busy <- struct{}{}:
	case <-ctx.Done():
		return lockError(ctx, f.path, ctx.Err())
	}
	lock, err := f.lock(ctx)
	if err == nil {
		err = fn(lock)
		lock.Close()
	}
	noticed := f.noticed
	f.noticed = nil
	<-f.busy
	f.tell(noticed)
	return err
}

// lock waits for the file's lock, for lockWait at most, and makes the folder where there is none.
func (f *file) lock(ctx context.Context) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	lock, err := durable.AwaitLock(ctx, f.path+".lock")
	if err != nil {
		return nil, lockError(ctx, f.path, err)
	}
	return lock, nil
}

func lockError(ctx context.Context, path string, err error) error {
	code := task.CannotOpenFile
	if ctx.Err() != nil {
		code = task.CodeOf(ctx.Err())
	}
	return fileError("lock", path, code, err)
}
