package urlsession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/urlsession/urlsession/internal/cookie"
	"github.com/urlsession/urlsession/internal/durable"
)

// CookieFile is a storage of cookies that is read from a cookies.txt and written back to it, the format of curl, wget and
// browsers' extensions. It is for the CookieStorage of sessions in process, whose Flush and Close write it. Cookies without an
// expiry are in it too. It is not encrypted: whoever has it can act for the user. It may be used by several goroutines;
// of several processes that write one file the last one's cookies stand.
type CookieFile struct {
	cookies *cookie.Storage
	path    string

	mu   sync.Mutex // held while it is written
	kept []byte     // what the file holds, as it would be written
}

// OpenCookieFile reads a cookies.txt. One that does not exist is made, mode 0600, when there is a cookie to write. A file with
// a line that holds no cookie is an error, since it would be lost when the file is written; cookies that have expired, or
// that no server could set, are left out.
func OpenCookieFile(path string) (*CookieFile, error) {
	refuse := func(code Code, err error) (*CookieFile, error) {
		return nil, &Error{Op: "open cookies.txt", URL: path, Code: code, Err: err}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return refuse(ErrCannotOpenFile, err)
	}
	f := &CookieFile{cookies: cookie.New(), path: abs}
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
		return f, err
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
	return f, err
}

// text is what the file is to hold. The error is of cookies that the format cannot hold; the others are there.
func (f *CookieFile) text() ([]byte, error) {
	var b bytes.Buffer
	err := cookie.WriteNetscape(&b, f.cookies.All())
	return b.Bytes(), err
}

// Cookies is http.CookieJar's.
func (f *CookieFile) Cookies(u *url.URL) []*http.Cookie { return f.cookies.Cookies(u) }

// SetCookies is http.CookieJar's. Sessions use Receive in its place.
func (f *CookieFile) SetCookies(u *url.URL, cookies []*http.Cookie) { f.cookies.SetCookies(u, cookies) }

// Receive takes the Set-Cookie fields of a response to a request for u, also those that net/http does not parse. The error
// says which cookies were refused, and why.
func (f *CookieFile) Receive(u *url.URL, fields []string) error { return f.cookies.Receive(u, fields) }

// Reset removes all cookies; the next Flush writes that.
func (f *CookieFile) Reset() error { return f.cookies.Reset() }

// Flush writes the file, mode 0600, where its cookies have changed: beside it, fsynced and renamed over it, so that a kill or a
// power cut leaves the old one or the new one, and the folder fsynced, so that the new one lasts. A cookie that the format
// cannot hold, since a TAB stands in it, is left out, and is an error after all others are written.
func (f *CookieFile) Flush(context.Context) error {
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
