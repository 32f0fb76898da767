package urlsession

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/cookie"
	"github.com/urlsession/urlsession/internal/seal"
)

// CookieStorage keeps cookies, by draft-ietf-httpbis-rfc6265bis: NSHTTPCookieStorage, and an http.CookieJar. It is made by one
// of the functions of this package, or is a session's (Session.CookieStorage). It may be used by several sessions at once, and
// from any goroutine. Which cookies of responses enter it, and whether they are sent, is each session's matter
// (Configuration.CookieAcceptPolicy, SetCookies).
//
// One with a file sees within a second what other processes change there. Its own changes are in a sealed file within a second,
// in a cookies.txt when it is flushed; Flush and the Close of its sessions make them durable. Where a sealed file cannot be read
// or written the cookies are in memory, and Flush says why.
type CookieStorage struct {
	cookies *cookie.Storage
	path    string // of its sealed file; empty: it has none
	keep    func(context.Context) error
}

// NewCookieStorage is an empty storage in memory.
func NewCookieStorage() *CookieStorage { return inMemory(cookie.New()) }

func inMemory(s *cookie.Storage) *CookieStorage { return &CookieStorage{cookies: s, keep: s.Flush} }

// OpenCookieStorage is a storage whose cookies with an expiry are kept in a file, sealed by the key of path + ".key"; both are
// made, mode 0600, once there is a cookie to keep, in a folder that must exist. The processes that have it open share the
// cookies. A file that is damaged, or whose key is lost, is renamed to path + ".corrupt-TIME", and a new one begun, which
// slog's default logger is told. One that cannot be read otherwise is an error.
func OpenCookieStorage(path string) (*CookieStorage, error) {
	const op = "open cookie file"
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, &Error{Op: op, URL: path, Code: ErrCannotOpenFile, Err: err}
	}
	s, err := cookie.Open(path, cookie.Options{Sealer: cookie.SealedBy(seal.InFile(path+".key"), "cookies"), Warn: warnDamaged})
	if err != nil {
		return nil, publicError(op, err)
	}
	return &CookieStorage{cookies: s, path: path, keep: s.Flush}, nil
}

// ApplicationCookieStorage is that of the default sessions of an application (Configuration.Application), of which there is one
// in the process, and over its file all processes share it. Empty is the executable's name. It does no I/O. A name that
// cannot be a folder's is an error.
func ApplicationCookieStorage(application string) (*CookieStorage, error) {
	if why := checkApplication(application); why != "" {
		return nil, &Error{Op: "open cookie file", Code: ErrUnknown, Err: errors.New("the application's name " + why)}
	}
	return applicationCookies(application), nil
}

// All are the cookies that have not expired, by domain, path and name.
func (s *CookieStorage) All() []Cookie { return publicCookies(s.cookies.All()) }

// OfDomain are those of All that belong to a domain and to all below it.
func (s *CookieStorage) OfDomain(domain string) []Cookie {
	return publicCookies(s.cookies.OfDomain(domain))
}

// For are the cookies that a request for a URL is sent with, in their order. To look at them is no use, which would
// keep them from eviction.
func (s *CookieStorage) For(u *url.URL) []Cookie { return publicCookies(s.cookies.For(u)) }

// Set keeps a cookie, in place of the one of its name, domain and path. Who calls it speaks for all hosts, but a cookie that no
// server could set is an error. Expires is cut to 400 days from now, and one in the past removes the cookie.
func (s *CookieStorage) Set(c Cookie) error {
	if err := s.cookies.Set(cookie.Cookie(c)); err != nil {
		return &Error{Op: "set cookie", Code: ErrUnknown, Err: err}
	}
	return nil
}

// Remove removes the cookie that has c's Name, Domain, HostOnly and Path, and reports whether there was one.
func (s *CookieStorage) Remove(c Cookie) bool { return s.cookies.Remove(cookie.Cookie(c)) }

// RemoveDomain removes the cookies of a domain and of all below it, and reports how many there were.
func (s *CookieStorage) RemoveDomain(domain string) int { return s.cookies.RemoveDomain(domain) }

// RemoveSince removes the cookies that were set, for the first time or anew, at t or later, and reports how many there were.
func (s *CookieStorage) RemoveSince(t time.Time) int { return s.cookies.RemoveSince(t) }

// Import takes the cookies of a cookies.txt, and reports how many. Those that have expired are passed over. The error is of r,
// and then none is taken; or it joins an error for each line that holds no cookie, named by its number, and each cookie that
// Set refuses, and the others are taken.
func (s *CookieStorage) Import(r io.Reader) (n int, err error) {
	const op = "import cookies.txt"
	cookies, left, err := cookie.ReadNetscape(r)
	if err != nil {
		return 0, publicError(op, err)
	}
	now := time.Now()
	for _, c := range cookies {
		if !c.Expires.IsZero() && !c.Expires.After(now) {
			continue
		}
		if err := s.cookies.Set(c); err != nil {
			left = append(left, err)
			continue
		}
		n++
	}
	if len(left) > 0 {
		return n, &Error{Op: op, Code: ErrUnknown, Err: errors.Join(left...)}
	}
	return n, nil
}

// Export writes all cookies as a cookies.txt, also those without an expiry. Whoever reads it can act for the user: a file
// should have mode 0600. A cookie that the format cannot hold, since a TAB stands in it, is left out, and is an error after
// all others are written.
func (s *CookieStorage) Export(w io.Writer) error {
	if err := cookie.WriteNetscape(w, s.cookies.All()); err != nil {
		return &Error{Op: "export cookies.txt", Code: ErrCannotWriteFile, Err: err}
	}
	return nil
}

// Reset removes all cookies, and a sealed file with all that lies beside it but the key; a cookies.txt is written without them
// at the next Flush. Other processes find theirs gone within a second.
func (s *CookieStorage) Reset(ctx context.Context) error {
	return publicError("reset cookies", s.cookies.Reset(ctx))
}

// Flush returns when every change that was made before is durable: fsynced. In memory alone there is nothing to do.
func (s *CookieStorage) Flush(ctx context.Context) error {
	return publicError("flush cookies", s.keep(ctx))
}

// Cookies is http.CookieJar's.
func (s *CookieStorage) Cookies(u *url.URL) []*http.Cookie { return s.cookies.Cookies(u) }

// SetCookies is http.CookieJar's. Sessions use Receive in its place.
func (s *CookieStorage) SetCookies(u *url.URL, cookies []*http.Cookie) {
	s.cookies.SetCookies(u, cookies)
}

// Receive takes the Set-Cookie fields of a response to a request for u, also those that net/http does not parse. The error
// says which cookies were refused, and why.
func (s *CookieStorage) Receive(u *url.URL, fields []string) error {
	return s.cookies.Receive(u, fields)
}

// applications are the storages of applications in this process, by the path of their file, or "" and the name where there is
// no folder for it.
var applications struct {
	sync.Mutex
	all map[[2]string]*CookieStorage
}

// applicationCookies does no I/O: the file is looked at when a request first asks.
func applicationCookies(application string) *CookieStorage {
	if application == "" {
		application = programName()
	}
	folder, err := dataFolder()
	place := [2]string{"", application}
	if err == nil {
		place = [2]string{filepath.Join(folder, application, "cookies")}
	}
	applications.Lock()
	defer applications.Unlock()
	s := applications.all[place]
	switch {
	case s != nil:
		return s
	case err != nil:
		s = homeless(err)
	default:
		s = sealedLater(place[0], place[0]+".key", "cookies")
	}
	if applications.all == nil {
		applications.all = make(map[[2]string]*CookieStorage)
	}
	applications.all[place] = s
	return s
}

// backgroundCookies is the file that a daemon keeps for a session. It does no I/O.
func backgroundCookies(d Daemon, identifier string) *CookieStorage {
	d, err := d.resolve()
	if err != nil {
		return homeless(err)
	}
	return sealedLater(control.SessionCookies(d.State, identifier))
}

// sealedLater is a storage over a file that is looked at when it is first asked, and made with its folder when there is a
// cookie to keep. The key lies in a file and not in the user's keyring, which would have a program's first request wait for its
// user to unlock it, and is out of reach for one that is run by cron or over ssh.
func sealedLater(path, key, purpose string) *CookieStorage {
	s := cookie.Later(path, cookie.Options{Sealer: cookie.SealedBy(seal.InFile(key), purpose), Warn: warnDamaged})
	return &CookieStorage{cookies: s, path: path, keep: s.Flush}
}

// homeless is a storage in memory of cookies that should last. Its Flush fails where there are some, and says why.
func homeless(why error) *CookieStorage {
	s := cookie.New()
	return &CookieStorage{cookies: s, keep: func(context.Context) error {
		for _, c := range s.All() {
			if !c.Expires.IsZero() {
				return &Error{Op: "write cookie file", Code: ErrCannotCreateFile, Err: why}
			}
		}
		return nil
	}}
}

// programName is the name of the executable's file.
func programName() string {
	path, err := os.Executable()
	if err != nil && len(os.Args) > 0 {
		path = os.Args[0]
	}
	if name := filepath.Base(path); checkApplication(name) == "" {
		return name
	}
	return "program"
}

// checkApplication says why a name cannot be a folder's; "": it can.
func checkApplication(name string) string {
	switch {
	case name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00"):
		return fmt.Sprintf("is %q, and names a folder: it is one name, without separators", name)
	case len(name) > 255:
		return fmt.Sprintf("has %d bytes, and names a folder: 255 are the most", len(name))
	}
	return ""
}

// dataFolder is where default sessions keep what lasts. A relative XDG_DATA_HOME is ignored, as the XDG Base Directory
// Specification wants.
func dataFolder() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "urlsession"), nil
	}
	home, err := os.UserHomeDir()
	if err == nil && !filepath.IsAbs(home) {
		err = errors.New("HOME is not absolute")
	}
	if err != nil {
		return "", fmt.Errorf("there is no folder for them: %w; set XDG_DATA_HOME to a folder of yours", err)
	}
	return filepath.Join(home, ".local", "share", "urlsession"), nil
}
