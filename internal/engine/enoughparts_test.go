package engine_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

func parts(s *task.Spec) {
	upload(s)
	s.Upload = &task.UploadSpec{Multipart: &task.Multipart{Parts: []string{"http://h/secret1", "http://h/secret2"}, PartSize: 50}}
}

// told says whether a record has a URL of parts.
func told(rec task.Record) bool {
	u := rec.Spec.Upload
	return u == nil || u.Multipart == nil || len(u.Multipart.Parts) > 0 || u.Multipart.Abort != ""
}

// An attempt has the URLs of the parts; who asks for the task has not, whether it runs, is in the store alone, or is listed.
func TestPartsAreNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		gone := make(chan struct{})
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			if a.Spec.Upload.Multipart == nil || len(a.Spec.Upload.Multipart.Parts) != 2 {
				t.Errorf("the attempt has %+v", a.Spec.Upload)
			}
			<-gone
			return answer(200)(ctx, a)
		}, resident(1))
		for range 20 {
			create(t, p.Engine, get("http://h/", parts))
		}
		synctest.Wait()
		n := 0
		for rec, err := range p.Tasks(t.Context()) {
			if n++; err != nil || told(rec) {
				t.Errorf("listed: %+v, %v", rec.Spec.Upload, err)
			}
			one, err := p.Task(t.Context(), rec.ID)
			if err != nil || told(one) {
				t.Errorf("looked up: %+v, %v", one.Spec.Upload, err)
			}
			if kept := d.record(t, rec.ID).Spec.Upload.Multipart; kept == nil || len(kept.Parts) != 2 {
				t.Errorf("stored: %+v", kept)
			}
		}
		if n != 20 {
			t.Errorf("%d tasks", n)
		}
		close(gone)
		synctest.Wait()
		p.Close()
	})
}

// A body of unknown length that needs more parts than there are URLs makes no task, and leaves no copy.
func TestPartsOfACopiedBody(t *testing.T) {
	for body, fits := range map[string]bool{"": true, strings.Repeat("x", 100): true, strings.Repeat("x", 101): false} {
		d, s := newDisk(), spool{newFolder[string]()}
		p := d.boot(t, answer(200), func(o *engineOptions) { o.Spool = s })
		spec := get("http://h/", parts)
		spec.Request.Body = &task.Body{Size: -1}
		_, err := p.Create(t.Context(), spec, strings.NewReader(body))
		if fits != (err == nil) {
			t.Errorf("%d bytes: %v", len(body), err)
		}
		if !fits {
			if text := err.Error(); !strings.Contains(text, "need 3 parts of 50 bytes") || strings.Contains(text, "secret") {
				t.Error(text)
			}
			if files, _ := s.List(); len(files) != 0 || p.Alive() != 0 {
				t.Errorf("left: %v and %d tasks", files, p.Alive())
			}
		}
		p.Close()
	}
}
