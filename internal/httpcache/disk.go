package httpcache

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// FolderOptions are those of Open.
type FolderOptions struct {
	Capacity int64 // bytes of files; 0: 256 MiB. An entry takes an eighth of it at most
	// Sealer seals the entries. Nil: they lie there as they came, readable by their owner alone, as a browser's do.
	Sealer Sealer
	// Warn is told that storing fails: once, until it succeeds again. It is called from any goroutine, and gets a
	// *task.Error. Nil: nobody is told.
	Warn func(error)
}

const (
	DefaultCapacity = 256 << 20   // of FolderOptions
	touchAfter      = time.Minute // an entry's use is noted so often at most
	block           = 4 << 10     // what files measure is rounded up to it, as file systems do
)

// disk is a shelf in a folder. The folder is all there is to know: there is no index, so none that two processes could
// differ in, or that a kill could leave wrong. Of a key K (SHA-256 of method and URL, in base64) it has
//
//	K.0, K.1, …   its entries, without a gap: a key is removed as a whole, so that a miss costs one failed open
//	K.0.RANDOM    the body of an entry, where it is large
//	RANDOM.tmp    what is being written, locked by whoever writes it
//
// An entry is there once its file has its name, by a rename, which is atomic: kill -9 leaves all of it, or a .tmp that nobody
// holds a lock on, or a body that no entry names. collect removes both. A body has its name before the entry that names it.
//
// Nothing is fsynced, but by Flush: an entry may be lost with the power, and fsync would make every response wait for the
// disk. What the power can leave instead, a name whose bytes never came, is found out by length and sum: those of an
// entry's file before any of it is used, those of a large body's chunk before any of the chunk is.
//
// The time a file was modified is when its entry was used last. Of two processes that store at once under one name, the last
// one's entry is there; the other's body is one that no entry names.
type disk struct {
	folder   string
	capacity int64
	sealer   Sealer
	warn     func(error)

	first    sync.Once // counts what is there
	unusable error     // by first: nothing can be stored

	mu      sync.Mutex
	used    int64               // what the files measured when they were counted last, and what was stored since
	since   int64               // stored since
	failure error               // of the last try to store; nil: it was done
	dirty   map[string]struct{} // paths that were stored since the last Flush
	changed bool                // names have, since the last Flush

	committing sync.Mutex // two changes of a name at once would leave a body that no entry names
	collecting sync.Mutex
}

// Open is a Storage in a folder, which is made, mode 0700, if it is not there. It counts what is there and removes what a
// kill has left: time proportional to the number of entries, some 10 ms for 10,000. Any number of processes may use one
// folder at once; each keeps to its own capacity, and looks at what the others have stored each time that it has stored a
// sixteenth of that. The error is a *task.Error.
func Open(folder string, o FolderOptions) (*Storage, error) {
	folder, err := filepath.Abs(folder)
	if err == nil {
		err = durable.MakeDir(folder)
	}
	if err != nil {
		return nil, fileError("open cache folder", folder, task.CannotCreateFile, err)
	}
	d := newDisk(folder, o)
	if err := d.begin(); err != nil {
		return nil, err
	}
	return newStorage(d, d.capacity/entryPart), nil
}

// Later is a Storage as Open's, but that the folder, whose path is absolute, is looked at when the Storage is first used, and
// counted, or made with those above it, when there is something to store: a Storage that is never used costs no system call.
// Where that fails nothing is found or stored, Warn is told, and Flush returns the error.
func Later(folder string, o FolderOptions) *Storage {
	d := newDisk(folder, o)
	return newStorage(d, d.capacity/entryPart)
}

func newDisk(folder string, o FolderOptions) *disk {
	if o.Capacity <= 0 {
		o.Capacity = DefaultCapacity
	}
	return &disk{folder: folder, capacity: o.Capacity, sealer: o.Sealer, warn: o.Warn, dirty: make(map[string]struct{})}
}

// begin counts what is there, once, before anything is stored.
func (d *disk) begin() error {
	d.first.Do(func() {
		if err := d.collect(); err != nil {
			d.unusable = fileError("open cache folder", d.folder, task.CannotOpenFile, err)
		}
	})
	return d.unusable
}

func (d *disk) path(k key, slot int) string {
	var buffer [512]byte // most fit in
	name := base64.RawURLEncoding.AppendEncode(append(append(buffer[:0], d.folder...), filepath.Separator), k[:])
	return string(append(name, '.', '0'+byte(slot))) // there are fewer than ten
}

func (d *disk) bodyPath(k key, slot int, h *head) string { return d.path(k, slot) + "." + h.Body }

// read reads the entry in a slot. The error is fs.ErrNotExist where there is none, and ErrDamaged where the file is not what was
// written: then it is the caller's to remove it, with the others of its key.
func (d *disk) read(k key, slot int) (h *head, inline []byte, used time.Time, err error) {
	f, err := os.OpenFile(d.path(k, slot), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, used, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		used = info.ModTime()
		data := make([]byte, min(info.Size(), maxHead))
		if _, err = io.ReadFull(f, data); err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			h, inline, err = decodeEntry(data, d.sealer)
		}
	}
	return h, inline, used, err
}

func (d *disk) find(k key, wanted func(*head) bool) *stored {
	for range 3 { // an entry that is replaced meanwhile is looked for again
		s, used, gone := d.look(k, wanted)
		if gone {
			continue
		}
		if s != nil {
			if now := time.Now(); now.Sub(used).Abs() > touchAfter {
				os.Chtimes(d.path(k, s.slot), now, now)
			}
		}
		return s
	}
	d.remove(k) // it names a body that is not there
	return nil
}

// look is find. gone says that the entry's body is not there.
func (d *disk) look(k key, wanted func(*head) bool) (s *stored, used time.Time, gone bool) {
	for slot := range maxVariants {
		h, inline, at, err := d.read(k, slot)
		if errors.Is(err, ErrDamaged) {
			d.remove(k)
			return nil, used, false
		}
		if err != nil {
			break
		}
		if wanted(h) && (s == nil || h.Received.After(s.head.Received)) {
			s, used = &stored{key: k, slot: slot, head: h, body: bytesBody(inline)}, at
		}
	}
	if s == nil || s.head.Body == "" {
		return s, used, false
	}
	f, err := os.OpenFile(d.bodyPath(k, s.slot, s.head), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, used, errors.Is(err, fs.ErrNotExist)
	}
	if info, err := f.Stat(); err != nil || info.Size() != s.head.bodySize() {
		f.Close()
		d.remove(k)
		return nil, used, false
	}
	s.body = &fileBody{d: d, key: k, f: f, h: s.head}
	return s, used, false
}

// temporary makes a file to write to, and locks it, so that no collect takes it for one that a kill has left.
func (d *disk) temporary() (*os.File, error) {
	path := filepath.Join(d.folder, rand.Text()+".tmp")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // not made yet, or removed
		if err = durable.MakeDir(d.folder); err == nil {
			f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := durable.Lock(f); err != nil {
		discard(f)
		return nil, err
	}
	return f, nil
}

func discard(f *os.File) {
	os.Remove(f.Name())
	f.Close()
}

// put makes data the file at path, by a rename.
func (d *disk) put(path string, data []byte) error {
	f, err := d.temporary()
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		now := time.Now()
		err = os.Chtimes(f.Name(), now, now)
	}
	if err == nil {
		err = durable.Rename(f.Name(), path)
	}
	if err != nil {
		discard(f)
		return err
	}
	return f.Close()
}

// update replaces the entry's file, unless another entry has taken its place. Between the look and the rename another process may
// put one there: then that is lost, which a cache may do.
func (d *disk) update(s *stored, h *head) error {
	path := d.path(s.key, s.slot)
	replaced, err := d.replace(s, h, path)
	switch {
	case err != nil:
		return d.outcome(err)
	case replaced:
		d.stored(0, path)
	}
	return nil
}

// replace is false where the entry is there no more.
func (d *disk) replace(s *stored, h *head, path string) (bool, error) {
	d.committing.Lock()
	defer d.committing.Unlock()
	old, inline, _, err := d.read(s.key, s.slot)
	if err != nil || !bytes.Equal(old.ID, h.ID) {
		return false, nil
	}
	data, err := encodeEntry(h, inline, d.sealer)
	if err == nil {
		err = d.put(path, data)
	}
	return err == nil, err
}

// remove removes k's entries, the last first: whoever adds one meanwhile puts it where it is found, or where collect removes it.
func (d *disk) remove(k key) error {
	d.committing.Lock()
	defer d.committing.Unlock()
	return d.removeLocked(k)
}

// removeLocked is remove for who holds committing.
func (d *disk) removeLocked(k key) error {
	n := 0
	for n < maxVariants {
		if _, err := os.Lstat(d.path(k, n)); err != nil {
			break
		}
		n++
	}
	var failed error
	for n--; n >= 0; n-- {
		paths := []string{d.path(k, n)}
		if h, _, _, err := d.read(k, n); err == nil && h.Body != "" {
			paths = append(paths, d.bodyPath(k, n, h))
		}
		for _, path := range paths {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = fileError("remove from the cache", path, task.CannotRemoveFile, err)
			}
		}
		d.renamed()
	}
	return failed
}

// renamed notes that names have changed, which Flush makes durable.
func (d *disk) renamed() {
	d.mu.Lock()
	d.changed = true
	d.mu.Unlock()
}

// stored counts what was stored at paths.
func (d *disk) stored(size int64, paths ...string) {
	d.mu.Lock()
	d.failure, d.changed = nil, true
	d.used += size
	d.since += size
	for _, p := range paths {
		d.dirty[p] = struct{}{}
	}
	full := d.used > d.capacity || d.since > d.capacity/16
	d.mu.Unlock()
	if full {
		d.collect()
	}
}

// outcome notes a failure to store, and tells of it once. That another process's Reset or collect has taken away what was being
// written is none, nor is a head of megabytes.
func (d *disk) outcome(err error) error {
	if _, gone := os.Stat(d.folder); errors.Is(err, errTooLarge) || errors.Is(err, durable.ErrLocked) || errors.Is(err, fs.ErrNotExist) && gone == nil {
		return err
	}
	if _, ours := errors.AsType[*task.Error](err); !ours {
		err = fileError("store in the cache", d.folder, task.CannotWriteFile, err)
	}
	d.mu.Lock()
	known := d.failure != nil
	d.failure = err
	d.mu.Unlock()
	if !known && d.warn != nil {
		d.warn(err)
	}
	return err
}
