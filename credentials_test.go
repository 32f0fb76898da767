package urlsession

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/transport"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// Authorization fields of me with the marker, and of others.
const (
	basicMe    = "Basic bWU6bWFya2VyOWQ0MQ=="
	basicWrong = "Basic bWU6d3Jvbmc="
)

// wants has the server ask for one value of Authorization at all paths.
func wants(srv *urlsessiontest.Server, challenge, value string) {
	srv.Publish("/", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	srv.Always(urlsessiontest.Every, urlsessiontest.When(func(r *http.Request) bool { return r.Header.Get("Authorization") != value },
		urlsessiontest.Unauthorized(challenge)))
}

// sentSince are the Authorization fields that the server has got since it had n requests.
func sentSince(srv *urlsessiontest.Server, n int) string {
	var all []string
	for _, r := range srv.Requests()[n:] {
		all = append(all, r.Header.Get("Authorization"))
	}
	return strings.Join(all, "|")
}

// asks runs a data task, and compares its status and what it sent.
func asks(t *testing.T, s *Session, srv *urlsessiontest.Server, url string, status int, sent ...string) {
	t.Helper()
	before := len(srv.Requests())
	_, resp, err := s.Data(within(t), Get(url))
	if err != nil || resp.StatusCode != status {
		t.Errorf("%v, %v", resp, err)
	}
	if got, want := sentSince(srv, before), strings.Join(sent, "|"); got != want {
		t.Errorf("it sends %q, want %q", got, want)
	}
}

func originSpace(t *testing.T, url string) ProtectionSpace {
	t.Helper()
	space, err := SpaceOf(url)
	if err != nil {
		t.Fatal(err)
	}
	return space
}

// TestStoredCredentialsAreSent when a server asks, and unasked from then on, until they are removed, or the session reset.
func TestStoredCredentialsAreSent(t *testing.T) {
	home := newHome(t)
	s, srv := start(t, nil)
	wants(srv, `Basic realm="r"`, basicMe)
	storage := s.CredentialStorage()
	space := originSpace(t, srv.URL)
	asks(t, s, srv, srv.URL, 401, "")
	for _, end := range []func() error{
		func() error { return storage.Remove(t.Context(), space, Credential{User: "me"}) },
		func() error { return storage.Reset(t.Context()) },
		func() error { return s.Reset(t.Context()) },
	} {
		if err := storage.Set(t.Context(), space, user("me", credentialMarker)); err != nil {
			t.Fatal(err)
		}
		asks(t, s, srv, srv.URL, 200, "", basicMe)
		asks(t, s, srv, srv.URL, 200, basicMe)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		asks(t, s, srv, srv.URL, 401, "")
	}
	if err := storage.Set(t.Context(), space, user("me", "wrong")); err != nil {
		t.Fatal(err)
	}
	asks(t, s, srv, srv.URL, 401, "", basicWrong)
	if c, ok := storage.Default(space); !ok {
		t.Errorf("a credential that was refused is gone: %v", c)
	}
	if got := files(t, home); len(got) > 0 {
		t.Errorf("an ephemeral session leaves %v", got)
	}
}

// TestCredentialsOfAnotherOrigin are not sent, though a redirect comes from an origin that has some.
func TestCredentialsOfAnotherOrigin(t *testing.T) {
	s, srv := start(t, nil)
	other := urlsessiontest.NewServer()
	defer other.Close()
	wants(other, `Basic realm="r"`, basicMe)
	wants(srv, `Basic realm="r"`, basicMe)
	srv.Always("/r", urlsessiontest.When(func(r *http.Request) bool { return r.Header.Get("Authorization") != "" },
		urlsessiontest.Redirect(http.StatusFound, other.URL+"/")))
	if err := s.CredentialStorage().Set(t.Context(), originSpace(t, srv.URL), user("me", credentialMarker)); err != nil {
		t.Fatal(err)
	}
	asks(t, s, srv, srv.URL, 200, "", basicMe)
	asks(t, s, other, srv.URL+"/r", 401, "")
}

// TestNoCredentialStorage: what a URL and a .netrc say is sent all the same.
func TestNoCredentialStorage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(path, []byte("machine 127.0.0.1 login me password "+credentialMarker+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	without := func(c *Configuration) { c.CredentialStorage = nil }
	s, srv := start(t, without)
	wants(srv, `Basic realm="r"`, basicMe)
	if s.CredentialStorage() != nil {
		t.Error("it has a storage")
	}
	asks(t, s, srv, srv.URL, 401, "")
	asks(t, s, srv, strings.Replace(srv.URL, "//", "//me:"+credentialMarker+"@", 1), 200, basicMe)
	if err := errors.Join(s.Flush(t.Context()), s.Reset(t.Context())); err != nil {
		t.Error(err)
	}
	s, srv = start(t, func(c *Configuration) { without(c); c.Netrc = path })
	wants(srv, `Basic realm="r"`, basicMe)
	asks(t, s, srv, srv.URL, 200, "", basicMe)
	asks(t, s, srv, srv.URL, 200, basicMe)
	if err := s.Reset(t.Context()); err != nil {
		t.Error(err)
	}
	asks(t, s, srv, srv.URL, 200, "", basicMe)
}

func TestNetrcOfAConfiguration(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "netrc")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad := write("machine h login me\npasswort " + credentialMarker)
	large := write("machine h login me password " + strings.Repeat("p", control.MaxNetrc))
	for name, test := range map[string]struct {
		c    Configuration
		path string
		says string
	}{
		"missing":               {Ephemeral(), filepath.Join(t.TempDir(), "none"), "none"},
		"malformed":             {Ephemeral(), bad, bad + ": cannot open file (-3001): line 2"},
		"malformed, background": {Background("s"), bad, bad + ": cannot open file (-3001): line 2"},
		"large, background":     {Background("s"), large, "Configuration.Netrc"},
	} {
		test.c.Netrc = test.path
		s, err := New(test.c)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), credentialMarker) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := Background("s")
	c.Netrc = write("machine h login me password p\n")
	w, err := c.wire(transport.Proxy{})
	if err != nil || w.Chain.Netrc != "machine h login me password p\n" || !w.Chain.Credentials {
		t.Errorf("the daemon gets %v, %v", w.Chain.Netrc != "", err)
	}
	c.Netrc, c.CredentialStorage = "", nil
	if w, err = c.wire(transport.Proxy{}); err != nil || w.Chain.Netrc != "" || w.Chain.Credentials {
		t.Errorf("the daemon gets %v, %v", w.Chain, err)
	}
}

// TestTokensAreRefreshed: once for a token, and the new one is what the storage has.
func TestTokensAreRefreshed(t *testing.T) {
	var calls atomic.Int32
	var asked ProtectionSpace
	s, srv := start(t, func(c *Configuration) {
		c.OnTokenRefresh = func(_ context.Context, space ProtectionSpace, refused Credential) (Credential, error) {
			calls.Add(1)
			asked = space
			if refused.Token != "old" || refused.Persistence != PersistencePermanent {
				return Credential{}, errors.New("it is another token")
			}
			return Credential{Token: credentialMarker}, nil
		}
	})
	const fresh = "Bearer " + credentialMarker
	wants(srv, `Bearer realm="api"`, fresh)
	space := originSpace(t, srv.URL)
	if err := s.CredentialStorage().Set(t.Context(), space, Credential{Token: "old", Persistence: PersistencePermanent}); err != nil {
		t.Fatal(err)
	}
	asks(t, s, srv, srv.URL, 200, "", "Bearer old", fresh)
	asks(t, s, srv, srv.URL, 200, fresh)
	space.Realm, space.Method = "api", AuthBearer
	if c, ok := s.CredentialStorage().Default(space); calls.Load() != 1 || asked != space || !ok || c.Token != credentialMarker {
		t.Errorf("after %d calls for %v the storage has %v, %v", calls.Load(), asked, c, ok)
	}
}

// A task that the refresh runs, below the context of the request that wants the token, uses the cache as its own request says.
func TestTokenRefreshHasItsOwnCachePolicy(t *testing.T) {
	const fresh = "Bearer " + credentialMarker
	tokens := urlsessiontest.NewServer()
	defer tokens.Close()
	tokens.Publish("/", urlsessiontest.Resource{Content: urlsessiontest.Bytes("old"), ETag: `"1"`,
		Header: http.Header{"Cache-Control": {"max-age=0"}}})
	var s *Session
	s, srv := start(t, func(c *Configuration) {
		c.OnTokenRefresh = func(ctx context.Context, _ ProtectionSpace, _ Credential) (Credential, error) {
			token, _, err := s.Data(ctx, Get(tokens.URL+"/"))
			return Credential{Token: string(token)}, err
		}
	})
	wants(srv, `Bearer realm="api"`, fresh)
	token, _, err := s.Data(within(t), Get(tokens.URL+"/"))
	if err == nil {
		err = s.CredentialStorage().Set(t.Context(), originSpace(t, srv.URL), Credential{Token: string(token), Persistence: PersistenceForSession})
	}
	if err != nil {
		t.Fatal(err)
	}
	tokens.Publish("/", urlsessiontest.Resource{Content: urlsessiontest.Bytes(credentialMarker), ETag: `"2"`})
	r := Get(srv.URL)
	r.CachePolicy = CacheReturnElseLoad
	if _, resp, err := s.Data(within(t), r); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestCredentialsOfKinds(t *testing.T) {
	for name, test := range map[string]struct {
		c      Configuration
		change func(*Configuration)
		field  string
	}{
		"an app's storage in the background": {Background("s"), func(c *Configuration) { c.CredentialStorage = NewCredentialStorage() }, "CredentialStorage"},
		"a refresh in the background": {Background("s"), func(c *Configuration) {
			c.OnTokenRefresh = func(context.Context, ProtectionSpace, Credential) (Credential, error) { return Credential{}, nil }
		}, "OnTokenRefresh"},
		"the daemon's in process": {Ephemeral(), func(c *Configuration) { c.CredentialStorage = Background("s").CredentialStorage }, "CredentialStorage"},
	} {
		test.change(&test.c)
		if _, err := New(test.c); err == nil || !strings.Contains(err.Error(), "Configuration."+test.field) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
