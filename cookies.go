package urlsession

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/urlsession/urlsession/internal/cookie"
	"github.com/urlsession/urlsession/internal/seal"
)

// applicationCookies is the storage of the default sessions of one application.
type applicationCookies struct {
	*cookie.Storage
	homeless error // why there is no folder for its file; nil: there is one
}

// Flush is cookie.Storage's. Without a folder it fails where there are cookies that should last.
func (a *applicationCookies) Flush(ctx context.Context) error {
	if a.homeless != nil {
		for _, c := range a.All() {
			if !c.Expires.IsZero() {
				return &Error{Op: "write cookie file", Code: ErrCannotCreateFile, Err: a.homeless}
			}
		}
	}
	return a.Storage.Flush(ctx)
}

// applications are those of this process, by the path of their file, or "" and the name where there is no folder for it.
var applications struct {
	sync.Mutex
	all map[[2]string]*applicationCookies
}

// cookiesOf is the storage of an application's default sessions. It does no I/O: the file is looked at when a request first
// asks. The key lies beside it, in a file and not in the user's keyring, which would have a program's first request wait for
// its user to unlock it, and is out of reach for one that is run by cron or over ssh.
func cookiesOf(application string) *applicationCookies {
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
	a := applications.all[place]
	switch {
	case a != nil:
		return a
	case err != nil:
		a = &applicationCookies{Storage: cookie.New(), homeless: err}
	default:
		sealer := cookie.SealedBy(seal.InFile(place[0]+".key"), "cookies")
		a = &applicationCookies{Storage: cookie.Later(place[0], cookie.Options{Sealer: sealer})}
	}
	if applications.all == nil {
		applications.all = make(map[[2]string]*applicationCookies)
	}
	applications.all[place] = a
	return a
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

// daemonCookies stands in the configuration of a background session for the storage that the daemon keeps for it.
type daemonCookies struct{}

func (daemonCookies) SetCookies(*url.URL, []*http.Cookie) {}
func (daemonCookies) Cookies(*url.URL) []*http.Cookie     { return nil }
