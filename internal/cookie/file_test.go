package cookie

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// warnings collects what Warn is told.
type warnings struct {
	mu   sync.Mutex
	list []error
}

func (w *warnings) add(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, err)
}

func (w *warnings) take() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.list
	w.list = nil
	return list
}

// open opens path, with a Warn that fails the test.
func open(t testing.TB, path string) *Storage {
	t.Helper()
	s, err := Open(path, Options{Sealer: newSealer("key"), Warn: func(err error) { t.Errorf("warned: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func flush(t testing.TB, s *Storage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func jarPath(t testing.TB) string { return filepath.Join(t.TempDir(), "cookies") }

func folder(t testing.TB, path string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// pass lets the time pass in which every Storage, in a bubble, writes its changes and may look at its file again.
func pass() {
	time.Sleep(max(lookDelay, writeDelay))
	synctest.Wait()
}

const (
	site    = "https://www.example.org/"
	forDays = "; Max-Age=1000000"
)

func TestFileKeepsCookies(t *testing.T) {
	path := jarPath(t)
	s := open(t, path)
	if got := folder(t, path); got != "" {
		t.Errorf("before there is a cookie, the folder has %s", got)
	}
	mustReceive(t, s, site, "a=\"\xff\"; Secure; HttpOnly; SameSite=Lax; Domain=example.org; Path=/p"+forDays, "=nameless"+forDays, "session=1", "b=1"+forDays)
	flush(t, s)
	if got := folder(t, path); got != "cookies cookies.lock" {
		t.Errorf("the folder has %s", got)
	}
	for _, name := range []string{path, path + ".lock"} {
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	again := open(t, path)
	got, want := again.All(), s.All()
	if len(want) != 4 || len(got) != 3 {
		t.Fatalf("of %d cookies %d are kept", len(want), len(got))
	}
	for i, j := 0, 0; i < len(want); i++ {
		if want[i].Name == "session" {
			continue
		}
		a, b := want[i], got[j]
		if !a.Created.Equal(b.Created) || !a.Updated.Equal(b.Updated) || !a.Expires.Equal(b.Expires) || !a.Accessed.Equal(b.Accessed) {
			t.Errorf("times of %#v became those of %#v", a, b)
		}
		a.Created, a.Updated, a.Expires, a.Accessed = b.Created, b.Updated, b.Expires, b.Accessed
		if a != b {
			t.Errorf("%#v became %#v", a, b)
		}
		j++
	}
	// The order goes on.
	mustReceive(t, again, site, "c=1")
	if got := sent(t, again, site); got != "nameless; b=1; c=1" {
		t.Errorf("sent %q", got)
	}
}

func TestFileIsSealed(t *testing.T) {
	const secret = "S3CRET-marker"
	path := jarPath(t)
	s := open2(t, path, "key")
	mustReceive(t, s, site, secret+"="+secret+forDays, "k="+secret+"; Path=/"+secret+forDays)
	flush(t, s)
	os.WriteFile(path, append([]byte("x"), mustRead(t, path)...), 0o600) // damaged, and set aside
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o := open2(t, path, "key")
	mustReceive(t, o, site, "k="+secret+forDays)
	flush(t, o)
	err := filepath.WalkDir(filepath.Dir(path), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secret)) || strings.Contains(path, secret) {
			t.Errorf("%s tells the secret", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if !strings.Contains(folder(t, path), corruptMark) {
		t.Error("nothing was set aside")
	}
}

// open2 opens path with a key, and with warnings that the test does not look at.
func open2(t *testing.T, path, key string) *Storage {
	t.Helper()
	s, err := Open(path, Options{Sealer: newSealer(key)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestChangesAreWrittenWithinASecond(t *testing.T) {
	path := jarPath(t)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path)
		mustReceive(t, s, site, "k=1"+forDays)
		time.Sleep(writeDelay - 1)
		synctest.Wait()
		if got := folder(t, path); got != "" {
			t.Errorf("too early the folder has %s", got)
		}
		mustReceive(t, s, site, "l=1"+forDays) // does not delay the first
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := sent(t, open(t, path), site); got != "k=1; l=1" {
			t.Errorf("written: %q", got)
		}
		before, _ := identify(path)
		// What needs no writing is not written.
		sent(t, s, site)
		mustReceive(t, s, site, "session=1", "none=1; Max-Age=0", "session=; Max-Age=0")
		receive(t, s, site, "bad=1; Domain=org")
		time.Sleep(time.Hour)
		synctest.Wait()
		if after, _ := identify(path); !after.same(before) {
			t.Error("written though nothing has changed")
		}
		// A session cookie in the place of a kept one removes that from the file; so does a removal.
		mustReceive(t, s, site, "k=2", "l=; Max-Age=0")
		time.Sleep(writeDelay)
		synctest.Wait()
		if got := sent(t, open(t, path), site); got != "" {
			t.Errorf("still written: %q", got)
		}
		if got := sent(t, s, site); got != "k=2" {
			t.Errorf("sent %q", got)
		}
	})
}

func TestCloseWritesAndEnds(t *testing.T) {
	path := jarPath(t)
	s := open(t, path)
	mustReceive(t, s, site, "k=1"+forDays)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	o := open(t, path)
	if got := sent(t, o, site); got != "k=1" {
		t.Errorf("written: %q", got)
	}
	mustReceive(t, s, site, "k=2"+forDays)
	flush(t, s)
	if s.file.timer != nil {
		t.Error("a write is to come")
	}
	if sent(t, s, site) != "k=2" || sent(t, open(t, path), site) != "k=1" {
		t.Error("after Close it goes on in memory alone")
	}
}

func TestTwoStoragesOnOneFile(t *testing.T) {
	path := jarPath(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := open(t, path), open(t, path)
		mustReceive(t, a, site, "a=1"+forDays, "both=a"+forDays, "gone=1"+forDays)
		time.Sleep(time.Millisecond)
		mustReceive(t, b, site, "b=1"+forDays, "both=b"+forDays, "own=1")
		flush(t, b)
		flush(t, a) // a's older "both" is written later, and is older all the same
		pass()
		if got := sent(t, a, site); got != "a=1; gone=1; b=1; both=b" {
			t.Errorf("a sends %q", got)
		}
		if got := sent(t, b, site); got != "a=1; gone=1; b=1; both=b; own=1" {
			t.Errorf("b sends %q", got)
		}
		// Removal here, replacement there, the later wins whoever writes first.
		mustReceive(t, a, site, "gone=; Max-Age=0", "both=; Max-Age=0")
		time.Sleep(time.Millisecond)
		mustReceive(t, b, site, "both=again"+forDays)
		flush(t, b)
		flush(t, a)
		flush(t, b)
		pass()
		for name, s := range map[string]*Storage{"a": a, "b": b} {
			if got := sent(t, s, site); strings.TrimSuffix(got, "; own=1") != "a=1; b=1; both=again" {
				t.Errorf("%s sends %q", name, got)
			}
		}
		// A removal that is later than the other's unwritten change.
		mustReceive(t, a, site, "b=old"+forDays)
		time.Sleep(time.Millisecond)
		mustReceive(t, b, site, "a=; Max-Age=0")
		flush(t, b)
		flush(t, a)
		pass()
		if got := sent(t, b, site); !strings.Contains(got, "b=old") || strings.Contains(got, "a=1") {
			t.Errorf("b sends %q", got)
		}
		// A cookie that ends with the process gives way to a later one that is kept, and not to an earlier one.
		mustReceive(t, a, site, "own=kept"+forDays)
		flush(t, a)
		pass()
		if got := sent(t, b, site); !strings.Contains(got, "own=kept") {
			t.Errorf("b sends %q", got)
		}
		mustReceive(t, b, site, "own=mine")
		flush(t, b)
		pass()
		if got := sent(t, a, site); strings.Contains(got, "own") {
			t.Errorf("a sends %q: b has no such cookie to keep", got)
		}
		if got := sent(t, b, site); !strings.Contains(got, "own=mine") {
			t.Errorf("b sends %q", got)
		}
	})
}

func TestResetRemovesAllFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "[c]ookies*")
	os.WriteFile(path+".corrupt-1", nil, 0o600)
	other := filepath.Join(filepath.Dir(path), "cookies.corrupt-1")
	os.WriteFile(other, nil, 0o600)
	synctest.Test(t, func(t *testing.T) {
		a, b := open(t, path), open(t, path)
		mustReceive(t, a, site, "k=1"+forDays)
		flush(t, a)
		time.Sleep(lookDelay)
		mustReceive(t, b, site, "session=1")
		if got := sent(t, b, site); got != "k=1; session=1" {
			t.Fatalf("b sends %q", got)
		}
		mustReceive(t, a, site, "l=1"+forDays) // not written yet: its write finds nothing to do
		if err := a.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := folder(t, path); got != "cookies.corrupt-1" {
			t.Errorf("the folder has %s", got)
		}
		time.Sleep(lookDelay)
		synctest.Wait()
		if got := summary(a) + sent(t, b, site); got != "session=1" {
			t.Errorf("left: %q", got)
		}
		if got := folder(t, path); got != "cookies.corrupt-1" {
			t.Errorf("a second later the folder has %s", got)
		}
		mustReceive(t, b, site, "m=1"+forDays)
		flush(t, b)
		time.Sleep(lookDelay)
		if got := sent(t, a, site); got != "m=1" {
			t.Errorf("a sends %q", got)
		}
	})
}

func TestDamagedFileIsSetAside(t *testing.T) {
	whole := jarPath(t)
	s := open(t, whole)
	mustReceive(t, s, site, "k=1"+forDays)
	flush(t, s)
	good := mustRead(t, whole)
	for name, data := range map[string][]byte{
		"empty":       {},
		"cut":         good[:len(good)-1],
		"longer":      append(bytes.Clone(good), 0),
		"one bit":     append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1),
		"text":        []byte("# Netscape HTTP Cookie File\n"),
		"no JSON":     sealed("nonsense"),
		"other JSON":  sealed(`{"a":1}`),
		"two values":  sealed(`[][]`),
		"version 01":  []byte(fileKind + "01 ABCDEFGHIJKLMNOPQRSTUVWXYZ\nx"),
		"another key": sealedBy(newSealer("other"), "[]"),
	} {
		t.Run(name, func(t *testing.T) {
			path := jarPath(t)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			var w warnings
			s, err := Open(path, Options{Sealer: newSealer("key"), Warn: w.add})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			told := w.take()
			if len(told) != 1 || !errors.Is(told[0], ErrDamaged) || task.CodeOf(told[0]) != task.CannotOpenFile {
				t.Fatalf("told %v", told)
			}
			names := folder(t, path)
			_, aside, ok := strings.Cut(names, corruptMark)
			if !ok || !strings.Contains(told[0].Error(), path+corruptMark) {
				t.Fatalf("the folder has %s; told %v", names, told)
			}
			aside, _, _ = strings.Cut(aside, " ")
			if !bytes.Equal(mustRead(t, path+corruptMark+aside), data) {
				t.Error("what was set aside is another")
			}
			mustReceive(t, s, site, "k=2"+forDays)
			flush(t, s)
			if got := sent(t, open(t, path), site); got != "k=2" {
				t.Errorf("then it keeps %q", got)
			}
		})
	}
}

const testHeader = fileVersion + "ABCDEFGHIJKLMNOPQRSTUVWXYZ\n"

func sealed(secret string) []byte { return sealedBy(newSealer("key"), secret) }

func sealedBy(sealer Sealer, secret string) []byte {
	b, _ := sealer.Seal([]byte(secret))
	return append([]byte(testHeader), b...)
}

// What is damaged under a Storage that knows its cookies costs none of them.
func TestDamageUnderAnOpenStorage(t *testing.T) {
	path := jarPath(t)
	synctest.Test(t, func(t *testing.T) {
		var w warnings
		var s *Storage
		s, err := Open(path, Options{Sealer: newSealer("key"), Warn: func(err error) {
			w.add(err)
			if len(s.All()) != 1 || s.Flush(t.Context()) != nil { // nothing is locked
				t.Error("it cannot be used by Warn")
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		mustReceive(t, s, site, "k=1"+forDays)
		flush(t, s)
		if err := os.WriteFile(path, []byte("damage"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookDelay)
		if got := sent(t, s, site); got != "k=1" {
			t.Errorf("sent %q", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if told := w.take(); len(told) != 1 || !errors.Is(told[0], ErrDamaged) {
			t.Errorf("told %v", told)
		}
		if got := sent(t, open(t, path), site); got != "k=1" {
			t.Errorf("written again: %q", got)
		}
	})
}

// lockedRing is a Sealer whose key cannot be had for now.
type lockedRing struct{ plain }

var errLockedRing = errors.New("the keyring is locked")

func (lockedRing) Open([]byte) ([]byte, error) { return nil, errLockedRing }

func TestWhatCannotBeReadIsNotTouched(t *testing.T) {
	path := jarPath(t)
	later := []byte(fileKind + "2 ABCDEFGHIJKLMNOPQRSTUVWXYZ\nwhatever")
	dir := t.TempDir()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(path, later, 0o600)
	ring := jarPath(t)
	os.WriteFile(ring, sealed("[]"), 0o600)
	for name, c := range map[string]struct {
		path   string
		sealer Sealer
		want   error
	}{
		"later version":  {path, newSealer("key"), ErrNewer},
		"locked keyring": {ring, lockedRing{}, errLockedRing},
		"a folder":       {dir, newSealer("key"), nil},
		"a FIFO":         {fifo, newSealer("key"), nil},
		"no sealer":      {jarPath(t), nil, nil},
		"no folder":      {filepath.Join(t.TempDir(), "none", "cookies"), newSealer("key"), fs.ErrNotExist},
	} {
		before, _ := os.ReadDir(filepath.Dir(c.path))
		s, err := Open(c.path, Options{Sealer: c.sealer})
		var e *task.Error
		if s != nil || !errors.As(err, &e) || e.Code != task.CannotOpenFile || e.URL != c.path || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := os.ReadDir(filepath.Dir(c.path)); len(after) != len(before) {
			t.Errorf("%s: the folder has %v", name, after)
		}
	}
	// It comes to be so under an open Storage: what that changes stays in memory, is told, and nothing is overwritten.
	path = jarPath(t)
	synctest.Test(t, func(t *testing.T) {
		var w warnings
		s, err := Open(path, Options{Sealer: newSealer("key"), Warn: w.add})
		if err != nil {
			t.Fatal(err)
		}
		mustReceive(t, s, site, "k=1"+forDays)
		flush(t, s)
		os.WriteFile(path, later, 0o600)
		time.Sleep(lookDelay)
		mustReceive(t, s, site, "l=1"+forDays)
		time.Sleep(writeDelay)
		synctest.Wait()
		if told := w.take(); len(told) != 1 || !errors.Is(told[0], ErrNewer) {
			t.Errorf("told %v", told)
		}
		if got := sent(t, s, site); got != "k=1; l=1" {
			t.Errorf("sent %q", got)
		}
		if err := s.Flush(t.Context()); !errors.Is(err, ErrNewer) {
			t.Errorf("Flush: %v", err)
		}
		if !bytes.Equal(mustRead(t, path), later) {
			t.Error("it was overwritten")
		}
		// It is tried again, and once it can be written it is.
		os.Remove(path)
		time.Sleep(retryDelay)
		synctest.Wait()
		if got := sent(t, open(t, path), site); got != "l=1" {
			t.Errorf("written %q: k was removed with the file", got)
		}
		s.Close()
	})
}

func TestTheLockIsWaitedFor(t *testing.T) {
	path := jarPath(t)
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.Lock(lock); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path)
		mustReceive(t, s, site, "k=1"+forDays)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if err := s.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, durable.ErrLocked) || task.CodeOf(err) != task.TimedOut {
			t.Errorf("while it is held: %v", err)
		}
		// A second one waits for the first.
		ctx2, cancel2 := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Flush(t.Context()) }()
		synctest.Wait()
		cancel2()
		if err := s.Flush(ctx2); !errors.Is(err, context.Canceled) {
			t.Errorf("while another waits: %v", err)
		}
		lock.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := sent(t, open(t, path), site); got != "k=1" {
			t.Errorf("written: %q", got)
		}
	})
}

func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system to fill")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a small file system to fill: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	path := filepath.Join(dir, "cookies")
	s := open2(t, path, "key") // a lazy write may fail too
	mustReceive(t, s, site, "k=1"+forDays)
	flush(t, s)
	for i := range 50 {
		mustReceive(t, s, site, fmt.Sprintf("big%d=%s%s", i, strings.Repeat("x", 4000), forDays))
	}
	if err := s.Flush(t.Context()); !errors.Is(err, syscall.ENOSPC) || task.CodeOf(err) != task.CannotWriteFile {
		t.Errorf("Flush: %v", err)
	}
	if got := sent(t, open(t, path), site); got != "k=1" {
		t.Errorf("the file has %.100q", got)
	}
	if got := folder(t, path); got != "cookies cookies.lock" {
		t.Errorf("the folder has %s", got)
	}
	for i := range 50 {
		mustReceive(t, s, site, fmt.Sprintf("big%d=; Max-Age=0", i))
	}
	mustReceive(t, s, site, "l=1"+forDays)
	flush(t, s)
	if got := sent(t, open(t, path), site); got != "k=1; l=1" {
		t.Errorf("with room again the file has %.100q", got)
	}
}

func FuzzFile(f *testing.F) {
	whole, err := encode(content{
		cookies: []Cookie{{Name: "k", Value: "v", Domain: "example.org", Path: "/", Expires: time.Unix(4e9, 0)}},
		removed: map[key]time.Time{{name: "l", domain: "example.org", path: "/"}: time.Unix(1, 0)},
	}, plain{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-2])
	f.Add([]byte(testHeader + `[{"domain":"example.org","path":"Lw==","name":"aw==","expires":9000000000000000000,"updated":-1}]`))
	f.Add([]byte(testHeader + `[{"domain":"com","path":"Lw==","name":"aw=="},{}]`))
	f.Add([]byte(testHeader + "null"))
	f.Add([]byte(fileKind + "2\n"))
	f.Add([]byte(fileKind))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := decode(data, plain{})
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		for _, c := range all.cookies {
			if err := c.check(); err != nil {
				t.Errorf("%q: %v", data, err)
			}
		}
		written, err := encode(all, plain{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(written, plain{})
		if err != nil || len(again.cookies) != len(all.cookies) || len(again.removed) != len(all.removed) {
			t.Fatalf("%v: %#v became %#v", err, all, again)
		}
		for i := range again.cookies {
			if a, b := again.cookies[i], all.cookies[i]; a.key() != b.key() || a.Value != b.Value || !a.Expires.Equal(b.Expires) || !a.Updated.Equal(b.Updated) {
				t.Errorf("%#v became %#v", b, a)
			}
		}
		// It is a file that is merged without harm.
		s := New()
		s.file = &file{removed: make(map[key]change)}
		s.file.ended.Store(true)
		s.merge(all, time.Now())
		for _, c := range s.All() {
			if c.session() {
				t.Errorf("kept: %#v", c)
			}
		}
	})
}

func TestManyGoroutinesOnOneFile(t *testing.T) {
	path := jarPath(t)
	all := []*Storage{open(t, path), open(t, path)}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			s := all[g%2]
			for i := range 60 {
				name := fmt.Sprintf("g%d-%d", g, i)
				receive(t, s, site, name+"=1"+forDays)
				sent(t, s, site)
				if i%2 == 1 {
					s.Remove(Cookie{Name: name, Domain: "www.example.org", HostOnly: true, Path: "/"})
				}
				if i%20 == g {
					s.file.look.Store(0) // it is time to look
					ctx, cancel := timeout()
					if err := s.Flush(ctx); err != nil {
						t.Error(err)
					}
					cancel()
				}
			}
		})
	}
	wg.Wait()
	for _, s := range all {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := len(open(t, path).All()); n != 120 {
		t.Errorf("%d cookies are kept, want 120", n)
	}
}
