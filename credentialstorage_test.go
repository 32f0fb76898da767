package urlsession

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/credential"
)

const credentialMarker = "marker9d41"

var exampleSpace = ProtectionSpace{Scheme: "https", Host: "example.com", Port: 443}

// newHome is a folder where this process's applications keep what lasts, and nothing of other tests.
func newHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("XDG_DATA_HOME", home)
	forgetCredentials()
	t.Cleanup(forgetCredentials)
	return home
}

// forgetCredentials has this process open the applications' files anew, as another would.
func forgetCredentials() {
	applicationCredentials.Lock()
	defer applicationCredentials.Unlock()
	applicationCredentials.all = nil
}

// ofApplication is a default session of the application.
func ofApplication(t *testing.T, application string) *Session {
	t.Helper()
	c := Default()
	c.Application = application
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func user(name, password string) Credential {
	return Credential{User: name, Password: password, Persistence: PersistencePermanent}
}

// wantHidden looks for the marker in what lies below folders.
func wantHidden(t *testing.T, marker string, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		for _, path := range files(t, dir) {
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %v, %v", path, info, err)
			}
			if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(marker)) || strings.Contains(path, marker) {
				t.Errorf("%s has the secret", path)
			}
		}
	}
}

func TestDefaultCredentialsLast(t *testing.T) {
	home := newHome(t)
	s := ofApplication(t, "app")
	storage := s.CredentialStorage()
	if got := files(t, home); len(got) > 0 {
		t.Errorf("New has made %v", got)
	}
	if _, ok := storage.Default(exampleSpace); ok || len(files(t, home)) > 0 {
		t.Errorf("without a credential there are %v", files(t, home))
	}
	fleeting := user("fleeting", "p")
	fleeting.Persistence = PersistenceForSession
	for _, c := range []Credential{fleeting, user("me", credentialMarker)} {
		if err := storage.Set(t.Context(), exampleSpace, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	other := ofApplication(t, "other").CredentialStorage()
	if all := other.All(); len(all) > 0 {
		t.Errorf("another application has %v", all)
	}
	c := Default()
	c.Application, c.CredentialStorage = "app", other
	if s, err := New(c); err != nil || s.CredentialStorage() != other {
		t.Errorf("a storage that was chosen is not used: %v", err)
	} else {
		s.Close()
	}
	if all := ofApplication(t, "app").CredentialStorage().All(); len(all) != 2 {
		t.Errorf("another session of the application has %v", all)
	}
	wantHidden(t, credentialMarker, home)

	forgetCredentials()
	s = ofApplication(t, "app")
	got, ok := s.CredentialStorage().Default(ProtectionSpace{Scheme: "HTTPS", Host: "Example.COM", Realm: "any", Method: AuthDigest})
	if !ok || got.User != "me" || got.Password != credentialMarker || got.Persistence != PersistencePermanent {
		t.Errorf("the next process has %v, %v", got, ok)
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := s.CredentialStorage().All(); len(all) > 0 {
		t.Errorf("after Reset there are %v", all)
	}
	if got := files(t, filepath.Join(home, "urlsession", "app")); len(got) != 1 || filepath.Base(got[0]) != "credentials.key" {
		t.Errorf("after Reset there are %v", got)
	}
	if err := s.Flush(t.Context()); err != nil || len(files(t, filepath.Join(home, "urlsession", "app"))) != 1 {
		t.Errorf("Flush after Reset: %v", err)
	}
}

func TestCredentialsOfASpace(t *testing.T) {
	for name, storage := range map[string]*CredentialStorage{"memory": NewCredentialStorage(), "file": openCredentials(t)} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			narrow := exampleSpace
			narrow.Realm, narrow.Method = "r", AuthBasic
			token := Credential{Token: "t", Persistence: PersistencePermanent}
			for _, err := range []error{
				storage.Set(ctx, exampleSpace, user("a", "1")), storage.Set(ctx, exampleSpace, user("b", "2")),
				storage.Set(ctx, narrow, user("c", "3")), storage.Set(ctx, exampleSpace, token),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if c, ok := storage.Default(exampleSpace); ok {
				t.Errorf("of three none is the default, and it is %v", c)
			}
			if err := storage.SetDefault(ctx, exampleSpace, user("b", "2b")); err != nil {
				t.Fatal(err)
			}
			if c, _ := storage.Default(exampleSpace); c.User != "b" || c.Password != "2b" {
				t.Errorf("the default is %v", c)
			}
			users := func(s ProtectionSpace) (names []string) {
				for _, c := range storage.Credentials(s) {
					names = append(names, c.User+c.Token)
				}
				return names
			}
			if got := users(narrow); len(got) != 3 || got[0] != "c" {
				t.Errorf("the space of a realm has %q", got)
			}
			bearer := exampleSpace
			bearer.Method = AuthBearer
			if got := users(bearer); !slices.Equal(got, []string{"t"}) {
				t.Errorf("of tokens there are %q", got)
			}
			if all := storage.All(); len(all) != 4 || all[0].Space != exampleSpace {
				t.Errorf("there are %v", all)
			}
			for _, c := range []Credential{{User: "a"}, {Token: "x"}, {User: "nobody"}} {
				if err := storage.Remove(ctx, exampleSpace, c); err != nil {
					t.Error(err)
				}
			}
			if got := users(exampleSpace); !slices.Equal(got, []string{"b"}) {
				t.Errorf("after Remove there are %q", got)
			}
			if err := storage.Reset(ctx); err != nil || len(storage.All()) > 0 {
				t.Errorf("after Reset there are %v, %v", storage.All(), err)
			}
		})
	}
}

func openCredentials(t *testing.T) *CredentialStorage {
	t.Helper()
	s, err := OpenCredentialStorage(filepath.Join(t.TempDir(), "c"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCredentialsThatAreRefused(t *testing.T) {
	s := NewCredentialStorage()
	in := func(change func(*ProtectionSpace)) ProtectionSpace {
		space := exampleSpace
		change(&space)
		return space
	}
	for name, test := range map[string]struct {
		space ProtectionSpace
		c     Credential
		says  string
	}{
		"nothing":            {exampleSpace, Credential{Persistence: PersistencePermanent}, "empty"},
		"for one request":    {exampleSpace, Credential{User: "u"}, "PersistenceForSession"},
		"no scheme":          {in(func(s *ProtectionSpace) { s.Scheme = "" }), user("u", "p"), "scheme"},
		"socks5, no proxy":   {in(func(s *ProtectionSpace) { s.Scheme = "socks5" }), user("u", "p"), "scheme"},
		"no host":            {in(func(s *ProtectionSpace) { s.Host = "" }), user("u", "p"), "host"},
		"a host with a user": {in(func(s *ProtectionSpace) { s.Host = "u@h" }), user("u", "p"), "host"},
		"a port":             {in(func(s *ProtectionSpace) { s.Port = 70000 }), user("u", "p"), "port"},
		"server trust":       {in(func(s *ProtectionSpace) { s.Method = AuthServerTrust }), user("u", "p"), "method"},
		"a token for Basic":  {in(func(s *ProtectionSpace) { s.Method = AuthBasic }), Credential{Token: "t", Persistence: PersistencePermanent}, "Bearer"},
		"a line in a token":  {exampleSpace, Credential{Token: "t\r\nX: y", Persistence: PersistencePermanent}, "line break"},
		"a user for Bearer":  {in(func(s *ProtectionSpace) { s.Method = AuthBearer }), user("u", "p"), "token"},
	} {
		if err := s.Set(t.Context(), test.space, test.c); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all := s.All(); len(all) > 0 {
		t.Errorf("there are %v", all)
	}
	for _, err := range []error{daemonCredentials.Set(t.Context(), exampleSpace, user("u", "p")), daemonCredentials.Reset(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), "Session.CredentialStorage") {
			t.Errorf("the daemon's: %v", err)
		}
	}
	if _, err := OpenCredentialStorage(filepath.Join(t.TempDir(), "none", "c")); err == nil {
		t.Error("a folder that is missing was no error")
	}
	for _, name := range []string{"a/b", ".."} {
		if _, err := ApplicationCredentialStorage(name); err == nil {
			t.Errorf("%q was no error", name)
		}
	}
}

func TestStoredCredentialsDoNotShow(t *testing.T) {
	s := NewCredentialStorage()
	token := Credential{User: "me", Token: credentialMarker, Persistence: PersistenceForSession}
	for _, c := range []Credential{user("me\x00\"", credentialMarker), token} {
		if err := s.Set(t.Context(), exampleSpace, c); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	text := slog.New(slog.NewTextHandler(&out, nil))
	for _, c := range s.All() {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+verb+verb, c, &c, c.Credential)
		}
		b, err := json.Marshal(c)
		if err != nil || !json.Valid(b) {
			t.Errorf("%s, %v", b, err)
		}
		out.Write(b)
		log.Info("stored", "credential", c)
		text.Info("stored", "credential", c.Credential)
	}
	fmt.Fprintf(&out, "%v %+v %#v", s, s, s)
	if hex := fmt.Sprintf("%x", credentialMarker); strings.Contains(out.String(), credentialMarker) || strings.Contains(out.String(), hex) {
		t.Errorf("it shows: %s", out.String())
	}
}

// TestNoPlaceForCredentials: sessions work, with credentials in memory, and who stores one is told why it does not last.
func TestNoPlaceForCredentials(t *testing.T) {
	for name, spoil := range map[string]func(home string){
		"a folder that cannot be made": func(home string) {
			if err := os.Symlink("nowhere", filepath.Join(home, "urlsession")); err != nil {
				t.Fatal(err)
			}
		},
		"no home": func(string) {
			t.Setenv("XDG_DATA_HOME", "relative")
			t.Setenv("HOME", "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			spoil(newHome(t))
			s := ofApplication(t, "app")
			storage := s.CredentialStorage()
			if err := storage.Set(t.Context(), exampleSpace, user("me", "p")); err == nil || len(storage.All()) > 0 {
				t.Errorf("Set: %v, and there are %v", err, storage.All())
			}
			if err := s.Flush(t.Context()); err != nil {
				t.Errorf("with nothing to keep: %v", err)
			}
			taken := storage.storage.Keep(t.Context(), storedFor("me"))
			if storage.homeless == nil && taken == nil {
				t.Error("Keep was no error")
			}
			if c, ok := storage.Default(exampleSpace); !ok || c.User != "me" {
				t.Errorf("what a server has taken is not in memory: %v", c)
			}
			for _, err := range []error{s.Flush(t.Context()), s.Close()} {
				if err == nil || !strings.Contains(err.Error(), "credential file") {
					t.Errorf("it says %v", err)
				}
			}
			s = ofApplication(t, "app")
			if err := s.Reset(t.Context()); err != nil {
				t.Errorf("Reset: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("after Reset: %v", err)
			}
		})
	}
}

// runCredentialsProcess is a program of the application that stores credentials, told by CREDENTIALS_TEST: the name of their
// users, how many, and a file that it names each in once it is stored.
func runCredentialsProcess() int {
	var name, log string
	var count int
	if _, err := fmt.Sscan(os.Getenv("CREDENTIALS_TEST"), &name, &count, &log); err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := Default()
	c.Application = "app"
	s, err := New(c)
	if err != nil {
		return fail(err)
	}
	defer s.Close()
	told, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fail(err)
	}
	defer told.Close()
	for i := range count {
		who := fmt.Sprintf("%s%d", name, i)
		if err := s.CredentialStorage().Set(ctx, exampleSpace, user(who, "of "+who)); err != nil {
			return fail(err)
		}
		if _, err := fmt.Fprintln(told, who); err != nil {
			return fail(err)
		}
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// storing starts that program.
func storing(t *testing.T, name string, count int) (cmd *exec.Cmd, stored func() []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	log := filepath.Join(t.TempDir(), "log")
	cmd = exec.CommandContext(ctx, os.Args[0], "credentials")
	cmd.Env = append(os.Environ(), fmt.Sprintf("CREDENTIALS_TEST=%s %d %s", name, count, log))
	cmd.Stderr, _ = os.Create(log + ".err")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if f, ok := cmd.Stderr.(*os.File); ok {
			f.Close()
		}
		if text, _ := os.ReadFile(log + ".err"); t.Failed() && len(text) > 0 {
			t.Logf("%s: %s", name, text)
		}
	})
	return cmd, func() []string {
		text, _ := os.ReadFile(log)
		return strings.Fields(string(text))
	}
}

// wantStored looks for users and their passwords in the file of the application.
func wantStored(t *testing.T, users ...string) {
	t.Helper()
	forgetCredentials()
	have := map[string]string{}
	for _, c := range ofApplication(t, "app").CredentialStorage().All() {
		have[c.Credential.User] = c.Credential.Password
	}
	for _, who := range users {
		if have[who] != "of "+who {
			t.Errorf("the credential of %s is lost, or another's", who)
		}
	}
}

// TestTwoProcessesOneCredentialFile: each stores and loses nothing of the other's, nor of this process's.
func TestTwoProcessesOneCredentialFile(t *testing.T) {
	newHome(t)
	const count = 20
	a, storedA := storing(t, "a", count)
	b, storedB := storing(t, "b", count)
	s := ofApplication(t, "app")
	var mine []string
	for i := range count {
		who := fmt.Sprintf("c%d", i)
		if err := s.CredentialStorage().Set(t.Context(), exampleSpace, user(who, "of "+who)); err != nil {
			t.Fatal(err)
		}
		mine = append(mine, who)
	}
	for _, cmd := range []*exec.Cmd{a, b} {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if got := len(storedA()) + len(storedB()); got != 2*count {
		t.Errorf("the others have stored %d", got)
	}
	wantStored(t, slices.Concat(mine, storedA(), storedB())...)
}

// TestKilledWhileStoring: what Set has returned for is there, whole, whenever the process was killed.
func TestKilledWhileStoring(t *testing.T) {
	newHome(t)
	for round := range 5 {
		cmd, stored := storing(t, fmt.Sprintf("r%d-", round), 1_000_000)
		for until := time.Now().Add(patience); len(stored()) < 3+round; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("nothing is stored")
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		wantStored(t, stored()...)
	}
	if aside, _ := filepath.Glob(filepath.Join(os.Getenv("XDG_DATA_HOME"), "urlsession", "app", "*.corrupt-*")); len(aside) > 0 {
		t.Errorf("files were set aside: %v", aside)
	}
	if err := ofApplication(t, "app").CredentialStorage().Set(t.Context(), exampleSpace, user("after", "p")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func storedFor(name string) credential.Stored {
	space, _ := spaceOf(exampleSpace)
	return credential.Stored{Space: space, Credential: credentialOf(user(name, "p")), Default: true}
}

func TestSpaceOf(t *testing.T) {
	for url, want := range map[string]ProtectionSpace{
		"https://Bücher.example/path?q": {Scheme: "https", Host: "xn--bcher-kva.example", Port: 443},
		"HTTP://[::1]:8080":             {Scheme: "http", Host: "::1", Port: 8080},
		"socks5://proxy.example:1081":   {Scheme: "socks5", Host: "proxy.example", Port: 1081},
		"socks5h://proxy.example":       {Scheme: "socks5", Host: "proxy.example", Port: 1080},
	} {
		if got, err := SpaceOf(url); err != nil || got != want {
			t.Errorf("%s: %+v, %v", url, got, err)
		}
	}
	for url, code := range map[string]Code{
		"": ErrBadURL, "example.com": ErrBadURL, "//example.com": ErrBadURL, "http://": ErrBadURL, "http://h:99999": ErrBadURL,
		"http://h:0": ErrBadURL, "ftp://h": ErrUnsupportedURL, "file:///f": ErrUnsupportedURL, "http://u:hunter2@h:x": ErrBadURL,
	} {
		if got, err := SpaceOf(url); !errors.Is(err, code) || got != (ProtectionSpace{}) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %+v, %v; want %v", url, got, err, code)
		}
	}
}
