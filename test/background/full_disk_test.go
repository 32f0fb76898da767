package background

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// smallDisk is a folder on a disk of that size, until the test's end. It takes root.
func smallDisk(t testing.TB, size int64) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("to mount a small file system takes root")
	}
	folder := t.TempDir()
	if err := syscall.Mount("none", folder, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return folder
}

// grow makes a small disk larger.
func grow(t testing.TB, folder string, size int64) {
	t.Helper()
	if err := syscall.Mount("none", folder, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatal(err)
	}
}

// fill fills a disk to its last byte by a file.
func fill(t testing.TB, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for n := mib; n > 0; {
		if _, err := f.Write(make([]byte, n)); errors.Is(err, syscall.ENOSPC) {
			n /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// waitsFor waits until a task waits for a reason.
func waitsFor(ctx context.Context, t testing.TB, task *urlsession.Task, reason urlsession.WaitReason) {
	t.Helper()
	for ev, err := range task.Events(ctx) {
		if err != nil {
			t.Fatalf("it does not wait for %s: %v", reason, err)
		}
		switch ev := ev.(type) {
		case urlsession.Waiting:
			if ev.Reason == reason {
				return
			}
		case urlsession.Completed:
			t.Fatalf("it has ended in place of waiting for %s: %v", reason, ev.Err)
		}
	}
}

// A download to a full disk waits, also one that finds it full in its midst, and goes on when there is room; also where the
// daemon was killed meanwhile.
func TestFullDestination(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 16*mib)
	origin := urlsessiontest.NewServer()
	defer origin.Close()
	body := urlsessiontest.Body{Seed: 1, Size: 24 * mib}
	origin.Publish("/known", urlsessiontest.Resource{Content: body, ETag: `"v1"`})
	origin.Publish("/unknown", urlsessiontest.Resource{Content: body, ETag: `"v1"`})
	origin.Always("/unknown", urlsessiontest.Chunked())
	k := running(t)
	ctx := bounded(t)
	s := k.session(k.configuration("com.example.full"))
	var tasks []*urlsession.Task
	for _, name := range []string{"known", "unknown"} {
		task, err := s.DownloadTask(ctx, urlsession.Get(origin.URL+"/"+name), filepath.Join(disk, name))
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, task)
	}
	for _, task := range tasks {
		waitsFor(ctx, t, task, urlsession.WaitSpace)
		st, err := task.Status(ctx)
		if err != nil || st.State != urlsession.StateRunning {
			t.Errorf("%+v (%v)", st, err)
		}
	}
	k.kill()
	k.restart()
	grow(t, disk, 64*mib)
	for i, task := range tasks {
		if _, err := task.Wait(ctx); err != nil {
			t.Errorf("with room again: %v", err)
		}
		if err := body.CheckFile(filepath.Join(disk, []string{"known", "unknown"}[i])); err != nil {
			t.Error(err)
		}
	}
}

// A download over several connections that fills the disk waits, with what has come recorded, and goes on when there is room; also
// where the daemon was killed meanwhile.
func TestFullDestinationOfSegments(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 24*mib)
	origin := urlsessiontest.NewServer(urlsessiontest.ConnectionRate(paceRate))
	defer origin.Close()
	body := urlsessiontest.Body{Seed: 1, Size: 40 * mib}
	origin.Publish("/f", urlsessiontest.Resource{Content: body, ETag: `"v1"`})
	k := running(t)
	ctx := bounded(t)
	task, err := k.session(k.configuration("com.example.full")).DownloadTask(ctx, urlsession.Get(origin.URL+"/f"), filepath.Join(disk, "f"))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(ctx, t, task, urlsession.WaitSpace)
	if err := origin.WaitIdle(ctx); err != nil {
		t.Fatal(err)
	}
	if n := origin.Load().PeakRequests; n < 2 {
		t.Errorf("it had %d connections at most", n)
	}
	parts, err := filepath.Glob(filepath.Join(disk, "f.*.part"))
	if err != nil || len(parts) != 1 {
		t.Fatalf("parts: %q (%v)", parts, err)
	}
	text, err := os.ReadFile(parts[0] + ".json")
	if err != nil {
		t.Fatal(err)
	}
	record, err := partial.ParseRecord(text)
	if err != nil {
		t.Fatal(err)
	}
	sent := origin.Sent("/f")
	k.kill()
	k.restart()
	grow(t, disk, 64*mib)
	if _, err := task.Wait(ctx); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := body.CheckFile(filepath.Join(disk, "f")); err != nil {
		t.Error(err)
	}
	// What is held is not fetched again.
	t.Logf("%d of %d bytes were held, in %d ranges; %d of %d were sent then", record.Held.Total(), sent, len(record.Held), origin.Sent("/f")-sent, body.Size)
	if len(record.Held) < 2 {
		t.Errorf("%v were held", record.Held)
	}
	if again := origin.Sent("/f") - sent - (body.Size - record.Held.Total()); again > paceRate {
		t.Errorf("%d bytes that were held have been fetched again", again)
	}
}

// Where the disk of the state is full, no task is made, and the app is told so; what was made before is there, also after a
// kill. With room again all goes on.
func TestFullState(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 16*mib)
	origin := hello(t)
	k := keeperOf(t, filepath.Join(disk, "state"))
	k.restart()
	ctx := bounded(t)
	s := k.session(k.configuration("com.example.full"))
	suspended := func(i int) (*urlsession.Task, error) {
		r := urlsession.Get(origin.URL + "/" + strconv.Itoa(i))
		r.Suspended = true
		return s.DataTask(ctx, r)
	}
	made := make(map[urlsession.TaskID]bool)
	create := func(i int) error {
		task, err := suspended(i)
		if err == nil {
			made[task.Identifier()] = true
		}
		return err
	}
	for i := range 20 {
		if err := create(i); err != nil {
			t.Fatal(err)
		}
	}
	held := filepath.Join(disk, "held")
	fill(t, held)
	full := false
	for i := range 5000 { // the database has some room of its own
		if err := create(i); err != nil {
			if !errors.Is(err, urlsession.ErrCannotWriteFile) {
				t.Errorf("on a full disk: %v", err)
			}
			full = true
			break
		}
		fill(t, held)
	}
	if !full {
		t.Fatal("tasks are made without end on a full disk")
	}
	if _, err := s.UploadTask(ctx, urlsession.Put(origin.URL, urlsession.Bytes(make([]byte, mib)))); !errors.Is(err, urlsession.ErrCannotWriteFile) {
		t.Errorf("an upload of bytes on a full disk: %v", err)
	}
	look := func(when string) {
		t.Helper()
		there := 0
		for st, err := range s.Statuses(ctx, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if !made[st.Identifier] {
				t.Errorf("%s, task %d is there, and its creation has failed", when, st.Identifier)
			}
			there++
		}
		if there != len(made) {
			t.Errorf("%s, %d of %d tasks are there", when, there, len(made))
		}
	}
	look("on the full disk")
	k.kill()
	k.startFull()
	if err := os.Remove(held); err != nil {
		t.Fatal(err)
	}
	k.restart()
	look("with room again")
	if err := create(-1); err != nil {
		t.Errorf("with room again: %v", err)
	}
	k.kill()
	k.restart()
	look("after a kill")
	for id := range made {
		task, err := s.Task(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if err := task.Resume(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := task.Wait(ctx); err != nil {
			t.Errorf("task %d: %v", id, err)
		}
	}
}

// A daemon that cannot make its state for want of room says so and ends, and the next one makes it.
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, mib)
	held := filepath.Join(disk, "held")
	fill(t, held)
	k := keeperOf(t, filepath.Join(disk, "state"))
	k.startFull()
	if err := os.Remove(held); err != nil {
		t.Fatal(err)
	}
	k.restart()
}

// startFull starts the daemon on a full disk: it ends and says why, or it answers, where the files that there are have room.
func (k *keeper) startFull() {
	k.t.Helper()
	k.start()
	cmd, ended := k.process()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		select {
		case <-tick.C:
			if k.answers(cmd.Process.Pid) {
				k.kill()
				return
			}
		case <-ended:
			if said := k.said(); k.endedBy == nil || !strings.Contains(said, "no space left") && !strings.Contains(said, "the disk is full") {
				k.t.Errorf("on a full disk it ended by %v, and said %q", k.endedBy, said)
			}
			return
		case <-deadline:
			k.t.Fatal("it neither ends nor answers")
		}
	}
}

// Tasks that run while the disk of the state fills up pause, and lose neither an event nor a byte.
func TestStateFillsWhileTasksRun(t *testing.T) {
	t.Parallel()
	const count = 12
	disk := smallDisk(t, 16*mib)
	origin := urlsessiontest.NewServer()
	defer origin.Close()
	gate := urlsessiontest.NewGate()
	body := urlsessiontest.Body{Seed: 1, Size: mib}
	origin.PublishFunc(func(string) (urlsessiontest.Resource, bool) {
		return urlsessiontest.Resource{Content: body, ETag: `"v1"`}, true
	})
	origin.Always(urlsessiontest.Every, urlsessiontest.HoldAt(urlsessiontest.AtBody(mib/2), gate))
	k := keeperOf(t, filepath.Join(disk, "state"))
	k.restart()
	ctx := bounded(t)
	folder := t.TempDir()
	c := k.configuration("com.example.fills")
	c.MaximumConnectionsPerHost = count
	s := k.session(c)
	var tasks []*urlsession.Task
	for i := range count {
		task, err := s.DownloadTask(ctx, urlsession.Get(origin.URL+"/"+strconv.Itoa(i)), filepath.Join(folder, strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, task)
	}
	if err := origin.WaitRequests(ctx, urlsessiontest.Every, count); err != nil {
		t.Fatal(err)
	}
	held := filepath.Join(disk, "held")
	fill(t, held)
	full := context.DeadlineExceeded
	for i := range 5000 { // until no commit fits any more
		r := urlsession.Get(origin.URL + "/suspended")
		r.Suspended = true
		if _, full = s.DataTask(ctx, r); full != nil {
			break
		}
		if i%8 == 0 {
			fill(t, held)
		}
	}
	if !errors.Is(full, urlsession.ErrCannotWriteFile) {
		t.Fatalf("on a full disk: %v", full)
	}
	gate.Open()
	if err := origin.WaitIdle(ctx); err != nil {
		t.Fatal(err)
	}
	// Nothing can be recorded. None may have failed, and whatever ends has ended for good.
	short, cancel := context.WithTimeout(ctx, time.Second)
	for _, task := range tasks {
		if _, err := task.Wait(short); err != nil && short.Err() == nil {
			t.Errorf("on the full disk: %v", err)
		}
	}
	cancel()
	if err := os.Remove(held); err != nil {
		t.Fatal(err)
	}
	for i, task := range tasks {
		if _, err := task.Wait(ctx); err != nil {
			t.Errorf("with room again: %v", err)
		}
		if err := body.CheckFile(filepath.Join(folder, strconv.Itoa(i))); err != nil {
			t.Error(err)
		}
	}
	last := uint64(0)
	for _, ev := range stored(ctx, t, s) {
		if last++; ev.Sequence() != last {
			t.Fatalf("event %d came for %d", ev.Sequence(), last)
		}
	}
}
