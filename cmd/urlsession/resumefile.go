package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/urlsession/urlsession"
)

// resumeFile is upload's --resume: what an upload that has not succeeded left to the same command. It is for one goroutine at a time.
type resumeFile struct {
	path string
	data []byte // nil: nothing yet
}

// openResumeFile reads the file at path, if it is there. What it holds must be of the upload of file to target.
func openResumeFile(path, file, target string) (*resumeFile, error) {
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return nil, usagef("--resume %s: its folder does not exist", path)
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &resumeFile{path: path}, nil
	}
	if err != nil {
		return nil, usagef("--resume: %w", err)
	}
	var of struct {
		URL    string `json:"url"`
		Upload struct {
			Path string `json:"path"`
		} `json:"upload"`
	}
	if json.Unmarshal(data, &of) != nil || of.Upload.Path == "" {
		return nil, usagef("--resume %s: the file is there, and holds no upload; name another", path)
	}
	if abs, err := filepath.Abs(file); err != nil || abs != of.Upload.Path || withoutUser(of.URL) != withoutUser(target) {
		return nil, usagef("--resume %s: it is of the upload of %s to %s, and not of %s to %s, whose queries may differ, too; name another file, or remove it",
			path, of.Upload.Path, redact(of.URL), file, redact(target))
	}
	return &resumeFile{path, data}, nil
}

// withoutUser is a URL without user and password, which are not what an upload is known by.
func withoutUser(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.User = nil
	return u.String()
}

// start makes the task: that which goes on, or the first.
func (f *resumeFile) start(ctx context.Context, s *urlsession.Session, first urlsession.Request) (*urlsession.Task, error) {
	if f.data == nil {
		return s.UploadTask(ctx, first)
	}
	return s.UploadTaskWithResumeData(ctx, f.data)
}

// watch writes the first file as soon as the server has named the upload, for a command that is killed: the server will say how much
// it has. The function that it returns waits for its end, which comes with the task's.
func (f *resumeFile) watch(t *urlsession.Task) (ended func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ev := range t.Events(context.Background()) {
			if _, ok := ev.(urlsession.UploadProgress); !ok || f.data != nil {
				continue
			}
			if data, err := t.ResumeData(context.Background()); err == nil && f.write(data) == nil { // else it is tried again
				f.data = data
			}
		}
	}()
	return func() { <-done }
}

// settle keeps what an ended task has left, or removes the file of one that has succeeded. One that leaves nothing leaves the
// file as it is: begun anew is what a user removes it for. left says that there is something to go on from.
func (f *resumeFile) settle(t *urlsession.Task, failed error) (left bool, err error) {
	if failed == nil {
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		return false, nil
	}
	data, err := t.ResumeData(context.Background())
	if err != nil {
		return f.data != nil, nil
	}
	return true, f.write(data)
}

// write replaces the file by data, durably, whole or not at all. It is readable by its owner alone: whoever has it may go on with
// the upload.
func (f *resumeFile) write(data []byte) error {
	folder := filepath.Dir(f.path)
	temporary, err := os.CreateTemp(folder, filepath.Base(f.path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // which is gone where all went well
	_, err = temporary.Write(data)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), f.path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
