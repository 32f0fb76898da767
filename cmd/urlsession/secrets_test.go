package main

import (
	"bytes"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/urlsession/urlsession"
)

func TestHasPassword(t *testing.T) {
	for raw, want := range map[string]bool{
		"http://u:p@h/": true, "http://u:@h/": true, "http://u:p@h:bad/": true, "http://u:%zz@h/": true, "socks5://u:p@h": true,
		"http://u@h/": false, "http://h/a:b@c": false, "file:name@x": false, "": false, "http://h:80/": false, "http://[::1]:x/@": false,
	} {
		if got := hasPassword(raw); got != want {
			t.Errorf("hasPassword(%q) = %v", raw, got)
		}
	}
}

func TestRedact(t *testing.T) {
	for raw, want := range map[string]string{
		"http://h/p":                 "http://h/p",
		"http://u:S3CRET@h/p":        "http://h/p",
		"http://h/p?t=S3CRET#f":      "http://h/p?REDACTED",
		"http://u:S3CRET@h:x/p?q":    "h:x/p",
		"http://h/p#token=S3CRET":    "http://h/p",
		"http://S3CRET@h/%zz?S3CRET": "h/%zz",
	} {
		if got := redact(raw); got != want {
			t.Errorf("redact(%q) = %q, want %q", raw, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("http://", "h/p?q")
	f.Add("http://a:b@", "h:x/")
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.ContainsAny(before, "/?#@") || strings.Contains(after, "S3CRET") || strings.Contains(after, "@") {
			return
		}
		if got := redact("http://" + before + "S3CRET@h/" + after); strings.Contains(got, "S3CRET") {
			t.Errorf("%q", got)
		}
	})
}

func TestLoginIsForOneOrigin(t *testing.T) {
	l := &login{user: url.UserPassword("me", "p@:/?#")}
	const user = "me:p%40%3A%2F%3F%23@"
	for given, want := range map[string]string{
		"http://h/a": "http://" + user + "h/a", "http://H:80/b?x=@#@": "http://" + user + "H:80/b?x=@#@", "HTTP://h": "HTTP://" + user + "h",
		"http://other:pw@h/%2f//": "http://" + user + "h/%2f//", "http://h?@": "http://" + user + "h?@", "nonsense": "nonsense",
	} {
		if got, err := l.authorize(given); err != nil || got != want {
			t.Errorf("%s: %v, %s", given, err, got)
		}
	}
	for _, u := range []string{"https://h/", "http://h:8080/", "http://sub.h/", "http://evil/"} {
		if got, err := l.authorize(u); err == nil || got != "" {
			t.Errorf("%s: %v, %v", u, err, got)
		}
	}
	if got, err := (*login)(nil).authorize("http://h/"); err != nil || got != "http://h/" {
		t.Errorf("no login: %v, %s", err, got)
	}
}

func TestFailureLine(t *testing.T) {
	err := &urlsession.Error{Op: "download", URL: "http://h/", Code: urlsession.ErrBadServerResponse, StatusCode: 404, Err: errors.New("line\nbreak \x1b[31mred\u202e")}
	const want = "urlsession: l:3: http://h/p?REDACTED: bad server response (-1011), HTTP 404: line break ?[31mred?"
	if got := failureLine("l:3", "http://u:p@h/p?q", err); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// What goes wrong before anything is transferred is usage, and names no secret.
func TestUsageNamesNoSecret(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, args := range [][]string{
		{"download", "--user", "me:S3CRET", "http://h/"},
		{"download", "http://me:S3CRET@h/"},
		{"download", "http://me:S3CRET@h:x/"},
		{"download", "--proxy", "http://me:S3CRET@h", "http://h/"},
		{"download", "--proxy", "http://me:S3CRET@h:x", "http://h/"},
		{"data", "-H", "Authorization: S3CRET", "http://h/"},
		{"data", "-H", "authorization:S3CRET", "http://h/"},
		{"upload", "-H", "Cookie: S3CRET", "f", "http://h/"},
	} {
		var stdout, stderr bytes.Buffer
		if status := execute(args, stdio{strings.NewReader(""), &stdout, &stderr}); status != exitUsage {
			t.Errorf("%q: exit status %d", args, status)
		}
		if s := stdout.String() + stderr.String(); strings.Contains(s, "S3CRET") || !strings.Contains(s, "ps shows") {
			t.Errorf("%q: %s", args, s)
		}
	}
}

func TestReadHeaders(t *testing.T) {
	got, err := readHeaders([]string{"A: 1", "@-", "a:2"}, strings.NewReader("B: x: y\r\n\n# no\nC:\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got["A"]) != 2 || got.Get("B") != "x: y" || len(got["C"]) != 1 || len(got) != 3 {
		t.Errorf("%v", got)
	}
	for _, bad := range []string{"novalue S3CRET", ": S3CRET", "@/none/there"} {
		if _, err := readHeaders([]string{bad}, io.LimitReader(nil, 0)); err == nil || strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
