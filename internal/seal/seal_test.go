package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fileKey(t *testing.T, path string) *Key {
	t.Helper()
	key, err := InFile(path).Key(t.Context(), true)
	must(t, err)
	return key
}

func sealed(t *testing.T, s *Sealer, secret string) []byte {
	t.Helper()
	b, err := s.Seal([]byte(secret))
	must(t, err)
	return b
}

func TestSealer(t *testing.T) {
	dir := t.TempDir()
	key := fileKey(t, filepath.Join(dir, "a"))
	s := key.Sealer("cookies")
	b := sealed(t, s, "secret")
	if bytes.Contains(b, []byte("secret")) || bytes.Equal(b, sealed(t, s, "secret")) {
		t.Error("it is not sealed, or twice the same")
	}
	again := fileKey(t, filepath.Join(dir, "a")) // read, not made
	if got, err := again.Sealer("cookies").Open(b); err != nil || string(got) != "secret" {
		t.Errorf("got %q, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another purpose": func() ([]byte, error) { return key.Sealer("cookie").Open(b) },
		"another key":     func() ([]byte, error) { return fileKey(t, filepath.Join(dir, "b")).Sealer("cookies").Open(b) },
		"cut":             func() ([]byte, error) { return s.Open(b[:len(b)-1]) },
		"very short":      func() ([]byte, error) { return s.Open(b[:3]) },
		"empty":           func() ([]byte, error) { return s.Open(nil) },
		"version":         func() ([]byte, error) { return s.Open(append([]byte{2}, b[1:]...)) },
		"changed":         func() ([]byte, error) { return s.Open(append(bytes.Clone(b[:len(b)-1]), b[len(b)-1]^1)) },
	} {
		if got, err := open(); !errors.Is(err, ErrDamaged) || got != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestKeyFile(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(path string) error
		want  error
		says  string
	}{
		"lost":               {os.Remove, ErrNoKey, "missing"},
		"readable by others": {func(p string) error { return os.Chmod(p, 0o640) }, ErrKey, "0640"},
		"cut":                {func(p string) error { return os.Truncate(p, 20) }, ErrKey, "holds no key"},
		"a symbolic link":    {func(p string) error { return errors.Join(os.Rename(p, p+"2"), os.Symlink(p+"2", p)) }, ErrKey, "symbolic links"},
		"a folder":           {func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }, ErrKey, "no regular file"},
		"a FIFO":             {func(p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o600)) }, ErrKey, "no regular file"},
		"of another user": {func(p string) error {
			if os.Geteuid() != 0 {
				return errors.ErrUnsupported
			}
			return os.Chown(p, 4711, -1)
		}, ErrKey, "belongs to user 4711"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			fileKey(t, path)
			if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
				t.Fatalf("made as %v, %v", info.Mode(), err)
			}
			text, err := os.ReadFile(path)
			must(t, err)
			if err := c.spoil(path); errors.Is(err, errors.ErrUnsupported) {
				t.Skip("only root can give a file away")
			} else {
				must(t, err)
			}
			_, err = InFile(path).Key(t.Context(), false)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %v that says %q", err, c.want, c.says)
			}
			if strings.Contains(err.Error(), string(text[:16])) {
				t.Errorf("the error cites the key: %v", err)
			}
			if c.want == ErrKey {
				if _, err := InFile(path).Key(t.Context(), true); !errors.Is(err, ErrKey) {
					t.Errorf("a key was made over it: %v", err)
				}
			}
		})
	}
}

func TestOneKeyIsMade(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	var keys [8]*Key
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			key, err := InFile(path).Key(t.Context(), true)
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	b := sealed(t, keys[0].Sealer("p"), "x")
	for _, key := range keys {
		if _, err := key.Sealer("p").Open(b); err != nil {
			t.Error("there are several keys")
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files are left", len(entries))
	}
}

func TestNothingShows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	key := fileKey(t, path)
	s := key.Sealer("p")
	text, err := os.ReadFile(path)
	must(t, err)
	for _, v := range []any{key, s, struct {
		k *Key
		s *Sealer
	}{key, s}, InFile(path)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, string(text[:16])) || strings.Contains(got, "aead") || strings.Contains(got, "gcm") {
				t.Errorf("%s of %T shows %s", verb, v, got)
			}
		}
	}
	for _, v := range []any{key, s} {
		if b, _ := json.Marshal(v); string(b) != "{}" {
			t.Errorf("JSON of %T: %s", v, b)
		}
	}
}

// ring is a keyring in memory.
type ring struct {
	secret string
	err    error
	hangs  chan struct{} // until it is closed; nil: no
}

func (r *ring) Get(service, account string) (string, error) {
	if r.hangs != nil {
		<-r.hangs
	}
	if r.err == nil && r.secret == "" {
		return "", ErrNoKey
	}
	return r.secret, r.err
}

func (r *ring) Set(service, account, secret string) error {
	r.secret = secret
	return r.err
}

func TestKeyring(t *testing.T) {
	r := &ring{}
	h := InKeyring(r, "urlsession", "test")
	if _, err := h.Key(t.Context(), false); !errors.Is(err, ErrNoKey) {
		t.Errorf("empty: %v", err)
	}
	key, err := h.Key(t.Context(), true)
	must(t, err)
	again, err := h.Key(t.Context(), true)
	must(t, err)
	if _, err := again.Sealer("p").Open(sealed(t, key.Sealer("p"), "x")); err != nil {
		t.Error("there are two keys")
	}
	if _, err := InKeyring(&ring{secret: "qXsecretZ7"}, "s", "a").Key(t.Context(), true); !errors.Is(err, ErrKey) || strings.Contains(err.Error(), "qXsecretZ7") {
		t.Errorf("no key: %v", err)
	}
	locked := errors.New("locked")
	if _, err := InKeyring(&ring{err: locked}, "s", "a").Key(t.Context(), true); !errors.Is(err, locked) {
		t.Errorf("locked: %v", err)
	}
}

func TestKeyringThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ring{hangs: make(chan struct{})}
		start := time.Now()
		if _, err := InKeyring(r, "s", "a").Key(t.Context(), true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if waited := time.Since(start); waited != keyringWait {
			t.Errorf("it waited %v", waited)
		}
		close(r.hangs)
	})
}

func TestNoSessionBus(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	if _, err := os.Stat(fmt.Sprintf("/run/user/%d/bus", os.Getuid())); err == nil {
		t.Skip("there is a session bus")
	}
	_, err := InKeyring(SystemKeyring(), "urlsession test", "none").Key(t.Context(), true)
	if err == nil || !strings.Contains(err.Error(), "no session bus") {
		t.Errorf("got %v", err)
	}
}
