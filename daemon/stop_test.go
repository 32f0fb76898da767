package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// hurry shortens the time that a stop may take.
func hurry(t *testing.T) {
	before := stopFor
	stopFor = 100 * time.Millisecond
	t.Cleanup(func() { stopFor = before })
}

// TestStopDuringAPost breaks off a request that must not be sent twice, once its time is over; the next daemon does not send
// it again, and says why.
func TestStopDuringAPost(t *testing.T) {
	srv := origin(t)
	srv.Always("/post", urlsessiontest.StallAt(urlsessiontest.AtByte(0), urlsessiontest.Forever))
	state := t.TempDir()
	d := start(t, state)
	c := dial(t, state, "s")
	spec := data(srv.URL + "/post")
	spec.Request.Method = "POST"
	id := create(t, c, spec)
	must(t, srv.WaitRequests(within(t), "/post", 1))
	hurry(t)
	d.stop()
	start(t, state)
	rec := end(t, c, id)
	if rec.Failure == nil || rec.Failure.Code != task.ConnectionLost {
		t.Errorf("the task ended with %+v", rec.Failure)
	}
	if n := srv.Count("/post"); n != 1 {
		t.Errorf("the request was sent %d times", n)
	}
}

// TestStopDuringABody stops while a client sends a body that has no end: there is no task, and nothing is left of it.
func TestStopDuringABody(t *testing.T) {
	state := t.TempDir()
	d := start(t, state)
	c := dial(t, state, "s")
	body, app := io.Pipe()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		spec := task.Spec{Kind: task.Upload, Request: task.Request{Method: "PUT", URL: "http://127.0.0.1:1/", Body: &task.Body{Size: -1}}, Policy: policy}
		if _, err := c.Create(ctx, spec, body); err == nil {
			t.Error("a task was made of half a body")
		}
	}()
	_, err := io.Copy(app, strings.NewReader(strings.Repeat("x", 1<<20)))
	must(t, err)
	spool := filepath.Join(control.SessionFolder(state, "s"), "spool")
	until(t, "the spool", func() bool { return len(files(t, spool)) == 1 })
	hurry(t)
	d.stop()
	if left := files(t, spool); len(left) != 0 {
		t.Errorf("the spool has %v", left)
	}
	cancel()
	app.Close()
	waitFor(t, "the client's error", failed)
}

// TestStopDropsSilentConnections: net/http's Shutdown would wait 5 s for them.
func TestStopDropsSilentConnections(t *testing.T) {
	h := &httpServer{silent: make(map[net.Conn]struct{})}
	closed := func(state ...http.ConnState) bool {
		near, far := net.Pipe()
		defer far.Close()
		for _, s := range state {
			h.watch(near, s)
		}
		h.dropSilent()
		return near.SetDeadline(time.Time{}) == io.ErrClosedPipe
	}
	if closed(http.StateNew, http.StateActive) {
		t.Error("a connection that asks was closed")
	}
	h.silent = make(map[net.Conn]struct{})
	if !closed(http.StateNew) {
		t.Error("a silent one was not")
	}
	if !closed(http.StateNew) {
		t.Error("nor was one that came later")
	}
}
