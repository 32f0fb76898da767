package powerfs

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// ErrUnavailable says that this machine cannot mount: a test is then skipped with the reason.
var ErrUnavailable = errors.New("no FUSE mounts here")

// A Mount is a disk in the tree of files, until Unmount.
type Mount struct {
	Path   string
	server *fuse.Server
	ended  chan struct{}
}

// patience bounds each wait for the kernel.
const patience = 10 * time.Second

// Mount mounts the disk on a folder that exists. It needs root and /dev/fuse, else it is ErrUnavailable. A disk is mounted
// once at a time.
//
// Where the process ends without Unmount, Guard takes the mount away.
func (d *Disk) Mount(path string) (*Mount, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: mounting needs root", ErrUnavailable)
	}
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	} else if err := f.Close(); err != nil {
		return nil, err
	}
	s, err := fuse.NewServer(server{fuse.NewDefaultRawFileSystem(), d}, path, &fuse.MountOptions{
		FsName: source(os.Getpid()), Name: name, DirectMountStrict: true, MaxWrite: 1 << 20,
		ExplicitDataCacheControl: true, DisableReadDirPlus: true,
		Logger: log.New(io.Discard, "", 0), // it tells what a lazy unmount does to requests under way
	})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err != nil {
		return nil, err
	}
	m := &Mount{Path: path, server: s, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		s.Serve()
	}()
	if err := s.WaitMount(); err != nil {
		return nil, errors.Join(err, m.Unmount())
	}
	return m, nil
}

// Unmount takes the mount away at once, whoever has files of it open: what they ask for is an error then. It does not make
// anything durable. It returns when the server has ended.
func (m *Mount) Unmount() error {
	// MNT_FORCE ends what is under way, and the server's reads; MNT_DETACH takes the mount away though it is busy.
	if err := unix.Unmount(m.Path, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
		return &os.PathError{Op: "unmount", Path: m.Path, Err: err}
	}
	select {
	case <-m.ended:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("unmount %s: the server does not end", m.Path)
	}
}
