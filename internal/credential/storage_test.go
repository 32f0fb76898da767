package credential

import (
	"errors"
	"fmt"
	"net/url"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

func TestSpace(t *testing.T) {
	for raw, want := range map[string]string{
		"https://u:p@Example.COM./a?b": "https://example.com:443",
		"http://example.com":           "http://example.com:80",
		"HTTP://[::1]:8080/":           "http://[::1]:8080",
		"https://bücher.example/":      "https://xn--bcher-kva.example:443",
	} {
		u, err := url.Parse(raw)
		must(t, err)
		if got := Origin(u).String(); got != want {
			t.Errorf("%s: %s", raw, got)
		}
	}
	for raw, want := range map[string]string{
		"http://p:3128": "proxy http://p:3128", "socks5h://p": "proxy socks5://p:1080", "//p": "proxy http://p:80",
	} {
		u, err := url.Parse(raw)
		must(t, err)
		if got := Proxy(u).String(); got != want {
			t.Errorf("%s: %s", raw, got)
		}
	}
	s := space("h", "the realm", Digest)
	if got := s.String(); got != `https://h:443 "the realm" (Digest)` {
		t.Error(got)
	}
}

// each calls fn with a Storage in memory, and one in a file.
func each(t *testing.T, fn func(t *testing.T, s *Storage)) {
	t.Run("memory", func(t *testing.T) { fn(t, New()) })
	t.Run("file", func(t *testing.T) { fn(t, openStorage(t, t.TempDir()+"/credentials", nil)) })
}

// users tells those of a list in order.
func users(list []Credential) (names string) {
	for _, c := range list {
		names += c.User + c.Certificate + " "
	}
	return names
}

func TestStorage(t *testing.T) {
	each(t, func(t *testing.T, s *Storage) {
		ctx := t.Context()
		digest := space("h", "r", Digest)
		if _, ok := s.Default(digest); ok || s.All() != nil {
			t.Error("it is not empty")
		}
		must(t, s.Set(ctx, digest, user("alice", "a")))
		if c, ok := s.Default(digest); !ok || c.User != "alice" {
			t.Errorf("the only one: %v, %v", c, ok)
		}
		must(t, s.Set(ctx, digest, user("bob", "b")))
		if c, ok := s.Default(digest); ok {
			t.Errorf("of two, none is the default, but %v", c)
		}
		session := user("carol", "c")
		session.Persistence = Session
		must(t, s.SetDefault(ctx, digest, session))
		must(t, s.SetDefault(ctx, digest, user("bob", "b2")))
		if c, ok := s.Default(digest); !ok || c.User != "bob" || c.Password.Reveal() != "b2" {
			t.Errorf("the newer default: %v, %v", c, ok)
		}
		must(t, s.SetDefault(ctx, digest, session))
		if c, _ := s.Default(digest); c.User != "carol" {
			t.Errorf("the newest default: %v", c)
		}
		must(t, s.Set(ctx, space("h", "", AnyMethod), user("any", "x")))
		must(t, s.Set(ctx, space("h", "", AnyMethod), Credential{Certificate: "me", Persistence: Permanent}))
		must(t, s.Set(ctx, space("h", "", AnyMethod), Credential{User: "any", Token: NewSecret("t"), Persistence: Permanent}))
		for want, ask := range map[string]Space{
			"any":   space("h", "other", Basic),
			"me":    space("h", "", ClientCertificate),
			"carol": digest,
		} {
			if c, ok := s.Default(ask); !ok || c.User+c.Certificate != want {
				t.Errorf("%v: %v, %v", ask, c, ok)
			}
		}
		if c, ok := s.Default(space("h", "x", Bearer)); !ok || c.Token.Reveal() != "t" {
			t.Errorf("token: %v, %v", c, ok)
		}
		for _, other := range []Space{space("i", "r", Digest), {Scheme: "http", Host: "h", Port: 80}, {Scheme: "https", Host: "h", Port: 444},
			{Proxy: true, Scheme: "https", Host: "h", Port: 443, Realm: "r", Method: Digest}} {
			if c, ok := s.Default(other); ok {
				t.Errorf("%v has %v", other, c)
			}
		}
		if got := users(s.Credentials(digest)); len(got) != len("alice bob carol any ") {
			t.Errorf("credentials: %s", got)
		}
		if n := len(s.All()); n != 6 {
			t.Errorf("%d in all: %v", n, s.All())
		}
		must(t, s.Remove(ctx, digest, session))
		must(t, s.Remove(ctx, digest, session))
		must(t, s.Remove(ctx, digest, user("bob", "")))
		if c, ok := s.Default(digest); !ok || c.User != "alice" {
			t.Errorf("after removals: %v, %v", c, ok)
		}
		must(t, s.Flush(ctx))
		must(t, s.Reset(ctx))
		if s.All() != nil {
			t.Errorf("after a reset: %v", s.All())
		}
		for _, c := range []Credential{{}, {User: "u", Persistence: None}} {
			if err := s.Set(ctx, digest, c); !errors.Is(err, task.BadURL) {
				t.Errorf("%v: %v", c, err)
			}
		}
	})
}

func TestStorageOfManyGoroutines(t *testing.T) {
	each(t, func(t *testing.T, s *Storage) {
		done := make(chan error)
		for i := range 8 {
			go func() {
				c := user(fmt.Sprint("u", i), "p")
				if i%2 == 0 {
					c.Persistence = Session
				}
				err := s.Set(t.Context(), space("h", "r", Basic), c)
				s.Default(space("h", "r", Basic))
				s.All()
				done <- err
			}()
		}
		for range 8 {
			must(t, <-done)
		}
		if n := len(s.All()); n != 8 {
			t.Errorf("%d are there", n)
		}
	})
}

// Each request with a known credential asks for it.
func TestDefaultAllocatesNothing(t *testing.T) {
	s := New()
	space := Space{Scheme: "http", Host: "h", Port: 80, Realm: "r", Method: Basic}
	if err := s.Set(t.Context(), space.origin(), Credential{User: "u", Password: NewSecret("p"), Persistence: Session}); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := s.Default(space); !ok {
			t.Fatal("the credential is not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations a look", n)
	}
}
