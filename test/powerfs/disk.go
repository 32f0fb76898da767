// Package powerfs is a file system whose power can be cut: a FUSE mount over a disk in memory that keeps what was not
// fsynced apart from what was, and forgets it at the cut.
//
// # What is durable
//
// It promises what fsync(2) and rename(2) do and not a thing more, so that a program that is right here is right on every
// file system with a journal:
//
//   - A file's bytes, size and times are durable by an fsync of that file; by fdatasync its bytes and its size, not
//     its times. Of what was written since, each sector of 512 bytes is as any of the writes left it, or as before all of them;
//     the size is that after any of them; and a sector that the size covers and no write reached is zeros or garbage.
//   - A name is durable by an fsync of its folder, made after it was created, linked, renamed or removed. An fsync of the
//     file does not do it. (ext4, XFS and btrfs are kinder.)
//   - A rename is one step: after the cut it has happened or not. One between two folders is durable by an fsync of either.
//   - The changes of names have an order, in which Ordered keeps those up to some moment, as a journal does (ext4, XFS): an
//     fsync of a folder makes those durable that came before its last one. Scattered keeps any of them, as where an fsync
//     overtakes the journal (btrfs's log tree, ext4's fast commit): only two changes of the same name or of the same
//     file's names keep their order, and an fsync of a folder does not keep the folder's own name.
//   - A mode and an owner are durable at once.
//
// What is written by mmap(2) counts when the kernel writes it back, at msync, fsync or munmap; there is no write-back
// cache, so that each write(2) reaches the disk before it returns. Locks are the kernel's own.
//
// A Go program must not map a file of a mount that it serves itself: a page fault stops a thread that the runtime takes for
// running, and the server may need that thread.
package powerfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Journal is how changes of names survive that were not fsynced.
type Journal int

const (
	Ordered   Journal = iota // those up to some moment
	Scattered                // any that need none that is lost
)

func (j Journal) String() string { return [...]string{"ordered", "scattered"}[j] }

// A Disk is what is mounted. Its methods may be called from any goroutine.
type Disk struct {
	// Latency is how long an fsync takes to return when it has done its work, 0 unless set before Mount. What comes to the disk
	// meanwhile is not of that fsync.
	Latency time.Duration

	journal Journal

	mu      sync.Mutex
	random  *rand.Rand
	nodes   map[uint64]*node // that have a name, or that the kernel knows
	last    uint64           // the newest node's number
	pending []*change        // of names, not durable yet, in order
	opened  map[uint64][]dirent
	handle  uint64

	steps   int   // operations that changed something, or made something durable
	limit   int   // the step that the power does not live to see; 0: none
	renames int   // so many more, and the step after them is the limit; 0: the limit is set
	growing *node // that the last step wrote to, up to grown
	grown   int64
	cut     chan struct{}
	trace   func(string)
}

// opRename is the step that CutAfterRename counts.
const opRename = "rename"

// root is the number of the root folder, FUSE's.
const root = 1

// New is an empty disk. What survives its cuts depends on seed, and on what is done to it.
func New(journal Journal, seed uint64) *Disk {
	d := &Disk{
		journal: journal, random: rand.New(rand.NewPCG(seed, 0)),
		nodes: make(map[uint64]*node), opened: make(map[uint64][]dirent), cut: make(chan struct{}),
	}
	d.newNode(syscall.S_IFDIR|0o755, 0, 0).links = 1
	return d
}

// Trace calls f with a line for each step, until the next call of it. f must not use the disk.
func (d *Disk) Trace(f func(line string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trace = f
}

// CutAt cuts the power in place of the nth step from now, the first being 1, and not where it was to be cut before. Steps are
// what changes something or makes something durable: writes, changes of names and fsyncs. Writes that go on where the one before
// has ended are one step.
func (d *Disk) CutAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit, d.renames = d.steps+n, 0
}

// CutAfterRename cuts the power in place of the step that follows the nth rename from now, unless CutAt does before.
func (d *Disk) CutAfterRename(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.renames = n
}

// Cut cuts the power: from now on each operation on the disk is EIO. Cut again, it stays cut.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.powerOff()
}

// Dark is closed when the power is cut.
func (d *Disk) Dark() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cut
}

func (d *Disk) powerOff() {
	if !d.dark() {
		close(d.cut)
	}
}

func (d *Disk) dark() bool {
	select {
	case <-d.cut:
		return true
	default:
		return false
	}
}

// step counts an operation that changes something or makes something durable. It reports whether there was power for it.
func (d *Disk) step(op string, args ...any) bool {
	if d.dark() {
		return false
	}
	d.steps++
	d.growing = nil
	if d.renames > 0 && op == opRename {
		if d.renames--; d.renames == 0 {
			d.limit = d.steps + 1
		}
	}
	if d.trace != nil {
		d.trace(fmt.Sprintf("%d %s %s", d.steps, op, fmt.Sprintln(args...)))
	}
	if d.limit > 0 && d.steps >= d.limit {
		d.powerOff()
		return false
	}
	return true
}

// Restore brings the power back: of what was not durable the disk decides what has survived, and forgets the rest. The disk
// must not be mounted; without a cut before, Restore makes one.
func (d *Disk) Restore() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.powerOff()
	d.survive()
	d.on()
}

// Revive is Restore, but that nothing is forgotten: not the power went, but the processes were killed. What a process has
// mapped and not synced is lost all the same.
func (d *Disk) Revive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.nodes {
		n.known = 0
		d.collect(n)
	}
	d.on()
}

func (d *Disk) on() {
	d.cut, d.limit, d.renames, d.opened = make(chan struct{}), 0, 0, make(map[uint64][]dirent)
}

// Export copies what processes see into a folder that exists.
func (d *Disk) Export(to string) error {
	for _, name := range d.Names() {
		data, err := d.ReadFile(name)
		if err != nil {
			return err
		}
		path := filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Names are the paths of all files, not of folders, in order, as processes see them.
func (d *Disk) Names() (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var walk func(folder *node, path string)
	walk = func(folder *node, at string) {
		for name, n := range folder.entries {
			if n.folder() {
				walk(n, path.Join(at, name))
			} else {
				names = append(names, path.Join(at, name))
			}
		}
	}
	walk(d.nodes[root], "")
	slices.Sort(names)
	return names
}

// ReadFile is a file's content as processes see it.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[root]
	for element := range strings.SplitSeq(path.Clean(name), "/") {
		if n = n.entries[element]; n == nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
		}
	}
	if n.folder() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a folder")}
	}
	return slices.Clone(n.data), nil
}

// newNode makes a file or folder that has no name yet.
func (d *Disk) newNode(mode, uid, gid uint32) *node {
	d.last++
	n := &node{number: d.last, mode: mode, uid: uid, gid: gid, modified: time.Now()}
	n.durable.modified = n.modified
	if n.folder() {
		n.entries, n.durable.entries = make(map[string]*node), make(map[string]*node)
	}
	d.nodes[n.number] = n
	return n
}
