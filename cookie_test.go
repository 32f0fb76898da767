package urlsession

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestCookiesAreNotShown(t *testing.T) {
	c := Cookie{Name: "k", Value: cookieMarker, Domain: "example.org", Path: "/p"}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{string(text)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c), fmt.Sprintf(verb, []Cookie{c}))
	}
	for _, s := range shown {
		if strings.Contains(s, cookieMarker) || strings.Contains(s, fmt.Sprintf("%x", cookieMarker)) || !strings.Contains(s, "example.org") {
			t.Errorf("shown as %s", s)
		}
	}
}

func TestCookieStorage(t *testing.T) {
	s := NewCookieStorage()
	soon := time.Now().Add(time.Hour)
	set := func(c Cookie) {
		t.Helper()
		if err := s.Set(c); err != nil {
			t.Fatal(err)
		}
	}
	set(Cookie{Name: "all", Value: "1", Domain: "example.org"})
	set(Cookie{Name: "www", Value: "2", Domain: "www.example.org", HostOnly: true, Path: "/p", Secure: true, Expires: soon})
	set(Cookie{Name: "other", Value: "3", Domain: "example.com"})
	if got := fmt.Sprint(s.For(parse(t, "https://www.example.org/p/q"))); got != `[cookie "www" of www.example.org/p cookie "all" of example.org/]` {
		t.Errorf("for the URL: %s", got)
	}
	if got := s.For(parse(t, "https://www.example.org/p"))[0]; got.Value != "2" || !got.HostOnly || !got.Secure || got.Expires.Sub(soon).Abs() > time.Second || got.Created.IsZero() {
		t.Errorf("%#v", got)
	}
	if got := s.For(parse(t, "http://www.example.org/p")); len(got) != 1 || got[0].Name != "all" {
		t.Errorf("without TLS: %v", got)
	}
	if got := s.OfDomain("example.org"); len(got) != 2 {
		t.Errorf("of the domain: %v", got)
	}
	for _, bad := range []Cookie{{Domain: "example.org"}, {Name: "k", Domain: "co.uk"}, {Name: "__Host-k", Value: "v", Domain: "example.org", HostOnly: true}} {
		if err := s.Set(bad); err == nil || !strings.Contains(err.Error(), "set cookie") {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if !s.Remove(s.OfDomain("example.com")[0]) || s.Remove(Cookie{Name: "none", Domain: "example.com", Path: "/"}) {
		t.Error("Remove says otherwise")
	}
	if n := s.RemoveSince(time.Now().Add(time.Minute)); n != 0 {
		t.Errorf("%d of the future are removed", n)
	}
	if n := s.RemoveDomain("www.example.org"); n != 1 {
		t.Errorf("%d of the domain are removed", n)
	}
	if n := s.RemoveSince(time.Now().Add(-time.Minute)); n != 1 || len(s.All()) > 0 {
		t.Errorf("%d are removed, and there are %v", n, s.All())
	}
}

func TestImportAndExport(t *testing.T) {
	const text = "# Netscape HTTP Cookie File\n" +
		"example.org\tFALSE\t/\tTRUE\t4000000000\tk\t" + cookieMarker + "\n" +
		".example.org\tTRUE\t/\tFALSE\t0\tfleeting\t1\n" +
		"example.org\tFALSE\t/\tFALSE\t1000000000\told\t1\n" +
		"nonsense " + cookieMarker + "\n" +
		".co.uk\tTRUE\t/\tFALSE\t0\tall\t1\n"
	s := NewCookieStorage()
	if err := s.Set(Cookie{Name: "old", Value: "is new", Domain: "example.org", HostOnly: true}); err != nil {
		t.Fatal(err)
	}
	n, err := s.Import(strings.NewReader(text))
	if n != 2 || len(s.All()) != 3 {
		t.Errorf("%d are taken, and there are %v", n, s.All())
	}
	if err == nil || !strings.Contains(err.Error(), "line 5") || !strings.Contains(err.Error(), "co.uk") || strings.Contains(err.Error(), cookieMarker) {
		t.Errorf("%v", err)
	}
	failing := errors.New("failing")
	if n, err := s.Import(iotest.TimeoutReader(iotest.ErrReader(failing))); n != 0 || !errors.Is(err, failing) {
		t.Errorf("%d, %v", n, err)
	}
	var out bytes.Buffer
	if err := s.Export(&out); err != nil {
		t.Fatal(err)
	}
	again := NewCookieStorage()
	if n, err := again.Import(&out); n != 3 || err != nil {
		t.Errorf("what is exported: %d, %v", n, err)
	}
	if got := again.OfDomain("example.org")[1]; got.Name != "k" || got.Value != cookieMarker || !got.Secure {
		t.Errorf("%v", got)
	}
	if err := s.Set(Cookie{Name: "tab", Value: "a\tb", Domain: "example.org"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Export(&out); err == nil || !strings.Contains(err.Error(), "TAB") {
		t.Errorf("a TAB: %v", err)
	}
}

// TestOpenCookieStorage: two storages on one file are as two processes.
func TestOpenCookieStorage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "jar")
	open := func() *CookieStorage {
		t.Helper()
		s, err := OpenCookieStorage(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := open()
	if got := files(t, dir); len(got) > 0 {
		t.Errorf("to open it makes %v", got)
	}
	if err := a.Set(Cookie{Name: "k", Value: cookieMarker, Domain: "example.org", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, file := range files(t, dir) {
		if text, err := os.ReadFile(file); err != nil || bytes.Contains(text, []byte(cookieMarker)) {
			t.Errorf("%s is not sealed, or %v", file, err)
		}
	}
	b := open()
	if got := b.All(); len(got) != 1 || got[0].Value != cookieMarker {
		t.Errorf("the other has %v", got)
	}
	b.RemoveDomain("example.org")
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(t.Context()); err != nil || len(a.All()) > 0 {
		t.Errorf("the first has %v, %v", a.All(), err)
	}
	if err := a.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 1 || got[0] != path+".key" {
		t.Errorf("after Reset there are %v", got)
	}
	if _, err := OpenCookieStorage(filepath.Join(dir, "none", "jar")); !errors.Is(err, ErrCannotOpenFile) {
		t.Errorf("without a folder: %v", err)
	}
}

// TestWhichCookieStorage a session has.
func TestWhichCookieStorage(t *testing.T) {
	j := newJarTest(t)
	app, err := ApplicationCookieStorage("app")
	if err != nil {
		t.Fatal(err)
	}
	if s := j.session("app"); s.CookieStorage() != app {
		t.Error("a default session has another than its application's")
	}
	if got, err := ApplicationCookieStorage(""); err != nil || Default().CookieStorage != got {
		t.Errorf("the empty name is not the executable's: %v", err)
	}
	if _, err := ApplicationCookieStorage("a/b"); err == nil || !strings.Contains(err.Error(), "application's name") {
		t.Errorf("a bad name: %v", err)
	}
	mine := NewCookieStorage()
	for name, c := range map[string]struct{ set, want *CookieStorage }{
		"another application's":   {app, app},
		"one of the app's own":    {mine, mine},
		"none, by its typed name": {nil, nil},
	} {
		for _, config := range []Configuration{Default(), Ephemeral()} {
			config.Application = "third"
			config.CookieStorage = c.set
			s, err := New(config)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.CookieStorage(); got != c.want || c.want == nil && s.Configuration().CookieStorage != nil {
				t.Errorf("%s: %v", name, got)
			}
			s.Close()
		}
	}
	if got := files(t, j.home); len(got) > 0 {
		t.Errorf("there are %v", got)
	}
}
