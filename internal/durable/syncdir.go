package durable

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// SyncDir makes the names in dir durable: when it returns nil, every file that was created in, renamed into or out of,
// or removed from dir before the call stays so after the loss of power. An empty dir is the current folder.
//
// Callers for the same folder share fsyncs, and none shares one that began before its call, since that one may have
// missed its rename. So n callers at once wait for two fsyncs at most, the running one and the next.
//
// A file system that cannot fsync a folder (EINVAL, ENOTSUP, ENOSYS) gives no error: it has no more to offer.
func SyncDir(dir string) error {
	return folders.sync(filepath.Clean(dir))
}

var folders = group{fsync: fsyncDir, all: make(map[string]*folder)}

// A group shares fsyncs between callers, a folder at a time.
type group struct {
	fsync func(dir string) error

	mu  sync.Mutex
	all map[string]*folder // those with a flush running or next
}

type folder struct {
	running *flush // has begun: too late to join
	next    *flush // has not begun: whoever comes joins it
}

type flush struct {
	done chan struct{} // closed when err is set
	err  error
}

func (g *group) sync(dir string) error {
	g.mu.Lock()
	f := g.all[dir]
	if f == nil {
		f = new(folder)
		g.all[dir] = f
	}
	if mine := f.next; mine != nil {
		g.mu.Unlock()
		<-mine.done
		return mine.err
	}

	// The first to come after the running flush leads the next one. f stays in g.all while f.next is set.
	mine := &flush{done: make(chan struct{})}
	f.next = mine
	for f.running != nil {
		running := f.running
		g.mu.Unlock()
		<-running.done
		g.mu.Lock()
	}
	f.running, f.next = mine, nil
	g.mu.Unlock()

	mine.err = g.fsync(dir)

	g.mu.Lock()
	f.running = nil
	if f.next == nil {
		delete(g.all, dir)
	}
	g.mu.Unlock()
	close(mine.done)
	return mine.err
}

func fsyncDir(dir string) error {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return &fs.PathError{Op: "open folder", Path: dir, Err: err}
	}
	defer unix.Close(fd)

	err = retry(func() error { return unix.Fsync(fd) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "fsync folder", Path: dir, Err: err}
	}
	return nil
}
