package background

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// These tests kill the daemon at a chosen event of its files, as inotify tells it: the process goes on for the time that a
// signal takes, some microseconds, while the step that follows takes an fsync. So the n-th event is the window after the n-th
// step, and a sweep over n hits all of them.

// A download's end is: write the part, fsync, commit that the rename is to come, rename, fsync of the folder, commit of the
// end. The kill comes, in turn, at the part's last byte, at the database's first write after it (within the commit before the
// rename), at the rename, and at the database's first write after that (within the commit of the end, before its fsync).
func TestKilledAtADownloadsEnd(t *testing.T) {
	t.Parallel()
	const rounds = 16
	windows := []string{"part whole", "commit before the rename", "rename", "commit of the end"}
	origin := urlsessiontest.NewServer()
	defer origin.Close()
	body := urlsessiontest.Body{Seed: 1, Size: 300_000}
	origin.PublishFunc(func(path string) (urlsessiontest.Resource, bool) {
		return urlsessiontest.Resource{Content: body, ETag: `"v1"`}, true
	})
	k := running(t)
	s := k.session(k.configuration("com.example.ends"))
	folder := t.TempDir()
	hits := 0
	for round := range rounds {
		ctx := bounded(t)
		path := filepath.Join(folder, strconv.Itoa(round))
		window := windows[round%len(windows)]
		w := watch(t, folder, k.state)
		whole, renamed := false, false
		killed := k.killAt(w, func(e fileEvent) bool {
			renamed = renamed || e.renamedTo(path)
			whole = whole || renamed || e.what&unix.IN_MODIFY != 0 && filepath.Dir(e.path) == folder && size(e.path) == body.Size
			switch window {
			case "part whole":
				return whole
			case "commit before the rename":
				return whole && e.writtenTo(wal)
			case "rename":
				return renamed
			}
			return renamed && e.writtenTo(wal)
		})
		ended := make(chan error, 1)
		go func() { // the kill may come before the app has been told of the task, which is asked again then
			dl, err := s.DownloadTask(ctx, urlsession.Get(origin.URL+"/"+strconv.Itoa(round)), path)
			if err == nil {
				_, err = dl.Wait(ctx)
			}
			ended <- err
		}()
		select {
		case <-killed:
			hits++
		case err := <-ended: // it was faster
			ended <- err
		}
		w.close()
		k.kill() // it has been, or the event came late
		k.restart()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", window, err)
		}
		if err := body.CheckFile(path); err != nil {
			t.Errorf("%s: %v", window, err)
		}
	}
	if hits < rounds/2 {
		t.Errorf("only %d of %d kills came before the end", hits, rounds)
	}
	if left, err := filepath.Glob(filepath.Join(folder, "*.part*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %q (%v)", left, err)
	}
	ends := make(map[urlsession.TaskID]int)
	for _, ev := range stored(bounded(t), t, s) {
		if _, ok := ev.(urlsession.Completed); ok {
			ends[ev.Task()]++
		}
	}
	for id := urlsession.TaskID(1); id <= rounds; id++ {
		if ends[id] != 1 {
			t.Errorf("task %d has ended %d times", id, ends[id])
		}
	}
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}

// stored are the events of a session that are stored.
func stored(ctx context.Context, t testing.TB, s *urlsession.Session) (list []urlsession.Event) {
	t.Helper()
	for ev, err := range s.Observe(ctx, new(uint64)) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Name() == "sessioneventscompleted" {
			break
		}
		if ev.Sequence() > 0 {
			list = append(list, ev)
		}
	}
	return list
}

// A batch is there whole or not at all, wherever the daemon was killed on its way; and an app that has waited for the answer
// has it once. The kills sweep the time that a batch takes.
func TestKilledInABatch(t *testing.T) {
	t.Parallel()
	const most, rounds = 500, 8 // tasks of a batch, and kills
	k := running(t)
	enqueue := func(ctx context.Context, s *urlsession.Session) ([]*urlsession.Task, error) {
		downloads := make([]urlsession.Download, most)
		for i := range downloads {
			r := urlsession.Get("http://127.0.0.1:1/" + strconv.Itoa(i))
			r.Suspended = true
			downloads[i] = urlsession.Download{Request: r, Destination: filepath.Join(k.state, "..", strconv.Itoa(i))}
		}
		return s.DownloadTasks(ctx, downloads)
	}
	began := time.Now()
	if _, err := enqueue(bounded(t), k.session(k.configuration("com.example.batch"))); err != nil {
		t.Fatal(err)
	}
	takes := time.Since(began)
	for _, patient := range []bool{false, true} {
		whole := 0
		for round := range rounds {
			s := k.session(k.configuration(fmt.Sprintf("com.example.batch.%v.%d", patient, round)))
			ctx := bounded(t)
			asked, giveUp := context.WithCancel(ctx)
			var made []*urlsession.Task
			var err error
			var asking sync.WaitGroup
			asking.Go(func() { made, err = enqueue(asked, s) })
			after := takes * time.Duration(round+1) / rounds
			<-time.After(after)
			k.kill()
			if !patient {
				giveUp()
			}
			k.restart()
			asking.Wait()
			giveUp()
			there := 0
			for _, err := range s.Statuses(ctx, 0) {
				if err != nil {
					t.Fatal(err)
				}
				there++
			}
			switch {
			case there != 0 && there != most:
				t.Errorf("killed after %v, %d of the %d tasks are there", after, there, most)
			case (patient || err == nil) && (err != nil || there != most || len(made) != most):
				t.Errorf("killed after %v, the app was told of %d tasks (%v), and %d are there", after, len(made), err, there)
			}
			if there == most {
				whole++
			}
		}
		t.Logf("patient %v: %d of %d batches are there", patient, whole, rounds)
	}
}

// An upload from bytes is there with its whole body or not at all, wherever the daemon was killed while it took the body; and
// no body is left of one that is not.
func TestKilledInTheCreationOfAnUpload(t *testing.T) {
	t.Parallel()
	origin := urlsessiontest.NewServer()
	defer origin.Close()
	k := running(t)
	body := urlsessiontest.Body{Seed: 3, Size: 2 * mib}
	want := body.SHA256()
	s := k.session(k.configuration("com.example.uploads"))
	for round := 1; round <= 16; round++ {
		patient := round%2 == 0
		ctx := bounded(t)
		asked, giveUp := context.WithCancel(ctx)
		w := watch(t, append(folders(t, k.state), k.state)...)
		n := 1 << (round / 2)
		killed := k.killAt(w, nth(n, func(e fileEvent) bool { return filepath.Ext(e.path) != ".log" }))
		path := fmt.Sprintf("/%d", round)
		var asking sync.WaitGroup
		answered := make(chan struct{})
		var err error
		asking.Go(func() {
			defer close(answered)
			_, err = s.UploadTask(asked, urlsession.Put(origin.URL+path, urlsession.Bytes(body.Bytes())))
		})
		select {
		case <-killed:
		case <-answered:
		}
		if !patient {
			giveUp()
		}
		k.kill()
		k.restart()
		asking.Wait()
		giveUp()
		w.close()
		if patient && err != nil {
			t.Errorf("killed at file event %d: %v", n, err)
		}
		made := 0
		for st, err := range s.Statuses(ctx, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if st.OriginalURL != origin.URL+path {
				continue
			}
			made++
			task, err := s.Task(ctx, st.Identifier)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := task.Wait(ctx); err != nil {
				t.Errorf("killed at file event %d: %v", n, err)
			}
			arrived := false
			for _, r := range origin.RequestsTo(path) {
				arrived = arrived || r.Method == http.MethodPut && r.BodySHA256 == want
			}
			if !arrived {
				t.Errorf("killed at file event %d, its body has never arrived whole", n)
			}
		}
		if made > 1 || err == nil && made != 1 {
			t.Errorf("killed at file event %d, there are %d tasks (%v)", n, made, err)
		}
	}
	k.terminate()
	k.restart()
	for _, folder := range folders(t, filepath.Join(k.state, "sessions")) {
		names, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range names {
			if info, err := e.Info(); err == nil && info.Size() >= body.Size {
				t.Errorf("%s is left of the uploads", filepath.Join(folder, e.Name()))
			}
		}
	}
}

// folders are the folders below one, and itself.
func folders(t testing.TB, root string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// The very first start makes the key, the database and its tables (which is the migration from nothing). It is killed at the
// first event of each kind at each of its files, such as the first write to the database, and the next one comes up, and works.
func TestKilledAtTheFirstStart(t *testing.T) {
	t.Parallel()
	origin := hello(t)
	// killed starts a daemon in a fresh folder, kills it at the first event that f is true of, or when it answers, and looks at
	// the next one.
	killed := func(what string, f func(fileEvent) bool) {
		ctx := bounded(t)
		k := newKeeper(t)
		if err := os.Mkdir(k.state, 0o700); err != nil {
			t.Fatal(err)
		}
		w := watch(t, k.state)
		k.start()
		at := k.killAt(w, func(e fileEvent) bool {
			e.path = filepath.Base(e.path)
			return f(e)
		})
		cmd, _ := k.process()
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for waiting := true; waiting; {
			select {
			case <-at:
				waiting = false
			case <-tick.C:
				waiting = !k.answers(cmd.Process.Pid)
			case <-ctx.Done():
				t.Fatalf("%s: it neither answers nor does that:\n%s", what, k.said())
			}
		}
		w.close()
		<-at
		k.kill()
		k.restart()
		s := k.session(k.configuration("com.example.first"))
		if body, _, err := s.Data(ctx, urlsession.Get(origin.URL+"/f")); err != nil || string(body) != "hello from /f" {
			t.Errorf("killed at %s, the next daemon answers %q (%v)", what, body, err)
		}
		k.kill()
	}
	var steps []fileEvent
	killed("no step", func(e fileEvent) bool {
		if !slices.Contains(steps, e) {
			steps = append(steps, e)
		}
		return false
	})
	for _, step := range steps {
		killed(fmt.Sprintf("event %#x of %s", step.what, step.path), func(e fileEvent) bool { return e == step })
	}
	if len(steps) < 8 {
		t.Errorf("only these steps: %v", steps)
	}
}
