package urlsession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/urlsession/urlsession/internal/cookie"
	"github.com/urlsession/urlsession/internal/durable"
)

// OpenCookieFile is a storage of the cookies of a cookies.txt, the format of curl, wget and browsers' extensions, to which Flush
// writes them back, and so does the Close of a session in process. Cookies without an expiry are in it too. It is not encrypted:
// whoever has it can act for the user. Of several processes that write one file the last one's cookies stand.
//
// A file that does not exist is made, mode 0600, when there is a cookie to write. One with a line that holds no cookie is an
// error, since the line would be lost when the file is written; cookies that have expired, or that no server could set, are
// left out. It is written where its cookies have changed: beside it, fsynced and renamed over it, so that a kill or a power cut
// leaves the old one or the new one. A cookie that the format cannot hold, since a TAB stands in it, is left out, and is an error
// of Flush after all others are written.
func OpenCookieFile(path string) (*CookieStorage, error) {
	refuse := func(code Code, err error) (*CookieStorage, error) {
		return nil, &Error{Op: "open cookies.txt", URL: path, Code: code, Err: err}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return refuse(ErrCannotOpenFile, err)
	}
	f := &cookieFile{cookies: cookie.New(), path: abs}
	s := &CookieStorage{cookies: f.cookies, keep: f.flush}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		f.path = real // the link stays one
	}
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(f.path)); err != nil {
			return refuse(ErrCannotOpenFile, err)
		}
		f.kept, err = f.text()
		return s, err
	case err == nil && !info.Mode().IsRegular():
		err = errors.New("it is no regular file, and could not be replaced")
	}
	if err != nil {
		return refuse(ErrCannotOpenFile, err)
	}
	in, err := os.Open(f.path)
	if err != nil {
		return refuse(ErrCannotOpenFile, err)
	}
	defer in.Close()
	cookies, bad, err := cookie.ReadNetscape(in)
	if err != nil {
		return refuse(ErrCannotOpenFile, err)
	}
	if len(bad) > 0 {
		return refuse(ErrCannotOpenFile, fmt.Errorf("%w (lines that hold no cookie: %d); is it a cookies.txt?", bad[0], len(bad)))
	}
	for _, c := range cookies {
		_ = f.cookies.Set(c) // or it is none that could be sent
	}
	f.kept, err = f.text()
	return s, err
}

// cookieFile is a cookies.txt that cookies are written back to.
type cookieFile struct {
	cookies *cookie.Storage
	path    string

	mu   sync.Mutex // held while it is written
	kept []byte     // what the file holds, as it would be written
}

// text is what the file is to hold. The error is of cookies that the format cannot hold; the others are there.
func (f *cookieFile) text() ([]byte, error) {
	var b bytes.Buffer
	err := cookie.WriteNetscape(&b, f.cookies.All())
	return b.Bytes(), err
}

func (f *cookieFile) flush(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, unfit := f.text()
	if !bytes.Equal(text, f.kept) {
		err := durable.WriteFile(f.path, text, 0o600)
		if err == nil {
			err = durable.SyncDir(filepath.Dir(f.path))
		}
		if err != nil {
			return &Error{Op: "write cookies.txt", URL: f.path, Code: ErrCannotWriteFile, Err: err}
		}
		f.kept = text
	}
	if unfit != nil {
		return &Error{Op: "write cookies.txt", URL: f.path, Code: ErrCannotWriteFile, Err: unfit}
	}
	return nil
}
