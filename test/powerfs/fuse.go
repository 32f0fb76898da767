package powerfs

import (
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// forever is how long the kernel may rely on what it was told: it alone changes the disk.
const forever = 24 * time.Hour

const nameMax = 255

// Flags of renameat2(2).
const (
	noReplace = 1
	exchange  = 2
)

// dataOnly is FUSE's flag of fdatasync(2).
const dataOnly = 1

// server answers the kernel. It has no state but the disk's.
type server struct {
	fuse.RawFileSystem // ENOSYS to what is not here: the kernel then does without
	*Disk
}

type dirent = fuse.DirEntry

// use locks the disk and finds a node. The status is EIO without power.
func (s server) use(number uint64) (*node, fuse.Status) {
	s.mu.Lock()
	n := s.nodes[number]
	switch {
	case s.dark():
		return nil, fuse.EIO
	case n == nil:
		return nil, fuse.Status(syscall.ESTALE)
	}
	return n, fuse.OK
}

func (n *node) attr(out *fuse.Attr) {
	*out = fuse.Attr{
		Ino: n.number, Size: uint64(len(n.data)), Blocks: uint64(len(n.data)+sector-1) / sector, Blksize: 4096,
		Mode: n.mode, Nlink: uint32(n.links), Owner: fuse.Owner{Uid: n.uid, Gid: n.gid},
	}
	out.SetTimes(&n.modified, &n.modified, &n.modified)
}

// tell gives the kernel a reference to a node.
func (n *node) tell(out *fuse.EntryOut) {
	n.known++
	out.NodeId, out.Generation = n.number, 1
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	n.attr(&out.Attr)
}

func (s server) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	folder, status := s.use(h.NodeId)
	defer s.mu.Unlock()
	if status != fuse.OK {
		return status
	}
	n := folder.entries[name]
	if n == nil {
		return fuse.ENOENT
	}
	n.tell(out)
	return fuse.OK
}

func (s server) Forget(number, lookups uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[number]; n != nil && !s.dark() {
		n.known -= lookups
		s.collect(n)
	}
}

func (s server) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, status := s.use(in.NodeId)
	defer s.mu.Unlock()
	if status == fuse.OK {
		n.attr(&out.Attr)
		out.SetTimeout(forever)
	}
	return status
}

func (s server) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, status := s.use(in.NodeId)
	defer s.mu.Unlock()
	if status != fuse.OK {
		return status
	}
	if size, ok := in.GetSize(); ok {
		if !s.step("truncate", n.number, size) {
			return fuse.EIO
		}
		n.truncate(int64(size))
	}
	if mode, ok := in.GetMode(); ok {
		n.mode = n.mode&syscall.S_IFMT | mode&^syscall.S_IFMT
	}
	if uid, ok := in.GetUID(); ok {
		n.uid = uid
	}
	if gid, ok := in.GetGID(); ok {
		n.gid = gid
	}
	if at, ok := in.GetMTime(); ok {
		n.modified = at
	}
	n.attr(&out.Attr)
	out.SetTimeout(forever)
	return fuse.OK
}

// create makes a new node with a name. Called with the lock.
func (s server) create(folder *node, h *fuse.InHeader, name string, mode uint32, out *fuse.EntryOut) fuse.Status {
	switch {
	case len(name) > nameMax:
		return fuse.Status(syscall.ENAMETOOLONG)
	case folder.entries[name] != nil:
		return fuse.Status(syscall.EEXIST)
	case folder.links == 0:
		return fuse.ENOENT
	case !s.step("create", folder.number, name):
		return fuse.EIO
	}
	n := s.newNode(mode, h.Uid, h.Gid)
	s.rename(named{folder, name, n})
	n.tell(out)
	return fuse.OK
}

func (s server) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	folder, status := s.use(in.NodeId)
	defer s.mu.Unlock()
	if status != fuse.OK {
		return status
	}
	return s.create(folder, &in.InHeader, name, in.Mode, out)
}

func (s server) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	folder, status := s.use(in.NodeId)
	defer s.mu.Unlock()
	if status != fuse.OK {
		return status
	}
	return s.create(folder, &in.InHeader, name, syscall.S_IFDIR|in.Mode, out)
}

func (s server) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	folder, status := s.use(in.NodeId)
	defer s.mu.Unlock()
	if status != fuse.OK {
		return status
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return s.create(folder, &in.InHeader, name, syscall.S_IFREG|in.Mode, &out.EntryOut)
}

func (s server) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	folder, status := s.use(in.NodeId)
	defer s.mu.Unlock()
	n := s.nodes[in.Oldnodeid]
	switch {
	case status != fuse.OK:
		return status
	case n == nil || n.links == 0:
		return fuse.ENOENT
	case folder.entries[name] != nil:
		return fuse.Status(syscall.EEXIST)
	case !s.step("link", n.number, folder.number, name):
		return fuse.EIO
	}
	s.rename(named{folder, name, n})
	n.tell(out)
	return fuse.OK
}

func (s server) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return s.remove(h, name, false)
}

func (s server) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return s.remove(h, name, true)
}

func (s server) remove(h *fuse.InHeader, name string, folder bool) fuse.Status {
	from, status := s.use(h.NodeId)
	defer s.mu.Unlock()
	if status != fuse.OK {
		return status
	}
	n := from.entries[name]
	switch {
	case n == nil:
		return fuse.ENOENT
	case folder && !n.folder():
		return fuse.ENOTDIR
	case !folder && n.folder():
		return fuse.Status(syscall.EISDIR)
	case len(n.entries) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	case !s.step("remove", from.number, name):
		return fuse.EIO
	}
	s.rename(named{from, name, nil})
	return fuse.OK
}

func (s server) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	from, status := s.use(in.NodeId)
	defer s.mu.Unlock()
	if status != fuse.OK {
		return status
	}
	to := s.nodes[in.Newdir]
	if to == nil {
		return fuse.ENOENT
	}
	n, there := from.entries[oldName], to.entries[newName]
	switch {
	case n == nil:
		return fuse.ENOENT
	case len(newName) > nameMax:
		return fuse.Status(syscall.ENAMETOOLONG)
	case in.Flags&^(noReplace|exchange) != 0:
		return fuse.EINVAL
	case in.Flags&noReplace != 0 && there != nil:
		return fuse.Status(syscall.EEXIST)
	case in.Flags&exchange != 0 && there == nil:
		return fuse.ENOENT
	case in.Flags&exchange == 0 && there != nil && there.folder() != n.folder():
		return fuse.Status(syscall.EISDIR)
	case in.Flags&exchange == 0 && there != nil && len(there.entries) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	case n == there:
		return fuse.OK
	case !s.step(opRename, from.number, oldName, to.number, newName):
		return fuse.EIO
	}
	if in.Flags&exchange == 0 {
		there = nil
	}
	s.rename(named{from, oldName, there}, named{to, newName, n})
	return fuse.OK
}

func (s server) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n, status := s.use(in.NodeId)
	defer s.mu.Unlock()
	if status != fuse.OK {
		return status
	}
	if in.Flags&syscall.O_TRUNC != 0 {
		if !s.step("truncate", n.number, 0) {
			return fuse.EIO
		}
		n.truncate(0)
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE // nobody else changes it, and a mapping lives through another open
	return fuse.OK
}

func (s server) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n, status := s.use(in.NodeId)
	defer s.mu.Unlock()
	if status != fuse.OK {
		return nil, status
	}
	at := min(in.Offset, uint64(len(n.data)))
	return fuse.ReadResultData(buf[:copy(buf, n.data[at:])]), fuse.OK
}

func (s server) Writev(_ <-chan struct{}, in *fuse.WriteIn, parts [][]byte) (uint32, fuse.Status) {
	n, status := s.use(in.NodeId)
	defer s.mu.Unlock()
	if status != fuse.OK {
		return 0, status
	}
	at := int64(in.Offset)
	if (s.growing != n || s.grown != at) && !s.step("write", n.number, in.Offset, in.Size) {
		return 0, fuse.EIO
	}
	for _, p := range parts {
		n.write(at, p)
		at += int64(len(p))
	}
	s.growing, s.grown = n, at
	return uint32(at - int64(in.Offset)), fuse.OK
}

func (s server) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return s.Writev(cancel, in, [][]byte{data})
}

func (s server) Release(<-chan struct{}, *fuse.ReleaseIn) {}

func (s server) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	_, status := s.use(in.NodeId)
	s.mu.Unlock()
	return status
}

func (s server) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return s.sync(in, "fsync", func(n *node) { n.sync(in.FsyncFlags&dataOnly != 0) })
}

func (s server) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return s.sync(in, "fsync folder", s.syncNames)
}

func (s server) sync(in *fuse.FsyncIn, op string, do func(*node)) fuse.Status {
	status := func() fuse.Status {
		n, status := s.use(in.NodeId)
		defer s.mu.Unlock()
		if status != fuse.OK {
			return status
		}
		if !s.step(op, n.number) {
			return fuse.EIO
		}
		do(n)
		return fuse.OK
	}()
	if status == fuse.OK {
		time.Sleep(s.Latency)
	}
	return status
}

// OpenDir takes down what the folder has: what is created and removed meanwhile may be in a list or not.
func (s server) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	folder, status := s.use(in.NodeId)
	defer s.mu.Unlock()
	if status != fuse.OK {
		return status
	}
	list := []dirent{{Name: ".", Mode: syscall.S_IFDIR, Ino: folder.number}, {Name: "..", Mode: syscall.S_IFDIR}}
	for _, name := range slices.Sorted(maps.Keys(folder.entries)) {
		n := folder.entries[name]
		list = append(list, dirent{Name: name, Mode: n.mode, Ino: n.number})
	}
	s.handle++
	s.opened[s.handle] = list
	out.Fh = s.handle
	return fuse.OK
}

func (s server) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	_, status := s.use(in.NodeId)
	defer s.mu.Unlock()
	if status != fuse.OK {
		return status
	}
	list := s.opened[in.Fh]
	for at := in.Offset; at < uint64(len(list)); at++ {
		e := list[at]
		e.Off = at + 1
		if !out.AddDirEntry(e) {
			break
		}
	}
	return fuse.OK
}

func (s server) ReleaseDir(in *fuse.ReleaseIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.opened, in.Fh)
}

// StatFs: a tebibyte, and all of it is free.
func (s server) StatFs(_ <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	_, status := s.use(h.NodeId)
	defer s.mu.Unlock()
	const blocks = 1 << 28
	*out = fuse.StatfsOut{Blocks: blocks, Bfree: blocks, Bavail: blocks, Files: blocks, Ffree: blocks, Bsize: 4096, Frsize: 4096, NameLen: nameMax}
	return status
}

func (s server) String() string { return "powerfs" }
