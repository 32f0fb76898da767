package background

import (
	"bytes"
	encoding "encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A watcher sees what happens to the files of folders, as inotify tells it, some microseconds later.
type watcher struct {
	t      testing.TB
	file   *os.File
	closed sync.Once

	mu      sync.Mutex
	folders map[int32]string // by watch descriptor
}

// fileEvent is one thing that happened to a file.
type fileEvent struct {
	path string
	what uint32 // unix.IN_*
}

func (e fileEvent) renamedTo(path string) bool { return e.what&unix.IN_MOVED_TO != 0 && e.path == path }
func (e fileEvent) writtenTo(name string) bool {
	return e.what&unix.IN_MODIFY != 0 && filepath.Base(e.path) == name
}

// database is what each commit is written to.
const wal = "urlsession.db-wal"

// watch begins to watch folders. Those that are made below them are watched from a moment after they were made on.
func watch(t testing.TB, folders ...string) *watcher {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{t: t, file: os.NewFile(uintptr(fd), "inotify"), folders: make(map[int32]string)}
	t.Cleanup(w.close)
	for _, f := range folders {
		if err := w.add(f); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *watcher) close() { w.closed.Do(func() { w.file.Close() }) }

func (w *watcher) add(folder string) error {
	const what = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_CLOSE_WRITE
	conn, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	var added error
	if err := conn.Control(func(fd uintptr) {
		var wd int
		if wd, added = unix.InotifyAddWatch(int(fd), folder, what); added == nil {
			w.mu.Lock()
			w.folders[int32(wd)] = folder
			w.mu.Unlock()
		}
	}); err != nil {
		return err
	}
	return added
}

// each calls f for each event, until it says false or the watcher is closed. The channel is closed then.
func (w *watcher) each(f func(fileEvent) bool) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		buffer := make([]byte, 64*kib)
		for {
			n, err := w.file.Read(buffer)
			if err != nil {
				if !errors.Is(err, os.ErrClosed) {
					w.t.Errorf("watch: %v", err)
				}
				return
			}
			for rest := buffer[:n]; len(rest) >= unix.SizeofInotifyEvent; {
				wd := int32(encoding.NativeEndian.Uint32(rest))
				what := encoding.NativeEndian.Uint32(rest[4:])
				end := unix.SizeofInotifyEvent + int(encoding.NativeEndian.Uint32(rest[12:]))
				name, _, _ := strings.Cut(string(bytes.TrimRight(rest[unix.SizeofInotifyEvent:end], "\x00")), "\x00")
				rest = rest[end:]
				w.mu.Lock()
				folder := w.folders[wd]
				w.mu.Unlock()
				e := fileEvent{filepath.Join(folder, name), what}
				if what&unix.IN_ISDIR != 0 && what&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0 {
					_ = w.add(e.path) // it may be gone
				}
				if !f(e) {
					return
				}
			}
		}
	}()
	return over
}

// killAt kills the daemon at the first event that f is true of. The channel is closed when that was done, or the watcher was
// closed before.
func (k *keeper) killAt(w *watcher, f func(fileEvent) bool) (over <-chan struct{}) {
	cmd, _ := k.process()
	return w.each(func(e fileEvent) bool {
		if !f(e) {
			return true
		}
		_ = cmd.Process.Kill()
		return false
	})
}

// nth is true of the n-th event, from 1, that f is true of.
func nth(n int, f func(fileEvent) bool) func(fileEvent) bool {
	return func(e fileEvent) bool {
		if f(e) {
			n--
			return n == 0
		}
		return false
	}
}
