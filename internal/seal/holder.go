package seal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urlsession/urlsession/internal/durable"
)

// Holder is where a key lies.
type Holder struct {
	// Name tells it from other holders of what was sealed: "file", "keyring".
	Name string
	// Key is the key that it holds; ErrNoKey where it holds none, but with create a new one, which is held durably before it
	// is returned. Create only while no other process does, or two may make different keys; a file settles that itself.
	Key func(ctx context.Context, create bool) (*Key, error)
}

// InFile holds the key in a file of mode 0600, which must be as we make it: a regular file, no link, our user's, for nobody
// else to read. One that is not is ErrKey, and stays as it is. Its folder must exist.
func InFile(path string) Holder {
	return Holder{"file", func(_ context.Context, create bool) (*Key, error) {
		key, err := readKey(path)
		if errors.Is(err, ErrNoKey) && create {
			if err = createKey(path); err == nil {
				key, err = readKey(path)
			}
		}
		return key, err
	}}
}

func readKey(path string) (*Key, error) {
	// Without NONBLOCK a FIFO would be waited for.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing", ErrNoKey, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	defer f.Close()
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s "+format, append([]any{ErrKey, path}, args...)...)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, refuse("is no regular file")
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, refuse("has mode %#o, and others could have read it: remove it with what it has sealed, or set its mode to 0600", perm)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return nil, refuse("belongs to user %d, and this is user %d", stat.Uid, os.Geteuid())
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return nil, err
	}
	key, err := parseKey(string(text))
	if err != nil {
		return nil, refuse("holds no key: restore it, or remove it with what it has sealed")
	}
	return key, nil
}

// createKey makes a new key durable, content and name, before anything can be sealed with it. One that another process has
// made meanwhile stands.
func createKey(path string) error {
	temp := path + "." + rand.Text()
	if err := durable.WriteFile(temp, []byte(generate()), 0o600); err != nil { // with its fsync
		return err
	}
	if err := durable.RenameNoReplace(temp, path); err != nil {
		os.Remove(temp)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return durable.SyncDir(filepath.Dir(path))
}

// Keyring is a keyring of the user's. Get's error is ErrNoKey where it answers that there is nothing of that name; any other
// says that it does not answer.
type Keyring interface {
	Get(service, account string) (secret string, err error)
	Set(service, account, secret string) error
}

// keyringWait is for a keyring that asks its user whether to unlock it.
const keyringWait = 30 * time.Second

// InKeyring holds the key in ring. It is waited for until ctx ends, 30 s at most: a locked keyring asks its user. The call
// that was given up ends when the keyring answers.
func InKeyring(ring Keyring, service, account string) Holder {
	return Holder{"keyring", func(ctx context.Context, create bool) (*Key, error) {
		ctx, cancel := context.WithTimeout(ctx, keyringWait)
		defer cancel()
		type result struct {
			key *Key
			err error
		}
		done := make(chan result, 1)
		go func() {
			key, err := askKeyring(ring, service, account, create)
			done <- result{key, err}
		}()
		select {
		case r := <-done:
			return r.key, r.err
		case <-ctx.Done():
			return nil, fmt.Errorf("the keyring did not answer: %w", ctx.Err())
		}
	}}
}

func askKeyring(ring Keyring, service, account string, create bool) (*Key, error) {
	text, err := ring.Get(service, account)
	if errors.Is(err, ErrNoKey) && create {
		if err = ring.Set(service, account, generate()); err == nil {
			text, err = ring.Get(service, account) // as it holds it, not as it was told
		}
	}
	if err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%w: the keyring's item of %s, %s is none", err, service, account)
	}
	return key, nil
}
