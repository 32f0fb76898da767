package transfer

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
)

// A destination is where a download goes.
type destination struct {
	spec   *task.DownloadSpec
	url    string
	folder string // absolute
	name   string // the file's; empty: the response names it
	ofURL  string // the name that the URL gives the file in a folder, where it gives one
	prefix string // of the name on disk: makes a temporary file's unique
	part   string // the part file, absolute; empty: not chosen yet
	owned  bool   // it lies in Attempt.Temporary: see temporary.go
}

// newDestination is where a's download goes. Nothing is touched on disk, but for the folder of temporary files.
func newDestination(a *Attempt) (*destination, error) {
	spec := a.Spec.Download
	if spec == nil {
		spec = &task.DownloadSpec{}
	}
	to := &destination{spec: spec, url: cmp.Or(spec.KeyURL, a.Spec.Request.URL)}
	partName := ""
	switch {
	case spec.Path == "" && a.Temporary != "" && (spec.Resume == nil || filepath.Dir(spec.Resume.Part) == a.Temporary):
		to.folder, to.owned = a.Temporary, true
		to.prefix, to.part = temporaryPrefix(a.ID), temporaryPart(a.Temporary, a.ID)
		return to, nil
	case spec.Path == "":
		to.prefix = rand.Text()[:8] + "-"
		if spec.Resume != nil {
			to.folder = filepath.Dir(spec.Resume.Part)
			break
		}
		folder, err := temporaryFolder()
		if err != nil {
			return nil, err
		}
		to.folder = folder
	case spec.Folder:
		to.folder = filepath.Clean(spec.Path)
		to.ofURL = urlName(to.url)
		partName = cmp.Or(to.ofURL, fallbackName)
	default:
		to.folder, to.name = filepath.Split(filepath.Clean(spec.Path))
		to.folder = filepath.Clean(to.folder)
		partName = to.name
	}
	switch {
	case spec.Resume != nil:
		to.part = spec.Resume.Part
	case partName != "":
		to.part = filepath.Join(to.folder, partial.Name(partName, partial.Key(to.url, spec.Destination)))
	}
	return to, nil
}

func (to *destination) temporary() bool { return to.spec.Path == "" }

// final is the path that the file gets, unless another is taken for a conflict.
func (to *destination) final() string {
	name := to.name
	if to.prefix != "" {
		name = cutName(to.prefix + name)
	}
	return filepath.Join(to.folder, name)
}

func (to *destination) conflict() task.Conflict {
	if to.temporary() {
		return task.ConflictRename
	}
	return to.spec.Conflict
}

// check finds what makes the final name impossible, as far as it is known: a folder or a device has it, or a file that
// must not be replaced. The rename at the end decides.
func (to *destination) check() error {
	if to.name == "" {
		return nil
	}
	path := to.final()
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // the folder too may be missing: the part file's creation tells
		return nil
	case err != nil:
		return fileError("look for destination", path, err, task.CannotCreateFile)
	case info.IsDir():
		return &task.Error{Op: "download to", URL: path, Code: task.FileIsDirectory,
			Err: errors.New("the destination is a folder; end it with a separator to download into it")}
	case to.conflict() == task.ConflictFail:
		return existsError(path)
	case to.conflict() == task.ConflictReplace && info.Mode()&^fs.ModePerm&^(fs.ModeSymlink|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0:
		return &task.Error{Op: "download to", URL: path, Code: task.CannotCreateFile,
			Err: errors.New("a device, pipe or socket stands there, which is not replaced; choose another name")}
	}
	return nil
}

func existsError(path string) error {
	return &task.Error{Op: "download to", URL: path, Code: task.DestinationExists,
		Err: errors.New("a file of this name exists; choose another, or allow it to be replaced or the download to be renamed")}
}

// open opens the part file and locks it.
func (to *destination) open(attempt int) (*partial.File, error) {
	if to.owned {
		return to.openOwned(attempt)
	}
	if to.part == "" {
		return to.openTemporary()
	}
	if to.spec.Resume != nil && attempt <= 1 {
		return to.openResumed(to.spec.Resume)
	}
	f, err := partial.Open(to.part)
	if err != nil {
		return nil, to.openError(err)
	}
	return f, nil
}

// openResumed opens the part file that resume data names, and finds out whether it still is what they say.
func (to *destination) openResumed(data *task.ResumeData) (*partial.File, error) {
	unusable := func(err error) error {
		return &task.Error{Op: "resume download from", URL: data.Part, Code: task.ResumeDataUnusable, Err: err}
	}
	if filepath.Dir(data.Part) != to.folder {
		return nil, unusable(errors.New("the part file does not lie beside the destination; start the download anew"))
	}
	if info, err := os.Lstat(data.Part); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("the part file is gone; start the download anew")
		}
		return nil, unusable(err)
	} else if !info.Mode().IsRegular() {
		return nil, unusable(errors.New("it is no regular file; start the download anew"))
	}
	f, err := partial.Open(data.Part)
	if errors.Is(err, partial.ErrName) {
		return nil, unusable(partial.ErrName)
	}
	if err != nil {
		return nil, to.openError(err)
	}
	if err := matches(f, data); err != nil {
		f.Close()
		return nil, unusable(err)
	}
	return f, nil
}

// matches says what of a part file is not as resume data have it. It may hold more than they say.
func matches(f *partial.File, data *task.ResumeData) error {
	v, held := f.Validator(), f.Held()
	switch {
	case v.ETag != data.ETag || v.LastModified != data.LastModified:
		return errors.New("the part file is of another version than the resume data; start the download anew")
	case f.Total() != data.Total:
		return fmt.Errorf("the part file is of %d bytes, the resume data of %d; start the download anew", f.Total(), data.Total)
	}
	for _, r := range data.Held {
		if !held.Contains(r[0], r[1]) {
			return fmt.Errorf("bytes %d to %d are not held any more; start the download anew", r[0], r[1]-1)
		}
	}
	return nil
}

func (to *destination) openError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &task.Error{Op: "download to", URL: to.folder, Code: task.FileDoesNotExist,
			Err: errors.New("the destination's folder does not exist; create it")}
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return &task.Error{Op: "download to", URL: to.folder, Code: task.CannotCreateFile,
			Err: errors.New("the destination's folder is a file; choose another")}
	}
	return fileError("open part file", to.part, err, task.CannotCreateFile)
}

// fileError makes the attempt's error of one that the file at path had. Where the cause does not tell the code, it is
// fallback.
func fileError(op, path string, err error, fallback task.Code) *task.Error {
	if e, ok := errors.AsType[*task.Error](err); ok {
		return e
	}
	e := &task.Error{Op: op, URL: path, Code: fallback, Err: err}
	if p, ok := err.(*fs.PathError); ok && p.Path == path {
		e.Err = p.Err // the path stands in e
	}
	switch {
	case errors.Is(err, partial.ErrLocked):
		e.Code = task.CannotOpenFile
		e.Err = fmt.Errorf("%w: wait for it, or choose another destination", partial.ErrLocked)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Code = task.CannotWriteFile
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Code = task.NoPermission
	case errors.Is(err, fs.ErrNotExist):
		e.Code = task.FileDoesNotExist
	case errors.Is(err, syscall.EISDIR):
		e.Code = task.FileIsDirectory
	}
	return e
}
