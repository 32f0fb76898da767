package daemon

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watchFolder has changes receive when the folder, or a name in it, is removed or moved, until stop is called. inotify
// costs nothing while nothing happens. A folder above that is moved is not noticed. Where inotify has no room for one more
// watcher, changes receives once a minute.
func watchFolder(path string) (changes <-chan struct{}, stop func()) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return pollFolder()
	}
	const mask = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_ONLYDIR
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, path, mask); err != nil {
		f.Close()
		return pollFolder()
	}
	told, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		events := make([]byte, 4096)
		for {
			if _, err := f.Read(events); err != nil {
				return // stop has closed it
			}
			select {
			case told <- struct{}{}:
			default:
			}
		}
	}()
	return told, func() {
		f.Close()
		<-done
	}
}

func pollFolder() (<-chan struct{}, func()) { return every(time.Minute) }
