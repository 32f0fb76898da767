package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

func TestFolderNotWritable(t *testing.T) {
	state := t.TempDir()
	must(t, os.Chmod(state, 0o500))
	if os.Geteuid() == 0 { // whom modes do not stop
		if err := unix.Mount("tmpfs", state, "tmpfs", unix.MS_RDONLY, "mode=700"); err != nil {
			t.Skipf("cannot mount a file system that cannot be written: %v", err)
		}
		t.Cleanup(func() { unix.Unmount(state, unix.MNT_DETACH) })
	}
	says(t, refused(t, state), "choose a folder that you can write to")
}

// smallDisk is a file system of a size, in bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system to fill")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=700,size="+size); err != nil {
		t.Skipf("cannot mount a small file system to fill: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fill takes all room, and returns a function that gives it back.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	path := filepath.Join(dir, "full")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) >= 512; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else {
			must(t, err)
		}
	}
	return func() { must(t, os.Remove(path)) }
}

func TestFolderOnAFullDisk(t *testing.T) {
	state := smallDisk(t, "1m")
	must(t, os.WriteFile(filepath.Join(state, lockName), nil, 0o600))
	empty := fill(t, state)
	says(t, refused(t, state), "full", "room")
	empty()
	start(t, state)
}

func TestSpoolOnAFullDisk(t *testing.T) {
	state := smallDisk(t, "1m")
	s := &spool{place{dir: filepath.Join(control.SessionFolder(state, "s"), "spool")}}
	_, err := s.Keep(t.Context(), urlsessiontest.Body{Size: 2 << 20}.Reader())
	code(t, err, task.CannotWriteFile)
	says(t, err, state, "make room")
	if left := files(t, s.dir); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}

// TestFullDisk fills the disk of a daemon: what it cannot keep it does not take, what runs pauses, and all goes on when
// there is room.
func TestFullDisk(t *testing.T) {
	srv := origin(t)
	file := urlsessiontest.Body{Seed: 5, Size: 4 << 20}
	srv.Publish("/f", urlsessiontest.Resource{Content: file, ETag: `"v1"`})
	gate := urlsessiontest.NewGate()
	srv.Script("/f", urlsessiontest.HoldAt(urlsessiontest.AtBody(1<<20), gate))
	disk := smallDisk(t, "24m")
	state := filepath.Join(disk, "state")
	d := start(t, state)
	c := dial(t, state, "s")
	id := create(t, c, download(srv.URL+"/f", filepath.Join(disk, "f")))
	must(t, srv.WaitSent(within(t), "/f", 1<<20))
	empty := fill(t, disk)

	body := strings.NewReader(strings.Repeat("x", 1<<20))
	up := task.Spec{Kind: task.Upload, Request: task.Request{Method: "PUT", URL: srv.URL + "/u", Body: &task.Body{Size: body.Size()}}, Policy: policy}
	_, err := c.Create(within(t), up, body)
	code(t, err, task.CannotWriteFile)
	if left := files(t, filepath.Join(control.SessionFolder(state, "s"), "spool")); len(left) != 0 {
		t.Errorf("a body that did not fit leaves %v", left)
	}
	spec := data(srv.URL + "/f")
	spec.Suspended, spec.Description = true, strings.Repeat("d", 10_000)
	var made []task.ID
	for err = nil; err == nil; { // until the room that the database has already is used up
		var one task.ID
		if one, err = c.Create(within(t), spec, nil); err == nil {
			made = append(made, one)
		}
		if len(made) > 10_000 {
			t.Fatal("the disk is full, and tasks are created all the same")
		}
	}
	code(t, err, task.CannotWriteFile)
	gate.Open()
	until(t, "the download's pause", func() bool {
		rec, err := c.Task(within(t), id)
		return err == nil && rec.Waiting != nil && rec.Waiting.Reason == task.WaitSpace
	})
	empty()
	succeed(t, c, id)
	must(t, file.CheckFile(filepath.Join(disk, "f")))
	create(t, c, spec)
	d.stop()
	start(t, state)
	for _, one := range made {
		if _, err := c.Task(within(t), one); err != nil {
			t.Errorf("a task whose creation returned is lost: %v", err)
		}
	}
}
