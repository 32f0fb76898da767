package server_test

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
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
