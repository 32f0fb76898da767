package urlsession

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// closeFor is how long Session.Close waits for the disk.
const closeFor = 10 * time.Second

// flush makes durable what a session in process remembers.
func (c *Configuration) flush(ctx context.Context) error {
	err := flushCookies(ctx, c.CookieStorage)
	if c.CredentialStorage != nil {
		err = errors.Join(err, c.CredentialStorage.Flush(ctx))
	}
	return err
}

// reset empties what a session in process remembers, and removes its files. What it cannot empty does not keep it from the rest.
func (c *Configuration) reset(ctx context.Context) error {
	err := resetCookies(c.CookieStorage)
	if c.CredentialStorage != nil {
		err = errors.Join(err, c.CredentialStorage.Reset(ctx))
	}
	return err
}

// resetCookies empties a storage that can be emptied.
func resetCookies(jar http.CookieJar) error {
	if r, ok := jar.(interface{ Reset() error }); ok {
		return r.Reset()
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
