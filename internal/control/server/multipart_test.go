package server_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// inParts is an upload of a file in n parts, whose URLs are signed ones.
func inParts(n int) task.Spec {
	s := task.Spec{Kind: task.Upload, Request: task.Request{Method: "POST", URL: "http://example.com/ok", Body: &task.Body{Path: "/f", Size: int64(n)}}}
	m := &task.Multipart{PartSize: 1, Completes: true, Abort: "http://example.com/abort"}
	for i := range n {
		m.Parts = append(m.Parts, fmt.Sprintf("http://example.com/object?partNumber=%d&uploadId=1&X-Amz-Signature=%s", i+1, strings.Repeat("f", 530)))
	}
	s.Upload = &task.UploadSpec{Multipart: m}
	return s
}

// TestMostParts: 10,000 signed URLs, some 6 MB, arrive whole, with a body and without; those who list the tasks do not get them.
func TestMostParts(t *testing.T) {
	var mu sync.Mutex
	var ran []*task.Multipart
	d, c := serve(t, func(_ context.Context, a *transfer.Attempt) (transfer.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		ran = append(ran, a.Spec.Upload.Multipart)
		return transfer.Result{Response: &task.Response{Status: 200}}, nil
	})
	spec := inParts(10_000)
	last := spec.Upload.Multipart.Parts[9_999]
	withBody := spec
	withBody.Request.Body = &task.Body{Size: 4}
	if _, err := c.Create(t.Context(), withBody, strings.NewReader("body")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	ids, err := c.CreateBatch(t.Context(), []task.Spec{spec, spec, spec})
	if err != nil {
		t.Fatal(err)
	}
	for id := task.ID(1); id <= ids[2]; id++ {
		if rec := end(t, c, id); rec.Failure != nil {
			t.Errorf("%d: %+v", id, rec.Failure)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ran) != 5 {
		t.Fatalf("%d tasks ran", len(ran))
	}
	for _, m := range ran {
		if m == nil || len(m.Parts) != 10_000 || m.Parts[9_999] != last {
			t.Errorf("an attempt had %d parts", len(m.Parts))
		}
	}
	if _, list := d.raw("GET", "/v1/sessions/s/tasks", "", ""); len(list) > 10_000 || strings.Contains(list, "X-Amz-Signature") {
		t.Errorf("the list is of %d bytes", len(list))
	}
	spec.Description = strings.Repeat("x", control.MaxSpec)
	_, err = c.Create(t.Context(), spec, nil)
	code(t, err, task.Unknown)
}

// manyParts is a session with tasks whose servers have 10,000 parts each.
type manyParts struct{ control.Service }

func (manyParts) Tasks(context.Context) iter.Seq2[task.Record, error] {
	up := &task.UploadState{Protocol: task.ResumableParts}
	for i := range 10_000 {
		up.Parts = append(up.Parts, task.Part{Number: i + 1, ETag: `"00112233445566778899aabbccddeeff"`})
	}
	return func(yield func(task.Record, error) bool) {
		for id := task.ID(1); id <= 25; id++ {
			if !yield(task.Record{ID: id, Upload: up}, nil) {
				return
			}
		}
	}
}

// TestPagesOfParts: a page ends where its parts are many, and the next goes on behind it.
func TestPagesOfParts(t *testing.T) {
	d := newDaemon(t, newNetwork().run)
	d.sessions.show = func(s control.Service) control.Service { return manyParts{s} }
	d.start()
	c := d.client()
	next := task.ID(1)
	for rec, err := range c.Tasks(t.Context()) {
		if err != nil || rec.ID != next || len(rec.Upload.Parts) != 10_000 {
			t.Fatalf("%d with %d parts in place of %d, %v", rec.ID, len(rec.Upload.Parts), next, err)
		}
		next++
	}
	if next != 26 {
		t.Errorf("the list ended before %d", next)
	}
	if _, page := d.raw("GET", "/v1/sessions/s/tasks?limit=1000", "", ""); len(page) > 10<<20 || !strings.Contains(page, `"next":10`) {
		t.Errorf("a page of %d bytes", len(page))
	}
}

func TestPartsThatAreRefused(t *testing.T) {
	_, c := serve(t, newNetwork().run)
	for name, change := range map[string]func(*task.Spec, *task.Multipart){
		"from 1 to 10000": func(_ *task.Spec, m *task.Multipart) { m.Parts = nil },
		"10001 URLs":      func(_ *task.Spec, m *task.Multipart) { m.Parts = make([]string, 10_001) },
		"parts of 0":      func(_ *task.Spec, m *task.Multipart) { m.PartSize = 0 },
		"only an upload":  func(s *task.Spec, _ *task.Multipart) { s.Kind = task.Data },
		"of a body":       func(s *task.Spec, _ *task.Multipart) { s.Request.Body = nil },
		"by POST":         func(s *task.Spec, _ *task.Multipart) { s.Request.Method = "PUT" },
		"-1002":           func(_ *task.Spec, m *task.Multipart) { m.Parts[1] = "ftp://example.com/secret" },
		"-1000":           func(_ *task.Spec, m *task.Multipart) { m.Abort = "/secret" },
		"part 3":          func(_ *task.Spec, m *task.Multipart) { m.Uploaded = []task.Part{{Number: 3, ETag: "e"}} },
		"part 0":          func(_ *task.Spec, m *task.Multipart) { m.Uploaded = []task.Part{{ETag: "e"}} },
		"part 1":          func(_ *task.Spec, m *task.Multipart) { m.Uploaded = []task.Part{{Number: 1}} },
		"after the one": func(_ *task.Spec, m *task.Multipart) {
			m.Uploaded = []task.Part{{Number: 2, ETag: "e"}, {Number: 2, ETag: "e"}}
		},
	} {
		spec := inParts(2)
		change(&spec, spec.Upload.Multipart)
		_, err := c.Create(t.Context(), spec, nil)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
