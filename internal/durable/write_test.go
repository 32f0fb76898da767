package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, data := range []string{"old and long", "new", ""} {
		if err := WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := string(mustRead(t, path)); got != data {
			t.Errorf("got %q, want %q", got, data)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("the folder has %v", got)
	}
}

func TestWriteFileReplacesALinkAndNotItsTarget(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	mustWrite(t, target, "mine")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(link, []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := string(mustRead(t, target)); got != "mine" {
		t.Errorf("the link's target became %q", got)
	}
	if got := string(mustRead(t, link)); got != "new" {
		t.Errorf("the link's place has %q", got)
	}
}

func TestWriteFileErrorLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "folder")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("x"), 0o644); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("onto a folder: %v", err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("the folder has %v", got)
	}
	if err := WriteFile(filepath.Join(dir, "none", "f"), nil, 0o644); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into a missing folder: %v", err)
	}
}

func TestWriteFileVia(t *testing.T) {
	dir := t.TempDir()
	path, temp, victim := filepath.Join(dir, "f"), filepath.Join(dir, "f.tmp"), filepath.Join(dir, "victim")
	mustWrite(t, victim, "mine")
	for name, leave := range map[string]func() error{
		"nothing": func() error { return nil },
		"a file":  func() error { return os.WriteFile(temp, []byte("longer than what follows"), 0o644) },
		"a link":  func() error { return os.Symlink(victim, temp) },
	} {
		if err := leave(); err != nil {
			t.Fatal(err)
		}
		if err := WriteFileVia(temp, path, []byte("data"), 0o644); err != nil {
			t.Errorf("over %s: %v", name, err)
		}
		if got := string(mustRead(t, path)); got != "data" {
			t.Errorf("over %s: got %q", name, got)
		}
		if _, err := os.Lstat(temp); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("over %s: the temporary file is still there", name)
		}
	}
	if got := string(mustRead(t, victim)); got != "mine" {
		t.Errorf("what the link pointed to became %q", got)
	}
}

const rewriteSize = 1 << 20

// childRewrite replaces the file by as many bytes of the next letter, for ever.
func childRewrite(path string) {
	for i := 0; ; i++ {
		if err := WriteFile(path, bytes.Repeat([]byte{byte('a' + i%26)}, rewriteSize), 0o644); err != nil {
			panic(err)
		}
		if i == 0 {
			ready()
		}
	}
}

func TestWriteFileKilled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	const kills = 25
	for range kills {
		child := startChild(t, "rewrite", path)
		time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond) // any moment will do
		child.Process.Kill()
		child.Wait()
		if data := mustRead(t, path); !uniform(data, rewriteSize) {
			t.Fatalf("after a kill the file has %d bytes of %d kinds", len(data), len(bytes.Split(data, data[:1])))
		}
	}
	if left := len(names(t, dir)) - 1; left > kills {
		t.Errorf("%d kills left %d temporary files", kills, left)
	}
}

// childStage dies between the two steps of WriteFileVia.
func childStage(path string) {
	if err := stage(path+".tmp", []byte("new"), 0o644); err != nil {
		panic(err)
	}
	ready()
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

func TestWriteFileKilledBeforeTheRename(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	mustWrite(t, path, "old")
	for range 2 {
		startChild(t, "stage", path).Wait()
		if got := string(mustRead(t, path)); got != "old" {
			t.Errorf("got %q, want the old content", got)
		}
		if got := string(mustRead(t, path+".tmp")); got != "new" {
			t.Errorf("staged %q", got)
		}
		os.Remove(path + ".tmp")
	}
	startChild(t, "stage", path).Wait()
	if err := WriteFileVia(path+".tmp", path, []byte("newer"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(t, dir), " "); got != "f" {
		t.Errorf("the folder has %s", got)
	}
	if got := string(mustRead(t, path)); got != "newer" {
		t.Errorf("got %q", got)
	}
}
