package daemon

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// interrupted is a download whose first attempt stands after half of the file.
func interrupted(t *testing.T) (srv *urlsessiontest.Server, file urlsessiontest.Body, spec task.Spec) {
	t.Helper()
	srv = origin(t)
	file = urlsessiontest.Body{Seed: 7, Size: 20 << 20}
	srv.Publish("/f", urlsessiontest.Resource{Content: file, ETag: `"v1"`})
	srv.Script("/f", urlsessiontest.StallAt(urlsessiontest.AtBody(file.Size/2), urlsessiontest.Forever))
	spec = download(srv.URL+"/f", filepath.Join(t.TempDir(), "f"))
	spec.Policy.Connections = 1 // or another would bring what this one stands before, while the daemon is on its way to its end
	return srv, file, spec
}

// resumed checks that the download has gone on in place of beginning anew.
func resumed(t *testing.T, srv *urlsessiontest.Server, file urlsessiontest.Body, rec task.Record) {
	t.Helper()
	must(t, file.CheckFile(rec.Path))
	if n := srv.Count("/f"); n != 2 {
		t.Errorf("there were %d requests, want 2", n)
	}
	if again := srv.Sent("/f") - file.Size; again > 8<<20 {
		t.Errorf("%d bytes were sent twice, at most 8 MiB may be", again)
	}
}

func TestRestartInTheMidst(t *testing.T) {
	srv, file, spec := interrupted(t)
	state := t.TempDir()
	d := start(t, state)
	c := dial(t, state, "s")
	id := create(t, c, spec)
	must(t, srv.WaitSent(within(t), "/f", file.Size/2))
	d.stop()
	start(t, state)
	resumed(t, srv, file, succeed(t, c, id))
}

func TestKilledInTheMidst(t *testing.T) {
	srv, file, spec := interrupted(t)
	state := t.TempDir()
	d := startChild(t, state)
	c := dial(t, state, "s")
	id := create(t, c, spec)
	ctx := within(t)
	for ev, err := range c.Events(ctx, task.EventQuery{Task: id}) { // until all of the half was written
		must(t, err)
		if p, ok := ev.Detail.(task.DownloadProgress); ok && p.Total == file.Size/2 {
			break
		}
	}
	d.kill()
	startChild(t, state)
	resumed(t, srv, file, succeed(t, c, id))
}

// TestKilledAfterTheAnswer kills the daemon at once when a creation has returned: the task runs all the same.
func TestKilledAfterTheAnswer(t *testing.T) {
	srv := origin(t, urlsessiontest.KeepBodies(1<<20))
	srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	srv.Publish("/u", urlsessiontest.Resource{})
	state := t.TempDir()
	d := startChild(t, state)
	c := dial(t, state, "s")
	id := create(t, c, data(srv.URL+"/d"))
	d.kill()
	d = startChild(t, state)
	succeed(t, c, id)

	body := strings.Repeat("bytes that came beside the spec. ", 1000)
	up := task.Spec{Kind: task.Upload, Request: task.Request{Method: "PUT", URL: srv.URL + "/u", Body: &task.Body{Size: int64(len(body))}}, Policy: policy}
	id, err := c.Create(within(t), up, strings.NewReader(body))
	must(t, err)
	d.kill()
	startChild(t, state)
	succeed(t, c, id)
	reqs := srv.RequestsTo("/u")
	if got := string(reqs[len(reqs)-1].Body); got != body {
		t.Errorf("%d bytes were uploaded, want %d", len(got), len(body))
	}
	until(t, "an empty spool", func() bool { // its body goes once the end is stored
		left, err := filepath.Glob(filepath.Join(state, "sessions", "*", "spool", "*"))
		must(t, err)
		return len(left) == 0
	})
}

// TestUnbrokenStream has a listener see one stream of events over a restart.
func TestUnbrokenStream(t *testing.T) {
	srv := origin(t)
	srv.Publish("/d", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	state := t.TempDir()
	d := start(t, state)
	c := dial(t, state, "s")
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var ended []task.ID
	var last uint64
	for ev, err := range c.Events(ctx, task.EventQuery{Own: true, DurableOnly: true}) {
		must(t, err)
		switch ev.Detail.(type) {
		case task.EventsCompleted:
			create(t, c, data(srv.URL+"/d"))
		case task.SessionCompleted:
			if ended = append(ended, ev.Task); len(ended) == 3 {
				cancel()
			} else {
				d.stop()
				d = start(t, state)
				create(t, c, data(srv.URL+"/d"))
			}
		}
		if ev.Sequence != 0 {
			if ev.Sequence != last+1 {
				t.Fatalf("after event %d comes %d", last, ev.Sequence)
			}
			last = ev.Sequence
		}
		if len(ended) == 3 {
			break
		}
	}
}

// TestStoppingDaemon answers what has clients come again, and its successor does what they asked.
func TestStoppingDaemon(t *testing.T) {
	state := t.TempDir()
	d := start(t, state)
	c := dial(t, state, "s")
	d.cancel()
	ids := make(chan task.ID)
	go func() {
		spec := data("http://127.0.0.1:1/")
		spec.Suspended = true
		id, err := c.Create(context.Background(), spec, nil)
		if err != nil {
			t.Errorf("a creation while the daemon stops: %v", err)
		}
		ids <- id
	}()
	waitFor(t, "the daemon's end", d.done)
	start(t, state)
	select {
	case id := <-ids:
		if _, err := c.Task(within(t), id); err != nil {
			t.Error(err)
		}
	case <-within(t).Done():
		t.Fatal("the creation does not return")
	}
}

func TestBatchAllOrNone(t *testing.T) {
	state := t.TempDir()
	d := startChild(t, state)
	c := dial(t, state, "s")
	batch := func(n int) []task.Spec {
		specs := make([]task.Spec, n)
		for i := range specs {
			specs[i] = data("http://127.0.0.1:1/")
			specs[i].Suspended = true
		}
		return specs
	}
	ids, err := c.CreateBatch(within(t), batch(control.MaxBatch))
	must(t, err)
	if len(ids) != control.MaxBatch || ids[len(ids)-1] != control.MaxBatch {
		t.Fatalf("%d tasks were made", len(ids))
	}
	bad := batch(10)
	bad[9].Policy.Ask.Redirect = true
	_, err = c.CreateBatch(within(t), bad)
	says(t, err, "no decision")
	ctx, cancel := context.WithCancel(within(t))
	var loop sync.WaitGroup
	made, more := 0, make(chan struct{}, 1000)
	loop.Go(func() { // the last of them is cut by the kill
		for range cap(more) {
			if _, err := c.CreateBatch(ctx, batch(500)); err != nil {
				return
			}
			made += 500
			more <- struct{}{}
		}
	})
	waitFor(t, "one more batch", more)
	waitFor(t, "yet one more", more)
	d.kill()
	cancel()
	loop.Wait()
	startChild(t, state)
	tasks := 0
	for _, err := range c.TasksAfter(within(t), control.MaxBatch) {
		must(t, err)
		tasks++
	}
	if tasks < made || tasks%500 != 0 {
		t.Errorf("after the first batch there are %d tasks, and the answers said %d", tasks, made)
	}
}
