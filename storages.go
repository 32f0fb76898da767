package urlsession

import (
	"context"
	"net/http"
	"time"
)

// closeFor is how long Session.Close waits for the disk.
const closeFor = 10 * time.Second

// flush makes durable what a session in process remembers.
func (c *Configuration) flush(ctx context.Context) error {
	return flushCookies(ctx, c.CookieStorage)
}

// reset empties what a session in process remembers, and removes its files. What it cannot empty does not keep it from the rest.
func (c *Configuration) reset(context.Context) error {
	return resetCookies(c.CookieStorage)
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
