package engine_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
)

// deletions is a server that is told that uploads are given up, and answers when it is let.
type deletions struct {
	answers chan struct{} // nil: at once

	mu            sync.Mutex
	all, at, most int
}

func (d *deletions) RoundTrip(req *http.Request) (*http.Response, error) {
	d.mu.Lock()
	d.all++
	d.at++
	d.most = max(d.most, d.at)
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.at--
	}()
	if d.answers != nil {
		select {
		case <-d.answers:
		case <-req.Context().Done():
			return nil, context.Cause(req.Context())
		}
	}
	return &http.Response{StatusCode: 204, Body: http.NoBody, Request: req}, nil
}

func (d *deletions) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all
}

func cancelUploads(t *testing.T, e *engine.Engine, n int) {
	t.Helper()
	for range n {
		id := create(t, e, get("http://h/", known, from(uploadOf(40)), func(s *task.Spec) { s.Suspended = true }))
		if err := e.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
}

// However many uploads are cancelled, a few servers are told at a time, and all of them in the end.
func TestAbandonedUploadsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := &deletions{answers: make(chan struct{})}
		e := start(t, hang, func(o *engine.Options) { o.RoundTripper = told })
		cancelUploads(t, e, 100)
		if told.count() != 8 {
			t.Errorf("%d requests at once", told.count())
		}
		close(told.answers)
		synctest.Wait()
		if told.count() != 100 || told.most > 8 {
			t.Errorf("%d were told, %d at once", told.count(), told.most)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Servers that do not answer hold up a session's end for five seconds, however many uploads they have.
func TestAbandonedUploadsHoldUpNoEnd(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *process){
		"close": func(t *testing.T, p *process) { p.Close() },
		"stop":  func(t *testing.T, p *process) { p.Stop(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := &deletions{answers: make(chan struct{})}
				p := newDisk().boot(t, hang, func(o *engine.Options) { o.RoundTripper = told })
				cancelUploads(t, p.Engine, 100)
				time.Sleep(3 * time.Second)
				begun := time.Now()
				end(t, p)
				if took := time.Since(begun); took != 5*time.Second {
					t.Errorf("it took %v", took)
				}
				if n := told.count(); n < 16 || n > 24 { // some begin as the time ends
					t.Errorf("%d were told", n)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // that its end cancels
		told := &deletions{answers: make(chan struct{})}
		e := start(t, named(40, hang), func(o *engine.Options) { o.RoundTripper, o.MaxPerHost = told, 100 })
		for range 100 {
			create(t, e, get("http://h/", known))
		}
		synctest.Wait()
		begun := time.Now()
		if err := e.Close(); err != nil || time.Since(begun) != 5*time.Second || told.count() > 16 {
			t.Errorf("%v, after %v and %d requests", err, time.Since(begun), told.count())
		}
	})
}
