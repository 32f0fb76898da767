package daemon

import (
	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/cookie"
	"github.com/urlsession/urlsession/internal/seal"
)

// cookies is the storage of a session. Its file is looked at when a task first asks, and made with the first cookie that is
// to last; one key of the state folder, made with the first of them, seals all. It is not the database's, so that one of the
// two can be removed without the other.
func (ss *sessions) cookies(id string) *cookie.Storage {
	file, key, purpose := control.SessionCookies(ss.state, id)
	return cookie.Later(file, cookie.Options{
		Sealer: cookie.SealedBy(seal.InFile(key), purpose),
		Warn:   func(err error) { ss.log.Warn("cookies of a session", "session", id, "error", err) },
	})
}
