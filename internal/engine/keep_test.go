package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// folder is a disk's folder of bodies, of responses by their numbers and of requests by their paths.
type folder[K comparable] struct {
	mu    sync.Mutex
	files map[K][]byte
	err   error
}

func newFolder[K comparable]() *folder[K] { return &folder[K]{files: make(map[K][]byte)} }

func (f *folder[K]) Put(k K, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.files[k] = bytes.Clone(b)
	}
	return f.err
}

func (f *folder[K]) Open(k K) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.files[k]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (f *folder[K]) Remove(k K) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.files, k)
	return nil
}

func (f *folder[K]) List() ([]K, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.files)), nil
}

func (f *folder[K]) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

type spool struct{ *folder[string] }

func (s spool) Keep(_ context.Context, body io.Reader) (task.Body, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return task.Body{}, err
	}
	s.mu.Lock()
	path := fmt.Sprintf("/spool/%d", len(s.files))
	s.mu.Unlock()
	return task.Body{Path: path, Size: int64(len(b))}, s.Put(path, b)
}

func withBodies(f *folder[task.ID]) func(*engine.Options) {
	return func(o *engine.Options) { o.Bodies = f }
}

func TestBodiesAreKeptWithTheirTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, f := newDisk(), newFolder[task.ID]()
		ctx := t.Context()
		p := &process{beforeSave: func(rec *task.Record) error {
			if _, err := f.Open(rec.ID); rec.State == task.Completed && rec.ID == 1 && err != nil {
				t.Error("the end of a task is stored before its body")
			}
			return nil
		}}
		run := func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			switch a.ID {
			case 2:
				return transfer.Result{Response: &task.Response{Status: 204}, Body: []byte{}}, nil
			case 3:
				return transfer.Result{Body: []byte("half")}, lost(false)
			}
			return answer(200)(ctx, a)
		}
		d.start(t, p, run, withBodies(f))
		for range 3 {
			end(t, p.Engine, create(t, p.Engine, get("http://h/")))
		}
		running := create(t, p.Engine, get("http://h/", suspended))
		p.crash()
		f.Put(99, []byte("of a task that a kill has kept from being"))
		p = d.boot(t, run, withBodies(f))
		synctest.Wait()
		for range 2 { // not once only
			for id, want := range map[task.ID]string{1: "body", 2: ""} {
				body, err := p.Body(ctx, id)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(body); err != nil || string(b) != want {
					t.Errorf("body of task %d: %q, %v", id, b, err)
				}
			}
		}
		for _, id := range []task.ID{3, running, 99} {
			if _, err := p.Body(ctx, id); !errors.Is(err, task.ResourceUnavailable) {
				t.Errorf("body of task %d: %v", id, err)
			}
		}
		if got, _ := f.List(); !slices.Equal(got, []task.ID{1}) {
			t.Errorf("kept are the bodies of %v", got)
		}
	})
}

func TestEndWaitsForItsBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, f := newDisk(), newFolder[task.ID]()
		f.fail(errors.New("no space left on device"))
		p := d.boot(t, answer(200), withBodies(f))
		id := create(t, p.Engine, get("http://h/"))
		time.Sleep(time.Minute)
		if rec := d.record(t, id); rec.State == task.Completed {
			t.Error("a task has ended without its body")
		}
		f.fail(nil)
		if rec := end(t, p.Engine, id); rec.Failure != nil {
			t.Error(rec.Failure.Err())
		}
		if _, err := p.Body(t.Context(), id); err != nil {
			t.Error(err)
		}
	})
}

func TestSpooledBodiesOutliveTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := newDisk(), spool{newFolder[string]()}
		ctx := t.Context()
		with := func(o *engine.Options) { o.Spool = s }
		p := d.boot(t, hang, with)
		spec := get("http://h/", method("PUT"), func(s *task.Spec) { s.Kind, s.Request.Body = task.Upload, &task.Body{Size: 3} })
		closed := false
		id, err := p.Create(ctx, spec, &closer{Reader: strings.NewReader("abc"), closed: &closed})
		if err != nil || !closed {
			t.Fatalf("%v; closed: %t", err, closed)
		}
		if _, err := p.Create(ctx, spec, strings.NewReader("abcd")); !errors.Is(err, task.BodyStreamExhausted) {
			t.Errorf("a body that is longer than was said: %v", err)
		}
		synctest.Wait()
		p.crash()
		if _, err := p.Create(ctx, spec, strings.NewReader("abc")); err == nil {
			t.Error("Create that was not stored gave no error")
		}
		s.Put("/spool/orphan", []byte("of a kill"))
		if files, _ := s.List(); len(files) != 2 {
			t.Fatalf("spooled: %v", files)
		}
		var sent string
		p = d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			b, _ := s.Open(a.Spec.Request.Body.Path)
			all, _ := io.ReadAll(b)
			sent = string(all)
			return answer(200)(ctx, a)
		}, with)
		if rec := end(t, p.Engine, id); rec.Failure != nil || sent != "abc" {
			t.Errorf("sent %q, %v", sent, rec.Failure.Err())
		}
		synctest.Wait()
		if files, _ := s.List(); len(files) != 0 {
			t.Errorf("left behind: %v", files)
		}
		p.Finish(ctx)
		if _, err := p.Create(ctx, spec, strings.NewReader("abc")); !errors.Is(err, task.SessionInvalidated) {
			t.Errorf("Create after Finish: %v", err)
		}
	})
}

type closer struct {
	io.Reader
	closed *bool
}

func (c *closer) Close() error { *c.closed = true; return nil }

func TestRetention(t *testing.T) {
	for _, c := range []struct {
		name string
		r    engine.Retention
		left []task.ID // of ten that ended a minute apart, of which eight are acknowledged, after an hour and a half
	}{
		{"none", engine.Retention{}, []task.ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"by number", engine.Retention{Count: 3}, []task.ID{6, 7, 8, 9, 10}},
		{"by age", engine.Retention{Age: time.Hour}, []task.ID{9, 10}},
		{"by age, later", engine.Retention{Age: 24 * time.Hour}, []task.ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"by both", engine.Retention{Age: 24 * time.Hour, Count: 1}, []task.ID{8, 9, 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, f := newDisk(), newFolder[task.ID]()
				ctx := t.Context()
				p := d.boot(t, answer(200), withBodies(f), func(o *engine.Options) { o.Retention = c.r })
				for range 10 {
					time.Sleep(time.Minute)
					id := create(t, p.Engine, get("http://h/"))
					end(t, p.Engine, id)
					p.Release(id)
				}
				p.Acknowledge(ctx, 16)
				time.Sleep(90 * time.Minute)
				var left []task.ID
				for rec, err := range p.Tasks(ctx) {
					if err != nil {
						t.Fatal(err)
					}
					left = append(left, rec.ID)
				}
				bodies, _ := f.List()
				slices.Sort(bodies)
				if !slices.Equal(left, c.left) || !slices.Equal(bodies, c.left) {
					t.Errorf("left are %v, with the bodies of %v", left, bodies)
				}
				var first task.Event
				var zero uint64
				for ev := range p.Events(ctx, task.EventQuery{After: &zero}) {
					first = ev
					break
				}
				if _, gap := first.Detail.(task.Gap); gap != (len(left) < 10) {
					t.Errorf("an observer behind is told %+v first", first)
				}
			})
		})
	}
}

func TestReplaceURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		ctx := t.Context()
		var l attempts
		run := l.run(func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if strings.HasPrefix(a.Spec.Request.URL, "http://old") {
				if a.Spec.Request.URL == "http://old/busy" {
					return answer(503, "Retry-After", "7200")(ctx, a)
				}
				return hang(ctx, a)
			}
			return answer(200)(ctx, a)
		})
		p := d.boot(t, run, func(o *engineOptions) { o.MaxPerHost = 1 })
		ids := map[string]task.ID{
			"running":   create(t, p.Engine, get("http://old/f?secret", download, toFolder)),
			"queued":    create(t, p.Engine, get("http://old/f", download, toFolder)),
			"suspended": create(t, p.Engine, get("http://old/f", download, toFolder, suspended)),
			"scheduled": create(t, p.Engine, get("http://old/f", download, toFolder, func(s *task.Spec) { s.EarliestBegin = time.Now().Add(time.Hour) })),
		}
		synctest.Wait()
		for name, id := range ids {
			if err := p.ReplaceURL(ctx, id, "http://new/g?other"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		retrying := create(t, p.Engine, get("http://old/busy", retries(-1)))
		synctest.Wait()
		p.ReplaceURL(ctx, retrying, "http://new/x")
		synctest.Wait()
		if rec, _ := p.Task(ctx, retrying); rec.State != task.Completed {
			t.Errorf("a task that waited for its retry: %+v", rec.Waiting)
		}
		p.crash()
		p = d.boot(t, run)
		p.Resume(ctx, ids["suspended"])
		for name, id := range ids {
			rec := end(t, p.Engine, id)
			if rec.Failure != nil || rec.Spec.Request.URL != "http://new/g?other" || !strings.HasPrefix(rec.Spec.Download.KeyURL, "http://old/f") {
				t.Errorf("%s: %+v", name, rec)
			}
		}
		for _, a := range l.list() {
			if strings.HasPrefix(a.Spec.Request.URL, "http://new/g") && a.Spec.Download.KeyURL == "" {
				t.Errorf("an attempt at the new URL looks for another part file")
			}
		}
		if err := p.ReplaceURL(ctx, ids["running"], "http://new/h"); err != nil {
			t.Errorf("of a task that has ended: %v", err)
		}
		for raw, code := range map[string]task.Code{"": task.BadURL, "/f": task.BadURL, "http://u:secret@h/%zz": task.BadURL, "ftp://h/secret?secret": task.UnsupportedURL} {
			if err := p.ReplaceURL(ctx, retrying, raw); !errors.Is(err, code) || strings.Contains(err.Error(), "?secret") || strings.Contains(err.Error(), "u:") {
				t.Errorf("%q: %v", raw, err)
			}
		}
		if err := p.ReplaceURL(ctx, 999, "http://new/"); !errors.Is(err, task.ResourceUnavailable) {
			t.Errorf("of an unknown task: %v", err)
		}
	})
}
