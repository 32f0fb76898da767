package partial

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/urlsession/urlsession/internal/durable"
)

// ErrLocked says that another task, of this process or another, has the part file open.
var ErrLocked = durable.ErrLocked

// ErrName says that a file is none of ours by its name.
var ErrName = errors.New("it is not called as a part file is, NAME.KEY.part")

// openTries bounds how often Open starts again because the part file was renamed or removed under it.
const openTries = 100

// errAgain says that path has come to stand for another file, or for none, since it was looked at.
var errAgain = errors.New("the part file keeps changing; something else creates and removes it")

// Open opens the part file at path, which it creates if there is none, locks it, and takes from its record what is
// held. It is an error that is ErrLocked, at once, if another task has it open.
//
// What the record does not claim is cut off, and a record that cannot be believed (see the package's rules) is removed,
// durably, with nothing held. A path that is a symbolic link, a folder or anything else but a regular file is refused,
// and so is a file of another user, who could change it at any time; root's is not. A part file with a second name,
// which a kill can leave where the file system renames by link and unlink, is left to that name and created anew.
//
// What Open cuts off is gone, so that a path that is not called as Name does it is an error that is ErrName.
func Open(path string) (*File, error) {
	if !Owns(path) || !strings.HasSuffix(path, partSuffix) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrName}
	}
	for range openTries {
		f, err := open(path)
		if err != errAgain {
			return f, err
		}
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: errAgain}
}

func open(path string) (_ *File, err error) {
	// Nothing but O_EXCL tells that the file is ours from its first byte. Most part files are new: one system call.
	file, err := openFile(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	created := err == nil
	if errors.Is(err, fs.ErrExist) {
		file, err = openFile(path, unix.O_RDWR|unix.O_NOFOLLOW)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, errAgain
		case errors.Is(err, syscall.ELOOP):
			return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("a symbolic link stands there; remove it")}
		}
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()

	if err := durable.Lock(file); err != nil {
		return nil, err
	}
	// Between open and lock, the task that had the lock may have given the file its final name, or removed it. What
	// path stands for now, locked, is ours until we rename or remove it.
	stat, err := statOf(file)
	if err != nil {
		return nil, err
	}
	now, err := lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errAgain
	}
	if err != nil {
		return nil, err
	}
	if stat.Dev != now.Dev || stat.Ino != now.Ino {
		return nil, errAgain
	}

	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file; remove it")}
	}
	if !created && !trusted(stat.Uid) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf(
			"it belongs to another user (%d); remove it, or choose another destination: %w", stat.Uid, fs.ErrPermission)}
	}
	if stat.Nlink > 1 {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		return nil, errAgain
	}

	f := newFile(path, file, !created)
	if err := f.load(stat.Size); err != nil {
		return nil, err
	}
	return f, nil
}

// openFile is os.OpenFile without the five system calls by which that learns that a regular file cannot be polled.
func openFile(path string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o666)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case err != unix.EINTR:
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// statOf and lstat are (*os.File).Stat and os.Lstat without what those allocate.
func statOf(file *os.File) (stat unix.Stat_t, err error) {
	for {
		if err = unix.Fstat(int(file.Fd()), &stat); err != unix.EINTR {
			return stat, pathError("stat", file.Name(), err)
		}
	}
}

func lstat(path string) (stat unix.Stat_t, err error) {
	for {
		if err = unix.Lstat(path, &stat); err != unix.EINTR {
			return stat, pathError("lstat", path, err)
		}
	}
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// trusted reports whether nobody but this user and root can change the file of a user behind our back.
func trusted(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

func newFile(path string, file *os.File, found bool) *File {
	f := &File{
		path: path, file: file, litter: found, total: -1,
		turn: make(chan struct{}, 1), done: make(chan struct{}),
		sync: durable.SyncData, save: saveRecord,
	}
	f.wake.L = &f.mu
	return f
}

// load takes what is held from the record, and cuts the part file, of size bytes, to that.
func (f *File) load(size int64) error {
	r, err := readRecord(f.path + recordSuffix)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r = Record{Total: -1}
		// A kill between unlink and fsync(folder) leaves a record that is gone but not durably so. It must not be back
		// after the loss of power, when there are bytes of another version.
		if size > 0 {
			if err := durable.SyncDir(f.folder()); err != nil {
				return err
			}
		}
	case isPathError(err):
		return err
	case err != nil || !f.litter || r.Held.End() > size: // no record, one of a part file that is gone, or one that lies
		// Gone before the part file grows, or it would come to be believed.
		if err := f.forgetRecord(); err != nil {
			return err
		}
		r = Record{Total: -1}
	}
	if end := r.Held.End(); end < size {
		if err := f.file.Truncate(end); err != nil {
			return err
		}
	}
	f.validator, f.total = r.Validator, r.Total
	f.written, f.recorded = r.Held, r.Held.Clone()
	return nil
}

// readRecord reads the record at path. An error that is an *fs.PathError is one of reading; another says that what
// stands there is no record.
func readRecord(path string) (Record, error) {
	// O_NONBLOCK: a FIFO in its place must not hang us.
	file, err := openFile(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) {
		return Record{}, errNoRecord
	}
	if err != nil {
		return Record{}, err
	}
	defer file.Close()
	stat, err := statOf(file)
	if err != nil {
		return Record{}, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG || !trusted(stat.Uid) || stat.Size > maxRecord {
		return Record{}, errNoRecord
	}
	data, err := io.ReadAll(io.LimitReader(file, maxRecord))
	if err != nil {
		return Record{}, err
	}
	return ParseRecord(data)
}

func isPathError(err error) bool {
	_, ok := errors.AsType[*fs.PathError](err)
	return ok
}

var errNoRecord = errors.New("not a record that this program wrote")

// forgetRecord removes the record, durably if there was one.
func (f *File) forgetRecord() error {
	err := os.Remove(f.path + recordSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(f.folder())
}
