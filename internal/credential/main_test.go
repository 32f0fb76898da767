package credential

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/urlsession/urlsession/internal/seal"
)

// A test starts this binary anew as one of these, in order to kill it or to run several at once.
const childEnv = "CREDENTIAL_TEST_CHILD"

var children = map[string]func(path string){"rewrite": childRewrite, "share": childShare}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		time.AfterFunc(time.Minute, func() { os.Exit(3) }) // whatever becomes of the parent
		children[name](os.Getenv(childEnv + "_PATH"))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// marker is the secret that must not show.
const marker = "qXsecretZ7"

func user(name, password string) Credential {
	return Credential{User: name, Password: NewSecret(password), Persistence: Permanent}
}

func space(host, realm string, m Method) Space {
	return Space{Scheme: "https", Host: host, Port: 443, Realm: realm, Method: m}
}

// holders keep the key beside path.
func holders(path string) []seal.Holder { return []seal.Holder{seal.InFile(path + ".key")} }

// openStorage opens path. What Warn is told fails the test, unless warned is given.
func openStorage(t *testing.T, path string, warned *[]error) *Storage {
	t.Helper()
	s, err := Open(path, Options{Holders: holders(path), Warn: func(err error) {
		if warned == nil {
			t.Errorf("warned: %v", err)
		} else {
			*warned = append(*warned, err)
		}
	}})
	must(t, err)
	return s
}

// ring is a keyring in memory.
type ring struct {
	secret string
	err    error
}

func (r *ring) Get(_, _ string) (string, error) {
	if r.err == nil && r.secret == "" {
		return "", seal.ErrNoKey
	}
	return r.secret, r.err
}

func (r *ring) Set(_, _, secret string) error {
	if r.err == nil {
		r.secret = secret
	}
	return r.err
}

var errLocked = errors.New("the keyring is locked")

// timeout bounds a wait that should take milliseconds.
func timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}
