package transfer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
)

// A download without a destination makes a file in Attempt.Temporary, or in the system's folder of temporary files.
//
// In Attempt.Temporary each name begins with the number of its task: the part file is "ID.KEY.part", the same in each
// attempt and each process, the file "ID-NAME". So whoever keeps the tasks finds out which files are nobody's.

func temporaryPrefix(id task.ID) string { return strconv.FormatUint(uint64(id), 10) + "-" }

func temporaryPart(folder string, id task.ID) string {
	name := strconv.FormatUint(uint64(id), 10)
	return filepath.Join(folder, partial.Name(name, partial.Key("", name)))
}

// TemporaryTask says which task a file of Attempt.Temporary is of, by its name; 0: it is none of ours.
func TemporaryTask(name string) task.ID {
	n := strings.IndexAny(name, "-.")
	if n <= 0 || name[n] == '.' && !partial.Owns(name) {
		return 0
	}
	id, err := strconv.ParseUint(name[:n], 10, 64)
	if err != nil {
		return 0
	}
	return task.ID(id)
}

// RemoveTemporary removes what the task has in Attempt.Temporary: its file at path (empty: it has none; one that lies
// elsewhere is its user's, and stays), its part file, and what lies beside that. After the loss of power they may be there
// again.
func RemoveTemporary(folder string, id task.ID, path string) error {
	err := partial.Remove(temporaryPart(folder, id))
	if path != "" && filepath.Dir(path) == folder && TemporaryTask(filepath.Base(path)) == id {
		if removed := os.Remove(path); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}

// openOwned opens the task's part file in Attempt.Temporary, which only this user reads. That of another task, which resume
// data name, becomes its own.
func (to *destination) openOwned(attempt int) (f *partial.File, err error) {
	if resume := to.spec.Resume; resume != nil && attempt <= 1 && resume.Part != to.part {
		if _, err := os.Lstat(to.part); errors.Is(err, fs.ErrNotExist) {
			if f, err = to.openResumed(resume); err != nil {
				return nil, err
			}
			if err := f.Move(to.part); err != nil {
				f.Close()
				return nil, fileError("take on part file", resume.Part, err, task.CannotMoveFile)
			}
		}
	}
	if f == nil {
		if f, err = partial.Open(to.part); err != nil {
			return nil, to.openError(err)
		}
	}
	if err := os.Chmod(to.part, 0o600); err != nil {
		f.Close()
		return nil, fileError("open part file", to.part, err, task.CannotCreateFile)
	}
	return f, nil
}

// openTemporary opens the first part file of the URL among the temporary ones that no task has open. Its bytes, of a
// task that is gone, are gone on from by the same rules as all others.
func (to *destination) openTemporary() (*partial.File, error) {
	name := fileName("", to.url)
	const most = 1 << 16
	for n := 0; ; n++ {
		nth := ""
		if n > 0 {
			nth = strconv.Itoa(n)
		}
		to.part = filepath.Join(to.folder, partial.Name(name, partial.Key(to.url, nth)))
		f, err := partial.Open(to.part)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, partial.ErrLocked) || n == most {
			return nil, to.openError(err)
		}
	}
}

// temporaryFolder is the folder of this user's temporary downloads: no other can look into it or plant files there.
func temporaryFolder() (string, error) {
	uid := os.Geteuid()
	path := filepath.Join(os.TempDir(), "urlsession-"+strconv.Itoa(uid))
	err := os.Mkdir(path, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fileError("create folder of temporary files", path, err, task.CannotCreateFile)
	}
	if info, err := os.Lstat(path); err == nil && info.IsDir() && info.Mode().Perm()&0o077 == 0 &&
		int(info.Sys().(*syscall.Stat_t).Uid) == uid {
		return path, nil
	}
	// Somebody else was first.
	path, err = os.MkdirTemp("", "urlsession-")
	if err != nil {
		return "", fileError("create folder of temporary files", os.TempDir(), err, task.CannotCreateFile)
	}
	return path, nil
}
