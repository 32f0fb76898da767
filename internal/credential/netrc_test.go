package credential

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

func TestNetrc(t *testing.T) {
	n, err := ParseNetrc("# who I am\n" +
		"machine example.com login alice password s3cret\n" +
		"machine example.com\n\tlogin bob\n\taccount x\n\tpassword \"two words \\\"and\\\\ more\\t\"\n" +
		"macdef init\ncd /pub\nmachine evil.example login a password b\n\n" +
		"machine EXAMPLE.org. password # login dave\n" + // the password is #
		"machine bücher.example password only # a comment\n" +
		"machine empty.example\n" +
		"default login anonymous password me@example.com\n")
	must(t, err)
	for _, c := range []struct{ host, user, wantUser, wantPassword string }{
		{"example.com", "", "alice", "s3cret"},
		{"Example.COM.", "bob", "bob", `two words "and\ more` + "\t"},
		{"example.com", "carol", "", ""},
		{"example.org", "", "dave", "#"},
		{"xn--bcher-kva.example", "erin", "erin", "only"},
		{"evil.example", "", "anonymous", "me@example.com"},
		{"empty.example", "", "anonymous", "me@example.com"},
		{"", "", "anonymous", "me@example.com"},
	} {
		got, ok := n.Find(c.host, c.user)
		if ok != (c.wantUser != "") || got.User != c.wantUser || got.Password.Reveal() != c.wantPassword {
			t.Errorf("%s of %s: %s %q, %v", c.user, c.host, got.User, got.Password.Reveal(), ok)
		}
	}
	if _, ok := (*Netrc)(nil).Find("example.com", ""); ok {
		t.Error("none has one")
	}
	for text, want := range map[string]string{
		"machine a login b\npasswort " + marker:           "line 2",
		"\n\nlogin " + marker:                             "line 3: login stands before any machine",
		"machine":                                         "line 1: machine has no value",
		"machine a password \"" + marker:                  "not closed",
		"machine a password \"" + marker + "\n\"":         "not closed",
		"machine a\nlogin \"a\" password \"x\" " + marker: "line 2",
		"machine \"\" login x":                            "no name",
	} {
		_, err := ParseNetrc(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), marker) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestReadNetrc(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".netrc")
	must(t, os.WriteFile(path, []byte("machine a login b password "+marker), 0o600))
	n, warning, err := ReadNetrc(path)
	must(t, err)
	if c, ok := n.Find("a", ""); !ok || c.Password.Reveal() != marker || warning != nil {
		t.Errorf("%v, %v", c, warning)
	}
	must(t, os.Chmod(path, 0o644))
	n, warning, err = ReadNetrc(path)
	if n == nil || err != nil || !errors.Is(warning, task.NoPermission) || !strings.Contains(warning.Error(), "0644") {
		t.Errorf("%v, %v", warning, err)
	}
	must(t, os.WriteFile(path, []byte("password "+marker), 0o600))
	if _, _, err = ReadNetrc(path); !errors.Is(err, task.CannotOpenFile) || strings.Contains(err.Error(), marker) {
		t.Errorf("ill formed: %v", err)
	}
	must(t, os.Truncate(path, maxNetrc+1))
	if _, _, err = ReadNetrc(path); err == nil {
		t.Error("a huge one was read")
	}
	must(t, os.Remove(path))
	if _, _, err = ReadNetrc(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	must(t, syscall.Mkfifo(path, 0o600))
	if _, _, err = ReadNetrc(path); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a FIFO: %v", err)
	}
}

func FuzzNetrc(f *testing.F) {
	f.Add("machine a login b password \"c d\"\nmacdef x\ny\n\ndefault login e")
	f.Add("#\n#")
	f.Add("macdef a\n\r\nmachine \\")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseNetrc(text)
		if (n == nil) == (err == nil) {
			t.Fatalf("%v, %v", n, err)
		}
		if n != nil {
			n.Find("a", "")
		}
	})
}

// Servers get what the file has, proxies nothing, not the default either.
func TestNetrcIsForServers(t *testing.T) {
	n, err := ParseNetrc("default login anonymous password secret")
	if err != nil {
		t.Fatal(err)
	}
	a := NewAuthenticator(nil, Policy{Netrc: n})
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://example.com/", nil)
	proxy, _ := url.Parse("http://example.com:3128")
	for want, x := range map[Action]*Exchange{Send: a.Begin(req), Deliver: a.BeginProxy(proxy, req)} {
		status, field := 401, "Www-Authenticate"
		if want == Deliver {
			status, field = 407, "Proxy-Authenticate"
		}
		resp := &http.Response{StatusCode: status, Request: req, Header: http.Header{field: {`Basic realm="r"`}}}
		if step := x.Next(resp); step.Action != want {
			t.Errorf("%v: %v, want %v", x, step.Action, want)
		}
	}
}
