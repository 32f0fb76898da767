package server_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/control/server"
	"github.com/urlsession/urlsession/internal/task"
)

func TestStop(t *testing.T) {
	d := newDaemon(t, newNetwork().run)
	asked := 0
	d.options.Stop = func() { asked++ }
	d.start()
	if err := d.client().Stop(t.Context()); err != nil || asked != 1 {
		t.Errorf("%v, and it was asked %d times", err, asked)
	}
	for _, version := range []string{"1", "2"} { // one that was updated, too
		status, _ := d.raw("POST", "/v1/stop", "", "", func(r *http.Request) { r.Header.Set(control.VersionHeader, version) })
		if status != 202 {
			t.Errorf("a client of version %s: the status is %d, want 202", version, status)
		}
	}
	_, c := serve(t, newNetwork().run)
	if err := c.Stop(t.Context()); !errors.Is(err, task.Unknown) {
		t.Errorf("a daemon that does not stop for clients: %v", err)
	}
}

// TestBatchesAtOnce has many clients send batches: no more than two are in memory.
func TestBatchesAtOnce(t *testing.T) {
	d, c := serve(t, newNetwork().run)
	var now, peak atomic.Int32
	both := make(chan struct{})
	open := sync.OnceFunc(func() { close(both) })
	d.session().beforeBatch = func() {
		n := now.Add(1)
		defer now.Add(-1)
		if peak.Store(max(peak.Load(), n)); n == 2 {
			open()
		}
		<-both // the first two are there together, and the others come when they may
	}
	done := make(chan error)
	const batches = 6
	for range batches {
		go func() {
			_, err := c.CreateBatch(t.Context(), []task.Spec{get("hang"), get("hang")})
			done <- err
		}()
	}
	for range batches {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if peak.Load() != 2 {
		t.Errorf("%d batches were in memory at once, want 2", peak.Load())
	}
}

// A batch that comes while the daemon stops, which ends the contexts of all requests, is answered: with nothing the client
// would take it for made.
func TestBatchWhileTheDaemonStops(t *testing.T) {
	d := newDaemon(t, newNetwork().run)
	h := server.New(d.sessions, d.options)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 32 { // the room for one that is free may be seen first
		r := httptest.NewRequestWithContext(ctx, "POST", "http://"+control.Host+"/v1/sessions/s/batches", strings.NewReader("{}"))
		r.Header.Set(control.VersionHeader, "1")
		r.Header.Set("Content-Type", control.JSONMediaType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable && w.Code != http.StatusBadRequest {
			t.Fatalf("the status is %d: %q", w.Code, w.Body)
		}
	}
}
