package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urlsession/urlsession/internal/durable"
)

// folder is a state folder that is this daemon's, until close.
type folder struct {
	path string
	lock *os.File
}

const (
	lockName = "daemon.lock"
	// stoppingMark ends the lock file's text when its holder stops: who comes then waits for a moment.
	stoppingMark = " stopping\n"
	lockPatience = 15 * time.Second // more than a stop takes
	lockPause    = 50 * time.Millisecond
)

// openFolder makes the folder where it is missing, checks that it is safe, and locks it.
//
// flock(2) is the kernel's: it ends with the process, however that ends, so that no lock is ever stale.
func openFolder(ctx context.Context, path string) (*folder, error) {
	if err := durable.MakeDir(path); err != nil {
		return nil, fmt.Errorf("make the state folder: %w; choose a folder that you can write to", err)
	}
	if err := checkFolder(path); err != nil {
		return nil, err
	}
	for until := time.Now().Add(lockPatience); ; {
		lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock the state folder: %w; choose a folder that you can write to", err)
		}
		f := &folder{path, lock}
		err = durable.Lock(lock)
		if err == nil && f.same() {
			f.say("\n")
			return f, nil
		}
		holder := f.holder()
		lock.Close()
		switch {
		case err == nil: // somebody has removed the file, or the folder, since it was opened
		case !errors.Is(err, durable.ErrLocked):
			return nil, fmt.Errorf("lock the state folder: %w", err)
		case !strings.HasSuffix(holder, stoppingMark):
			return nil, fmt.Errorf("%w (process %s): stop it, or choose another folder", ErrRunning, strings.TrimSpace(holder))
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("%w, and does not end (process %s)", ErrRunning, strings.TrimSpace(holder))
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// say writes who holds the lock. It is a help and no promise: the lock itself is the kernel's.
func (f *folder) say(end string) {
	text := fmt.Appendf(nil, "%d%s", os.Getpid(), end)
	if n, err := f.lock.WriteAt(text, 0); err == nil { // and then cut: who reads in between finds no empty file
		_ = f.lock.Truncate(int64(n))
	}
}

// holder is what the one who holds the lock says.
func (f *folder) holder() string {
	b, _ := io.ReadAll(io.NewSectionReader(f.lock, 0, 64))
	return string(b)
}

// tellStopping has a daemon that comes now wait for the end of this one.
func (f *folder) tellStopping() { f.say(stoppingMark) }

func (f *folder) close() error {
	_ = durable.Unlock(f.lock) // the next daemon does not meet a launch command that is being started; else Close does it
	return f.lock.Close()
}

// same says whether the folder at the path is still the one that is locked.
func (f *folder) same() bool {
	mine, err := f.lock.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(filepath.Join(f.path, lockName))
	return err == nil && os.SameFile(mine, now)
}

// awaitLoss returns true once the folder at the path is another, or false when ctx ends.
func (f *folder) awaitLoss(ctx context.Context) bool {
	changes, stop := watchFolder(f.path)
	defer stop()
	for f.same() {
		select {
		case <-changes:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// checkFolder refuses what is no folder of ours, or open to others. One that is empty, or was ours before, is closed to
// others in place of that; any other may be open for a reason.
func checkFolder(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("look at the state folder: %w", err)
	case !info.IsDir():
		return errors.New("the state folder is no folder; move the file away, or choose another path")
	case !ours(info):
		return errors.New("the state folder belongs to another user; choose one of yours")
	case info.Mode()&0o077 == 0:
		return nil
	}
	names, err := os.ReadDir(path) // Start may have made its log already
	if err != nil {
		return fmt.Errorf("look at the state folder: %w", err)
	}
	foreign := slices.ContainsFunc(names, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), logName) })
	_, err = os.Lstat(filepath.Join(path, lockName))
	if info.Mode()&fs.ModeSticky != 0 || foreign && err != nil {
		return fmt.Errorf("the state folder is open to others (%v) and has files of something else: choose another, or say chmod 700", info.Mode())
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return fmt.Errorf("close the state folder to others: %w", err)
	}
	return nil
}

// ours says whether a file belongs to this process's user.
func ours(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// noRoom says whether an error is of a full disk or an exceeded quota.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
