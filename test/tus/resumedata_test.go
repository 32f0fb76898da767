package tus_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/test/tus"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// What tusd has of a cancelled upload, a task of its resume data does not send again.
func TestUrlsessionResumeData(t *testing.T) {
	large := urlsessiontest.Body{Seed: 6, Size: 32 << 20}
	path := filepath.Join(t.TempDir(), "film.mov")
	if err := os.WriteFile(path, large.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, how := range map[string]urlsession.Resumable{"tus": urlsession.ResumableTus, "ietf": urlsession.ResumableIETF} {
		t.Run(name, func(t *testing.T) {
			r, dir := new(recorder), t.TempDir()
			srv, err := tus.Start(dir, 0, r.wrap)
			if err != nil {
				t.Fatal(err)
			}
			defer srv.Close()
			conf := urlsession.Ephemeral()
			conf.Retries = 3
			s, err := urlsession.New(conf)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			request := urlsession.Post(srv.URL, urlsession.File(path))
			request.Resumable, request.FailOnHTTPError, request.RateLimit = how, true, 8<<20
			first, err := s.UploadTask(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			for ev, err := range first.Events(t.Context()) {
				if p, ok := ev.(urlsession.UploadProgress); err != nil || ok && p.TotalBytesSent > 4<<20 {
					break
				}
			}
			data, err := first.CancelForResumeData(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			task, err := s.UploadTaskWithResumeData(t.Context(), data)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := task.Wait(t.Context()); err != nil {
				t.Fatalf("%v after %s", err, r.methods())
			}
			asked := strings.Fields(r.methods())
			r.mu.Lock()
			last := r.headers[len(r.headers)-1].Get("Upload-Offset")
			r.mu.Unlock()
			if asked[len(asked)-1] != "PATCH" || len(last) < len("1000000") || strings.Contains(r.methods(), "DELETE") {
				t.Errorf("%s, the last from %s", r.methods(), last)
			}
			uploads, err := filepath.Glob(filepath.Join(dir, "*.info"))
			if err != nil {
				t.Fatal(err)
			}
			whole := 0
			for _, u := range uploads { // without those that were refused by version
				if large.CheckFile(strings.TrimSuffix(u, ".info")) == nil {
					whole++
				}
			}
			if whole != 1 {
				t.Errorf("%d of %d uploads are whole", whole, len(uploads))
			}
		})
	}
}
