package transfer

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// A name that is known to be taken fails before anything is sent.
func TestConflictBeforeNetwork(t *testing.T) {
	srv, a := newFixture(t)
	write(t, a.Spec.Download.Path, "old")
	_, err := Run(t.Context(), a)
	wantCode(t, err, task.DestinationExists)
	if srv.Count("/f") != 0 || readFile(t, a.Spec.Download.Path) != "old" || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("%v; %d requests", err, srv.Count("/f"))
	}
}

// One that is taken while the download runs fails at its end, and keeps the bytes.
func TestConflictAtTheEnd(t *testing.T) {
	srv, a := newFixture(t)
	gate := NewGate()
	srv.Script("/f", HoldAt(AtBody(1000), gate))
	go func() {
		gate.Wait(t.Context())
		os.WriteFile(a.Spec.Download.Path, []byte("other"), 0o644)
		gate.Open()
	}()
	res, err := Run(t.Context(), a)
	wantCode(t, err, task.DestinationExists)
	if readFile(t, a.Spec.Download.Path) != "other" || res.ResumeData == nil {
		t.Errorf("resume data %v", res.ResumeData)
	}
	remove(t, a.Spec.Download.Path)
	res, err = Run(t.Context(), again(a))
	wantFile(t, res, err, file)
	if sent := srv.Sent("/f"); sent != file.Size+1 {
		t.Errorf("%d bytes were sent; only one may be sent again", sent)
	}
}

func TestConflictReplaceAndRename(t *testing.T) {
	_, a := newFixture(t)
	a.Spec.Download.Conflict = task.ConflictReplace
	write(t, a.Spec.Download.Path, "old")
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, file)

	a.Spec.Download.Conflict = task.ConflictRename
	write(t, a.Spec.Download.Path, "old")
	res, err = Run(t.Context(), a)
	if err != nil || filepath.Base(res.Path) != "file (1).bin" || file.CheckFile(res.Path) != nil || readFile(t, a.Spec.Download.Path) != "old" {
		t.Errorf("%v, %s", err, res.Path)
	}
}

func TestImpossibleDestinations(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "file"), "")
	os.Mkdir(filepath.Join(folder, "sub"), 0o755)
	if err := syscall.Mkfifo(filepath.Join(folder, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path     string
		folder   bool
		conflict task.Conflict
		code     task.Code
		names    string
	}{
		{"missing/x", false, "", task.FileDoesNotExist, filepath.Join(folder, "missing")},
		{"missing", true, "", task.FileDoesNotExist, filepath.Join(folder, "missing")},
		{"sub", false, "", task.FileIsDirectory, "sub"},
		{"sub", false, task.ConflictReplace, task.FileIsDirectory, "sub"},
		{"file/x", false, "", task.CannotCreateFile, "file"},
		{"fifo", false, task.ConflictReplace, task.CannotCreateFile, "fifo"},
	} {
		srv, a := newFixture(t)
		a.Spec.Download.Path, a.Spec.Download.Folder = filepath.Join(folder, c.path), c.folder
		a.Spec.Download.Conflict = c.conflict
		_, err := Run(t.Context(), a)
		if task.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.names) || srv.Count("/f") != 0 {
			t.Errorf("%s: %v, want %v", c.path, err, c.code)
		}
	}
}

func TestFolderWithoutPermission(t *testing.T) {
	_, a := newFixture(t)
	folder := filepath.Dir(a.Spec.Download.Path)
	os.Chmod(folder, 0o555)
	defer os.Chmod(folder, 0o700)
	if os.Geteuid() == 0 { // who may write everywhere: this thread touches files as nobody
		const nobody = 65534
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if _, err := unix.SetfsuidRetUid(nobody); err != nil {
			t.Fatal(err)
		}
		defer unix.SetfsuidRetUid(0)
	}
	_, err := Run(t.Context(), a)
	wantCode(t, err, task.NoPermission)
}

// A second task for the same part file fails at once and names the first.
func TestLockedPart(t *testing.T) {
	srv, a := newFixture(t)
	gate := NewGate()
	srv.Script("/f", HoldAt(AtBody(1000), gate))
	done := make(chan error, 1)
	go func() {
		_, err := Run(t.Context(), a)
		done <- err
	}()
	if err := gate.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := Run(t.Context(), again(a))
	wantCode(t, err, task.CannotOpenFile)
	if !strings.Contains(err.Error(), "another task") || srv.Count("/f") != 1 {
		t.Errorf("%v", err)
	}
	gate.Open()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Names of downloads to a folder: by the response, else the URL, safe in any case.
func TestFolder(t *testing.T) {
	for _, c := range []struct{ url, disposition, want string }{
		{"/f", ``, "f"},
		{"/dir/na%20me.tar.gz?x=y", ``, "na me.tar.gz"},
		{"/", ``, "download"},
		{"/dir/", ``, "dir"},
		{"/f", `attachment; filename="report.pdf"`, "report.pdf"},
		{"/f", `attachment; filename="../../etc/passwd"`, "passwd"},
		{"/f", `attachment; filename="..\\..\\x"`, "x"},
		{"/f", `attachment; filename=".."`, "f"},
		{"/a%2Fb%2F..%2Fc", ``, "c"},
		{"/%2e%2e", ``, "download"},
	} {
		srv, a := newFixture(t)
		srv.Always(Every, Serving(Resource{Content: file, ETag: `"v1"`, ContentDisposition: c.disposition}))
		srv.Always("/f", Serving(Resource{Content: file, ETag: `"v1"`, ContentDisposition: c.disposition}))
		folder := t.TempDir()
		a.Spec.Request.URL = srv.URL + c.url
		a.Spec.Download.Path, a.Spec.Download.Folder = folder, true
		res, err := Run(t.Context(), a)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		wantFile(t, res, err, file)
		if res.Path != filepath.Join(folder, c.want) {
			t.Errorf("%+v: %s", c, res.Path)
		}
	}
}

// The part file of a download to a folder is the URL's, so that it is found again before the response names the file.
func TestFolderResumes(t *testing.T) {
	srv, a := newFixture(t)
	srv.Publish("/f", Resource{Content: file, ETag: `"v1"`, ContentDisposition: `attachment; filename="n.bin"`})
	folder := t.TempDir()
	a.Spec.Download = &task.DownloadSpec{Destination: "out/", Path: folder, Folder: true}
	a = interrupt(t, srv, a, 100_000)
	part := "f." + partial.Key(srv.URL+"/f", "out/") + ".part"
	if names := list(t, folder); !slices.Contains(names, part) {
		t.Fatalf("folder has %v, want %s", names, part)
	}
	res, err := Run(t.Context(), a)
	wantFile(t, res, err, file)
	if filepath.Base(res.Path) != "n.bin" {
		t.Errorf("path %s", res.Path)
	}
}

// A name that only the response tells, and that is taken, fails before the body is fetched.
func TestFolderConflict(t *testing.T) {
	srv, a := newFixture(t)
	big := Body{Seed: 1, Size: 64 << 20}
	srv.Publish("/f", Resource{Content: big, ETag: `"v1"`, ContentDisposition: `attachment; filename="n.bin"`})
	folder := t.TempDir()
	a.Spec.Download.Path, a.Spec.Download.Folder = folder, true
	write(t, filepath.Join(folder, "n.bin"), "old")
	_, err := Run(t.Context(), a)
	wantCode(t, err, task.DestinationExists)
	if srv.Sent("/f") == big.Size || !slices.Equal(list(t, folder), []string{"n.bin"}) {
		t.Errorf("%d bytes sent; folder has %v", srv.Sent("/f"), list(t, folder))
	}
}

// Without a destination the file is a temporary one, and two of the same URL do not meet.
func TestTemporary(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	srv, a := newFixture(t)
	a.Spec.Download.Destination, a.Spec.Download.Path = "", ""
	gate := NewGate()
	srv.Script("/f", HoldAt(AtBody(1000), gate))
	done := make(chan Result, 1)
	go func() {
		res, _ := Run(t.Context(), a)
		done <- res
	}()
	if err := gate.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := Run(t.Context(), again(a))
	if err != nil || file.CheckFile(second.Path) != nil {
		t.Fatal(err)
	}
	gate.Open()
	first := <-done
	if first.Path == second.Path || file.CheckFile(first.Path) != nil {
		t.Errorf("%s and %s", first.Path, second.Path)
	}
	info, err := os.Stat(filepath.Dir(first.Path))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder is open to others: %v, %v", info.Mode(), err)
	}
	if !strings.HasSuffix(first.Path, "-f") || len(list(t, filepath.Dir(first.Path))) != 2 {
		t.Errorf("%s; %v", first.Path, list(t, filepath.Dir(first.Path)))
	}

	// The next attempt finds the part file again.
	b := interrupt(t, srv, a, 100_000)
	res, err := Run(t.Context(), b)
	if err != nil || file.CheckFile(res.Path) != nil || !strings.HasSuffix(ranges(srv), `-, 100000- if "v1"`) {
		t.Errorf("%v; asked for %s", err, ranges(srv))
	}
}

// A name as long as a file system takes leaves room for what makes a temporary file's unique.
func TestTemporaryLongName(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	srv, a := newFixture(t)
	name := strings.Repeat("n", 251) + ".zip"
	srv.Publish("/f", Resource{Content: file, Header: http.Header{"Content-Disposition": {"attachment; filename=" + name}}})
	a.Spec.Download.Destination, a.Spec.Download.Path = "", ""
	res, err := Run(t.Context(), a)
	if err != nil || file.CheckFile(res.Path) != nil || !strings.HasSuffix(res.Path, "n.zip") {
		t.Errorf("%v, %s", err, res.Path)
	}
}

// A temporary file that cannot be gone on from is not left behind.
func TestTemporaryLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	srv, a := newFixture(t)
	srv.Publish("/f", Resource{Content: file})
	a.Spec.Download.Destination, a.Spec.Download.Path = "", ""
	interrupt(t, srv, a, 100_000)
	folder, err := temporaryFolder()
	if names := list(t, folder); err != nil || len(names) != 0 {
		t.Errorf("%v left, %v", names, err)
	}
}

// A folder that another user could have made is not used.
func TestTemporaryFolderOfOthers(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	path, err := temporaryFolder()
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(path, 0o777)
	other, err := temporaryFolder()
	if err != nil || other == path {
		t.Errorf("%s, %v", other, err)
	}
	os.Remove(path)
	os.Symlink(t.TempDir(), path)
	if other, err := temporaryFolder(); err != nil || other == path {
		t.Errorf("%s, %v", other, err)
	}
}

// A full disk is -3003, and keeps the part file, also one that had no record yet: with room again it is gone on from.
func TestFullDisk(t *testing.T) {
	for name, c := range map[string]struct {
		size string
		held int64
	}{
		"after checkpoints": {"12m", 10 << 20},
		"before the first":  {"1m", 400 << 10},
	} {
		t.Run(name, func(t *testing.T) { testFullDisk(t, c.size, c.held) })
	}
}

func testFullDisk(t *testing.T, size string, held int64) {
	folder := t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("mount is refused: ", err)
	}
	defer syscall.Unmount(folder, 0)
	srv, a := newFixture(t)
	big := Body{Seed: 1, Size: 32 << 20}
	srv.Publish("/f", Resource{Content: big, ETag: `"v1"`})
	a.Spec.Download.Path = filepath.Join(folder, "x")
	res, err := Run(t.Context(), a)
	wantCode(t, err, task.CannotWriteFile)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	wantNoFile(t, a)
	if d := res.ResumeData; d == nil || len(d.Held) != 1 || d.Held[0][1] < held {
		t.Fatalf("folder has %v; resume data %v", list(t, folder), d)
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	res, err = Run(t.Context(), again(a))
	wantFile(t, res, err, big)
	if !strings.Contains(ranges(srv), `- if "v1"`) {
		t.Errorf("asked for %s", ranges(srv))
	}
}
