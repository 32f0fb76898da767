//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

// disk is a folder where what is durable costs what it costs. It has the folders out, for destinations, and state.
type disk struct {
	dir  string
	used int // times that it was renewed
}

func openDisk(parent string) (*disk, error) {
	dir, err := os.MkdirTemp(parent, "urlsession-bench-")
	if err != nil {
		return nil, err
	}
	d := &disk{dir: dir}
	apart(dir)
	if err := d.make(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *disk) path(elem ...string) string {
	return filepath.Join(append([]string{d.dir}, elem...)...)
}

func (d *disk) make() error {
	return errors.Join(os.Mkdir(d.path("out"), 0o777), os.Mkdir(d.path("state"), 0o777))
}

// renew makes out and state empty, and the disk idle.
//
// It removes nothing: for some minutes after inodes were freed ext4 looks at each of them before it takes another one of
// their group (recently_deleted), which costs half a millisecond a file. So what was there is set aside until close, without
// its space.
func (d *disk) renew() error {
	d.used++
	for _, name := range []string{"out", "state"} {
		aside := d.path(fmt.Sprintf("%s-%d", name, d.used))
		if err := os.Rename(d.path(name), aside); err != nil {
			return err
		}
		if err := truncate(aside); err != nil {
			return err
		}
	}
	err := d.make()
	syscall.Sync()
	return err
}

// truncate empties the files of a folder that are larger than a few blocks.
func truncate(folder string) error {
	return filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil || info.Size() < 1<<20 {
			return err
		}
		return os.Truncate(path, 0)
	})
}

func (d *disk) close() { os.RemoveAll(d.dir) }

// isOne refuses a folder in memory, where nothing is durable and fsync costs nothing.
func (d *disk) isOne() error {
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	var stat syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &stat); err != nil {
		return os.NewSyscallError("statfs", err)
	}
	if stat.Type == tmpfs || stat.Type == ramfs {
		return fmt.Errorf("%s is in memory; -disk FOLDER names one on a disk", filepath.Dir(d.dir))
	}
	return nil
}

// apart asks ext4 to put each folder in dir, with its files, into a group of its own (FS_TOPDIR_FL, as chattr +T), so
// that runs do not meet there. Other file systems refuse, and are left as they are.
func apart(dir string) {
	const getFlags, setFlags, topDir = 0x80086601, 0x40086602, 0x00020000 // of 64-bit machines
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	var flags int32
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), getFlags, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return
	}
	flags |= topDir
	syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), setFlags, uintptr(unsafe.Pointer(&flags)))
}
