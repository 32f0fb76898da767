package partial

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// Announce has Commit call fn before each rename, with the name that the file is about to take and with what it is, which
// a rename does not change. Where fn has made that durable, Finish tells after a kill whether the rename was done. An error
// of fn is Commit's, and the file keeps its name.
func (f *File) Announce(fn func(final string, file task.Source) error) { f.announce = fn }

// announced calls what Announce was given.
func (f *File) announced(final string) error {
	if f.announce == nil {
		return nil
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	return f.announce(final, sourceOf(info))
}

// taken reports whether something has a name already, as far as it saves an announcement: the rename decides.
func (f *File) taken(path string) bool {
	if f.announce == nil {
		return false
	}
	_, err := os.Lstat(path)
	return err == nil
}

// Finish does the rest of a Commit that a kill may have interrupted, after what Announce had announced. It reports
// whether the rename was done: final is that very file, by inode, size and time of modification. (A device number is not
// the same after each boot.) It is then durable, and part file and record are gone, but for those of another download that
// has begun since. false changes nothing.
func Finish(part, final string, file task.Source) (bool, error) {
	info, err := os.Lstat(final)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	now := sourceOf(info)
	if !info.Mode().IsRegular() || now.Inode != file.Inode || now.Size != file.Size || !now.ModTime.Equal(file.ModTime) {
		return false, nil
	}
	// Open takes the second name away, which a rename by link and unlink can leave, and a record without its part file;
	// Close, a part file that holds nothing. What is locked, or holds bytes, is another's.
	if f, err := Open(part); err == nil {
		if err := f.Close(); err != nil {
			return true, err
		}
	}
	err = durable.SyncDir(filepath.Dir(final))
	if filepath.Dir(part) != filepath.Dir(final) && err == nil {
		err = durable.SyncDir(filepath.Dir(part))
	}
	return true, err
}

func sourceOf(info fs.FileInfo) task.Source {
	s := task.Source{Size: info.Size(), ModTime: info.ModTime()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Device, s.Inode = uint64(stat.Dev), uint64(stat.Ino)
	}
	return s
}
