package urlsession

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCookieFile(t *testing.T) {
	j := newJarTest(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "cookies.txt")
	open := func() *Session {
		t.Helper()
		jar, err := OpenCookieFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c := Ephemeral()
		c.CookieStorage = jar
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	end := func(s *Session) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open()
	j.sent(s)
	end(s)
	if got := files(t, dir); len(got) > 0 {
		t.Errorf("without cookies there are %v", got)
	}
	s = open()
	j.sent(s, `k="1, 2"; Max-Age=3600; HttpOnly`, "fleeting=1")
	end(s)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if text, _ := os.ReadFile(path); !strings.Contains(string(text), "#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t") {
		t.Errorf("the file has %s", text)
	}
	before, _ := os.Stat(path)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	path = link
	s = open()
	if got := j.sent(s); got != `k="1, 2"; fleeting=1` && got != `fleeting=1; k="1, 2"` {
		t.Errorf("it sends %q", got)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("it is written although nothing has changed")
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Error(err)
	}
	end(s)
	if text, _ := os.ReadFile(path); strings.Contains(string(text), "fleeting") {
		t.Errorf("after Reset the file has %s", text)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
}

// TestCookieFileIsNoOther: what is no cookies.txt is refused, neither cited nor changed.
func TestCookieFileIsNoOther(t *testing.T) {
	dir := t.TempDir()
	notes := filepath.Join(dir, "notes")
	if err := os.WriteFile(notes, []byte("# mine\nmy password is hunter2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{notes: "line 2", dir: "no regular file", filepath.Join(dir, "none", "f"): "no such file"} {
		_, err := OpenCookieFile(path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if text, _ := os.ReadFile(notes); !strings.Contains(string(text), "hunter2") {
		t.Error("the file was changed")
	}
}
