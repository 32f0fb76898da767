package httpcache

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// orphanAge is how old a body must be that no entry names, to be taken for one that a kill has left: the entry comes
// milliseconds after it.
const orphanAge = time.Minute

// group is what the folder has of one key.
type group struct {
	key    key
	heads  map[int]int64 // size by slot
	bodies []bodyFile
	size   int64
	used   time.Time
}

type bodyFile struct {
	name   string
	slot   int
	random string
	size   int64
	at     time.Time
}

// kind of a file in the folder.
type kind int

const (
	foreign kind = iota // not ours: it is never touched
	entryFile
	bodyOfEntry
	temporaryFile
)

// parseFileName tells what a file in the folder is.
func parseFileName(name string) (what kind, k key, slot int, random string) {
	if r, ok := strings.CutSuffix(name, ".tmp"); ok && validRandom(r) {
		return temporaryFile, k, 0, r
	}
	first, rest, ok := strings.Cut(name, ".")
	if k, ok2 := parseKey(first); ok && ok2 {
		n, random, hasBody := strings.Cut(rest, ".")
		slot, err := strconv.Atoi(n)
		if err != nil || slot < 0 || slot >= maxVariants || n != strconv.Itoa(slot) || hasBody && !validRandom(random) {
			return foreign, k, 0, ""
		}
		if hasBody {
			return bodyOfEntry, k, slot, random
		}
		return entryFile, k, slot, ""
	}
	return foreign, k, 0, ""
}

// list reads the folder. One that is not there is empty.
func (d *disk) list() ([]fs.DirEntry, error) {
	list, err := os.ReadDir(d.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return list, err
}

// scan reads the folder and tells its files apart. Files that come and go meanwhile may be in it or not.
func (d *disk) scan() (groups map[key]*group, temporary []string, err error) {
	list, err := d.list()
	if err != nil {
		return nil, nil, err
	}
	groups = make(map[key]*group)
	for _, e := range list {
		what, k, slot, random := parseFileName(e.Name())
		if what == foreign || !e.Type().IsRegular() {
			continue
		}
		if what == temporaryFile {
			temporary = append(temporary, e.Name())
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue
		}
		g := groups[k]
		if g == nil {
			g = &group{key: k, heads: make(map[int]int64)}
			groups[k] = g
		}
		size := blocks(info.Size())
		g.size += size
		if what == entryFile {
			g.heads[slot] = size
			if info.ModTime().After(g.used) {
				g.used = info.ModTime()
			}
		} else {
			g.bodies = append(g.bodies, bodyFile{e.Name(), slot, random, size, info.ModTime()})
		}
	}
	return groups, temporary, nil
}

// collect removes what kills have left, then the keys that were used longest ago until the rest is a sixteenth below the
// capacity, and counts it. One goroutine does; another that comes meanwhile finds it done.
func (d *disk) collect() error {
	if !d.collecting.TryLock() {
		return nil
	}
	defer d.collecting.Unlock()
	d.mu.Lock()
	d.since = 0
	d.mu.Unlock()
	groups, temporary, err := d.scan()
	if err != nil {
		return err
	}
	for _, name := range temporary {
		d.removeLeft(name)
	}
	var total int64
	var all []*group
	for _, g := range groups {
		d.removeUnnamed(g)
		total += g.size
		all = append(all, g)
	}
	if total > d.capacity {
		slices.SortFunc(all, func(a, b *group) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
		for _, g := range all {
			if total <= d.capacity-d.capacity/16 {
				break
			}
			d.remove(g.key)
			total -= g.size
		}
	}
	d.mu.Lock()
	d.used = total + d.since
	if len(d.dirty) > len(groups)*4+64 { // of files that are gone
		for p := range d.dirty {
			if _, err := os.Lstat(p); errors.Is(err, fs.ErrNotExist) {
				delete(d.dirty, p)
			}
		}
	}
	d.mu.Unlock()
	return nil
}

// removeLeft removes a temporary file that nobody writes.
func (d *disk) removeLeft(name string) {
	path := filepath.Join(d.folder, name)
	f, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if durable.Lock(f) == nil {
		os.Remove(path)
	}
}

// removeUnnamed removes g's bodies that no entry names, and entries behind a gap, which nothing finds.
func (d *disk) removeUnnamed(g *group) {
	drop := func(name string, size int64) {
		if os.Remove(filepath.Join(d.folder, name)) == nil {
			g.size -= size
		}
	}
	reachable := 0
	for g.heads[reachable] > 0 {
		reachable++
	}
	for slot, size := range g.heads {
		if slot >= reachable {
			drop(filepath.Base(d.path(g.key, slot)), size)
		}
	}
	for _, b := range g.bodies {
		if time.Since(b.at).Abs() < orphanAge {
			continue
		}
		h, _, _, err := d.read(g.key, b.slot)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrDamaged) || err == nil && h.Body != b.random {
			drop(b.name, b.size)
		}
	}
}

// reset removes all that is ours, also what is being written.
func (d *disk) reset(ctx context.Context) error {
	list, err := d.list()
	if err != nil {
		return fileError("reset the cache", d.folder, task.CannotRemoveFile, err)
	}
	for _, e := range list {
		if what, _, _, _ := parseFileName(e.Name()); what == foreign {
			continue
		}
		if ctx.Err() != nil {
			return fileError("reset the cache", d.folder, task.CodeOf(ctx.Err()), ctx.Err())
		}
		if err := os.Remove(filepath.Join(d.folder, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fileError("reset the cache", d.folder, task.CannotRemoveFile, err)
		}
	}
	if err := durable.SyncDir(d.folder); err != nil && !errors.Is(err, fs.ErrNotExist) { // now the names stay gone
		return fileError("reset the cache", d.folder, task.CannotRemoveFile, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used, d.since, d.failure, d.changed = 0, 0, nil, false
	clear(d.dirty)
	return nil
}

func (d *disk) entries(fn func(key, *head, int64, time.Time)) error {
	groups, _, err := d.scan()
	if err != nil {
		return fileError("list the cache", d.folder, task.CannotOpenFile, err)
	}
	for k, g := range groups {
		for slot, size := range g.heads {
			if h, _, used, err := d.read(k, slot); err == nil {
				if h.Body != "" {
					size += blocks(h.bodySize())
				}
				fn(k, h, size, used)
			}
		}
	}
	return nil
}

func (d *disk) size() (int64, error) {
	groups, _, err := d.scan()
	if err != nil {
		return 0, fileError("measure the cache", d.folder, task.CannotOpenFile, err)
	}
	var total int64
	for _, g := range groups {
		total += g.size
	}
	return total, nil
}
