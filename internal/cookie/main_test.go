package cookie

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var _ http.CookieJar = (*Storage)(nil)

// A test starts this binary anew as one of these, in order to kill it or to run several at once.
const childEnv = "COOKIE_TEST_CHILD"

var children = map[string]func(path string){"rewrite": childRewrite, "share": childShare}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		time.AfterFunc(time.Minute, func() { os.Exit(3) }) // whatever becomes of the parent
		children[name](os.Getenv(childEnv + "_PATH"))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// gcm is a Sealer of one key.
type gcm struct{ aead cipher.AEAD }

func newSealer(key string) Sealer {
	block, err := aes.NewCipher([]byte(fmt.Sprintf("%-32s", key)))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return gcm{aead}
}

func (g gcm) Seal(secret []byte) ([]byte, error) {
	return g.aead.Seal(nil, nil, secret, []byte("cookies")), nil
}

func (g gcm) Open(sealed []byte) ([]byte, error) {
	secret, err := g.aead.Open(nil, nil, sealed, []byte("cookies"))
	if err != nil {
		return nil, ErrDamaged
	}
	return secret, nil
}

// plain is no Sealer to use: it shows what is sealed.
type plain struct{}

func (plain) Seal(b []byte) ([]byte, error) { return b, nil }
func (plain) Open(b []byte) ([]byte, error) { return b, nil }

func parseURL(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// sent is the Cookie field of a request for raw.
func sent(t testing.TB, s *Storage, raw string) string {
	t.Helper()
	return FieldValue(s.Cookies(parseURL(t, raw)))
}

// receive has raw's server set fields, and returns why some were refused.
func receive(t testing.TB, s *Storage, raw string, fields ...string) error {
	t.Helper()
	return s.Receive(parseURL(t, raw), fields)
}

// mustReceive is receive of what is not refused.
func mustReceive(t testing.TB, s *Storage, raw string, fields ...string) {
	t.Helper()
	if err := receive(t, s, raw, fields...); err != nil {
		t.Fatal(err)
	}
}

// summary tells the cookies of s, each as domain/path name=value, for comparison.
func summary(s *Storage) string {
	var b strings.Builder
	for _, c := range s.All() {
		fmt.Fprintf(&b, "%s%s %s=%s\n", c.Domain, c.Path, c.Name, c.Value)
	}
	return b.String()
}

func refusedWith(err error, reason string) bool {
	var r *Refusal
	return errors.As(err, &r) && strings.Contains(err.Error(), reason)
}

// timeout bounds a wait that should take milliseconds.
func timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}
