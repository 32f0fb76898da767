package partial

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestKey(t *testing.T) {
	// printf 'https://example.com/a?b\0/tmp/x' | sha256sum | cut -c1-8
	if got := Key("https://example.com/a?b", "/tmp/x"); got != "af835bd5" {
		t.Errorf("got %s", got)
	}
	if Key("ab", "c") == Key("a", "bc") {
		t.Error("URL and destination run into each other")
	}
	for _, user := range []string{"me@", "me:p%40@", ":@", "a@b@"} {
		if got := Key("https://"+user+"example.com/a?b", "/tmp/x"); got != "af835bd5" {
			t.Errorf("with %s it is %s", user, got)
		}
	}
	for _, url := range []string{"https://example.com/a@b", "https://example.com?a@b", "a@b", "mailto:a@b"} {
		if got := withoutUserinfo(url); got != url {
			t.Errorf("%s is %s", url, got)
		}
	}
}

func TestName(t *testing.T) {
	if got := Name("go.tar.gz", "0123abcd"); got != "go.tar.gz.0123abcd.part" {
		t.Errorf("got %q", got)
	}
}

func TestOwns(t *testing.T) {
	for _, suffix := range []string{"", recordSuffix, tempSuffix, mismatchSuffix} {
		for _, name := range []string{"", "a", "a.tar.gz", strings.Repeat("世", 100)} {
			if part := Name(name, Key("u", "d")) + suffix; !Owns(part) || !Owns(strings.ToUpper(part)) {
				t.Errorf("%s is not ours", part)
			}
		}
	}
	for _, name := range []string{"a.part", "a.0123abc.part", "a-0123abcd.part", "a.0123abcd.part.json.bak", "a.0123abcd_part", "a.0123abcd.part "} {
		if Owns(name) {
			t.Errorf("%s is ours", name)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"", "a", strings.Repeat("x", 300), strings.Repeat("é", 150), strings.Repeat("世", 100), "\xff\xbf", strings.Repeat("\xbf", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		part := Name(name, "0123abcd")
		for _, suffix := range []string{"", recordSuffix, tempSuffix, mismatchSuffix} {
			if n := len(part + suffix); n > maxName {
				t.Errorf("%d bytes with %q", n, suffix)
			}
		}
		kept, ok := strings.CutSuffix(part, ".0123abcd.part")
		if !ok || !strings.HasPrefix(name, kept) {
			t.Errorf("%q of %q", part, name)
		}
		if utf8.ValidString(name) && !utf8.ValidString(part) {
			t.Errorf("%q is cut within a character", part)
		}
		if len(name) < 200 && kept != name {
			t.Errorf("%q is cut, and fits", name)
		}
		if n := numbered(name, 12345); len(n) > maxName || !strings.Contains(n, " (12345)") {
			t.Errorf("numbered: %q has %d bytes", n, len(n))
		}
	})
}

func TestNumbered(t *testing.T) {
	for name, want := range map[string]string{
		"a.txt":    "a (1).txt",
		"a":        "a (1)",
		"a.tar.gz": "a (1).tar.gz",
		".tar.gz":  ".tar (1).gz",
		".bashrc":  ".bashrc (1)",
		"a.b.c":    "a.b (1).c",
		"a.":       "a (1).",
		"v1. A story that has a full stop somewhere": "v1. A story that has a full stop somewhere (1)",
		strings.Repeat("é", 125) + ".zip":            strings.Repeat("é", 123) + " (1).zip",
	} {
		if got := numbered(name, 1); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
