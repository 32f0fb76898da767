package engine_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
	"github.com/urlsession/urlsession/internal/transport"
)

// An engine that stops begins nothing, runs no download to its end, and leaves what was not sent to the next.
func TestStopOverABlockedOrigin(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	blocked, arrived := make(chan struct{}), make(chan string, 10)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Etag", `"v"`)
		w.Header().Set("Content-Length", "1000000")
		w.Write(make([]byte, 100_000))
		w.(http.Flusher).Flush()
		arrived <- req.Method
		select {
		case <-blocked:
		case <-req.Context().Done():
		}
		w.Write(make([]byte, 900_000))
	})}
	go server.Serve(l)
	defer server.Close()
	defer close(blocked)
	// The second host has a listener that nobody accepts from, and TLS begins by waiting for the other end: nothing of a
	// request leaves.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	rt, err := transport.New(transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.CloseIdleConnections()

	d := newDisk()
	e, err := engine.Open(ctx, engine.Options{Session: "s", Store: d.Store, RoundTripper: rt, MaxPerHost: 1})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	down := create(t, e, get("http://"+l.Addr().String()+"/", download, func(s *task.Spec) {
		s.Download = &task.DownloadSpec{Destination: file, Path: file}
	}))
	next := create(t, e, get("http://"+l.Addr().String()+"/next"))
	post := create(t, e, get("https://"+silent.Addr().String()+"/", method("POST")))
	select {
	case <-arrived:
	case <-ctx.Done():
		t.Fatal("the download never began")
	}
	received(t, e, down)
	for rec, _ := e.Task(ctx, post); rec.Attempt == 0; rec, _ = e.Task(ctx, post) {
		if ctx.Err() != nil {
			t.Fatal("the POST never began")
		}
	}
	now, stop := context.WithCancel(ctx)
	stop()
	if err := e.Stop(now); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	for id, want := range map[task.ID]struct {
		attempt  int
		underWay bool
	}{down: {1, false}, next: {0, false}, post: {1, false}} {
		if rec := d.record(t, id); rec.State != task.Running || rec.Attempt != want.attempt || rec.UnderWay != want.underWay {
			t.Errorf("task %d: %s after %d attempts, under way %v; %v", id, rec.State, rec.Attempt, rec.UnderWay, rec.Failure.Err())
		}
	}
	if held := d.record(t, down).ResumeData; held == nil || len(held.Held) == 0 {
		t.Errorf("what the download has is not recorded: %+v", held)
	}
}

// received waits until some bytes of a task are here.
func received(t *testing.T, e *engine.Engine, id task.ID) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if rec, err := e.Task(t.Context(), id); err != nil || rec.Counts.Received > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing of task %d arrived", id)
		}
	}
}

// watched fails the test when it is written to after the end.
type watched struct {
	*memstore.Store
	t    *testing.T
	over bool
}

func (w *watched) Save(ctx context.Context, rec *task.Record, details ...task.Detail) (uint64, error) {
	if w.over {
		w.t.Error("a record was written after Stop had returned")
	}
	return w.Store.Save(ctx, rec, details...)
}

func (w *watched) Acknowledge(ctx context.Context, to uint64) error {
	if w.over {
		w.t.Error("the cursor was moved after Stop had returned")
	}
	return w.Store.Acknowledge(ctx, to)
}

func TestNothingIsWrittenAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watched{Store: memstore.New("s"), t: t}
		ctx := t.Context()
		e, err := engine.Open(ctx, engine.Options{Session: "s", Store: w, MaxPerHost: 1, Resident: 1, Run: func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if a.ID == 1 {
				return answer(503, "Retry-After", "3")(ctx, a)
			}
			return hang(ctx, a)
		}})
		if err != nil {
			t.Fatal(err)
		}
		create(t, e, get("http://h/", retries(3)))
		for range 10 {
			create(t, e, get("http://g/", timeout(time.Minute)))
		}
		later := create(t, e, get("http://g/", func(s *task.Spec) { s.EarliestBegin = time.Now().Add(time.Second) }))
		synctest.Wait()
		if err := e.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		w.over = true
		for what, err := range map[string]error{
			"suspend": e.Suspend(ctx, later), "cancel": e.Cancel(ctx, 1), "acknowledge": e.Acknowledge(ctx, 1),
			"finish": e.Finish(ctx), "priority": e.SetPriority(ctx, 1, 1), "URL": e.ReplaceURL(ctx, 1, "http://i/"),
		} {
			if !errors.Is(err, task.DaemonLost) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for _, err := range e.Events(ctx, task.EventQuery{Task: later}) {
			if !errors.Is(err, task.DaemonLost) {
				t.Errorf("listen: %v", err)
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		e.SetLimits(100, 0)
		time.Sleep(time.Hour)
		synctest.Wait()
	})
}

// A slot was given, and the engine stops before its attempt has begun.
func TestStopBeforeAnAttemptBegins(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := newDisk()
	p := &process{}
	looks, slow := make(chan struct{}, 1), make(chan struct{})
	d.start(t, p, hang, func(o *engine.Options) {
		o.Space = func(string) (int64, error) {
			looks <- struct{}{}
			<-slow
			return 1 << 40, nil
		}
	})
	id := create(t, p.Engine, get("http://h/", download, func(s *task.Spec) {
		s.Policy.WaitsForSpace = true
		s.Download = &task.DownloadSpec{Destination: "f", Path: "/tmp/f"}
	}))
	<-looks
	stopped := make(chan error, 1)
	go func() { stopped <- p.Stop(ctx) }()
	for !errors.Is(p.Suspend(ctx, id+1), task.DaemonLost) { // it stops not yet
		if ctx.Err() != nil {
			t.Fatal("it never began to stop")
		}
	}
	close(slow)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if rec := d.record(t, id); rec.Attempt != 0 || rec.State != task.Running {
		t.Errorf("%s after %d attempts", rec.State, rec.Attempt)
	}
}
