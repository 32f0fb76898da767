package urlsession

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/urlsession/urlsession/internal/cookie"
	"github.com/urlsession/urlsession/internal/seal"
)

// closeFor is how long Session.Close waits for the disk.
const closeFor = 10 * time.Second

// warnDamaged logs that a file was damaged and set aside, which nobody waits for. What else the storages warn of, Flush and Close return.
func warnDamaged(err error) {
	if errors.Is(err, seal.ErrDamaged) || errors.Is(err, cookie.ErrDamaged) {
		slog.Warn(publicError("read file", err).Error())
	}
}

// setCookies sets a storage that goes by the configuration's names, until the app sets another.
func (c *Configuration) setCookies(s *CookieStorage) { c.CookieStorage, c.cookies = s, s }

// resolveCookies has a storage that goes by the configuration's names be that of those which stand there now.
func (c *Configuration) resolveCookies() {
	if c.cookies == nil || c.CookieStorage != http.CookieJar(c.cookies) {
		return
	}
	if c.kind == kindDefault {
		c.setCookies(applicationCookies(c.Application))
	} else if s := backgroundCookies(c.Daemon, c.Identifier); s.path != c.cookies.path {
		c.setCookies(s)
	}
}

// flush makes durable what a session in process remembers.
func (c *Configuration) flush(ctx context.Context) error {
	err := flushCookies(ctx, c.CookieStorage)
	if c.CredentialStorage != nil {
		err = errors.Join(err, c.CredentialStorage.Flush(ctx))
	}
	if c.URLCache != nil {
		err = errors.Join(err, c.URLCache.Flush(ctx))
	}
	return err
}

// reset empties what a session in process remembers, and removes its files. What it cannot empty does not keep it from the rest.
func (c *Configuration) reset(ctx context.Context) error {
	err := resetCookies(ctx, c.CookieStorage)
	if c.CredentialStorage != nil {
		err = errors.Join(err, c.CredentialStorage.Reset(ctx))
	}
	if c.URLCache != nil {
		err = errors.Join(err, c.URLCache.Reset(ctx))
	}
	return err
}

// resetCookies empties a storage that can be emptied.
func resetCookies(ctx context.Context, jar http.CookieJar) error {
	if r, ok := jar.(interface{ Reset(context.Context) error }); ok {
		return r.Reset(ctx)
	}
	return nil
}

// flushCookies makes a storage durable that can be made so.
func flushCookies(ctx context.Context, jar http.CookieJar) error {
	if f, ok := jar.(interface{ Flush(context.Context) error }); ok {
		return f.Flush(ctx)
	}
	return nil
}
