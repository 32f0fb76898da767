package server_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
)

// An engine has all that a client has.
var (
	_ control.Service     = (*engine.Engine)(nil)
	_ control.Batcher     = (*engine.Engine)(nil)
	_ control.Pager       = (*engine.Engine)(nil)
	_ control.URLReplacer = (*engine.Engine)(nil)
)

// beyond are the behaviours of what a session in the daemon can do beyond a Service.
var beyond = []behaviour{
	{"a batch", func(t *testing.T, svc control.Service, _ *network) {
		b, ok := svc.(control.Batcher)
		if !ok {
			return
		}
		ids, err := b.CreateBatch(t.Context(), []task.Spec{get("ok"), get("refused"), get("ok")})
		if err != nil && strings.Contains(err.Error(), "unsupported") {
			return // the client can, and the service at its other end cannot
		}
		if err != nil || !slices.Equal(ids, []task.ID{1, 2, 3}) {
			t.Fatalf("%v, %v", ids, err)
		}
		for i, id := range ids {
			if rec := end(t, svc, id); (rec.Failure != nil) != (i == 1) {
				t.Errorf("task %d: %+v", id, rec.Failure)
			}
		}
		if ids, err := b.CreateBatch(t.Context(), nil); len(ids) != 0 || err != nil {
			t.Errorf("%v, %v", ids, err)
		}
		if err := svc.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = b.CreateBatch(t.Context(), []task.Spec{get("ok")})
		code(t, err, task.SessionInvalidated)
	}},
	{"a page", func(t *testing.T, svc control.Service, _ *network) {
		p, ok := svc.(control.Pager)
		if !ok {
			return
		}
		for range 10 {
			end(t, svc, create(t, svc, get("ok")))
		}
		var ids []task.ID
		for rec, err := range p.TasksAfter(t.Context(), 7) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, rec.ID)
		}
		if !slices.Equal(ids, []task.ID{8, 9, 10}) {
			t.Errorf("%v", ids)
		}
	}},
	{"another URL", func(t *testing.T, svc control.Service, _ *network) {
		r, ok := svc.(control.URLReplacer)
		if !ok {
			return
		}
		id := create(t, svc, get("hang"))
		code(t, r.ReplaceURL(t.Context(), id, "/new"), task.BadURL)
		code(t, r.ReplaceURL(t.Context(), id, "ftp://h/"), task.UnsupportedURL)
		err := r.ReplaceURL(t.Context(), id, "http://example.com/ok?sig=1")
		if err != nil && strings.Contains(err.Error(), "unsupported") {
			return // the client can, and the service at its other end cannot
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec := end(t, svc, id); rec.Failure != nil || rec.CurrentURL() != "http://example.com/ok?sig=1" {
			t.Errorf("%s, %+v", rec.CurrentURL(), rec.Failure)
		}
	}},
}
