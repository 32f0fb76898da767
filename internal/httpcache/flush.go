package httpcache

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// flush makes durable what was stored: the files' content, then their names. It fails where the last try to store did.
func (d *disk) flush(ctx context.Context) error {
	d.mu.Lock()
	dirty, changed, failure := d.dirty, d.changed, d.failure
	d.dirty, d.changed = make(map[string]struct{}), false
	d.mu.Unlock()
	if !changed {
		return failure
	}
	err := d.sync(ctx, dirty)
	if err != nil {
		d.mu.Lock()
		d.changed = true
		for p := range dirty { // they are tried again, and those that an fsync gave up on are found out by their sum
			d.dirty[p] = struct{}{}
		}
		d.mu.Unlock()
		return err
	}
	return failure
}

// syncers is how many files are fsynced at once: a file system makes one commit of those that come together.
const syncers = 16

func (d *disk) sync(ctx context.Context, dirty map[string]struct{}) error {
	paths := slices.Collect(maps.Keys(dirty))
	var taken atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for range min(syncers, len(paths)) {
		all.Go(func() {
			for failed.Load() == nil {
				n := int(taken.Add(1))
				if n > len(paths) {
					return
				}
				if err := d.syncFile(ctx, paths[n-1]); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	if err := durable.SyncDir(d.folder); err != nil && !errors.Is(err, fs.ErrNotExist) { // it was removed with all in it
		return fileError("flush the cache", d.folder, task.CannotWriteFile, err)
	}
	return nil
}

// syncFile makes durable what is in a file. One that is gone was removed, or replaced by another name.
func (d *disk) syncFile(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return fileError("flush the cache", d.folder, task.CodeOf(err), err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = durable.SyncData(f)
		f.Close()
	}
	if err != nil {
		return fileError("flush the cache", path, task.CannotWriteFile, err)
	}
	return nil
}
