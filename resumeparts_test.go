package urlsession

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// An upload in parts that is cancelled for its resume data keeps them at the store, and the task that is made of the data sends the rest.
func TestUploadInPartsGoesOnFromResumeData(t *testing.T) {
	eachKind(t, func(c *Configuration) { c.MaximumConnectionsPerDownload = 1 }, func(t *testing.T, s *Session, _ *urlsessiontest.Server) {
		store := urlsessiontest.NewMultipartServer(urlsessiontest.MinimumPart(1))
		t.Cleanup(store.Close)
		body := urlsessiontest.Body{Seed: 7, Size: 3 << 20}
		path := filepath.Join(t.TempDir(), "film.mov")
		if err := os.WriteFile(path, body.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		object := store.Create("film.mov", 3)
		object.Script(2, urlsessiontest.UploadStall(1000, urlsessiontest.Forever))
		r := Post(object.Complete, File(path))
		r.Multipart = &Multipart{Parts: object.Parts, PartSize: 1 << 20, Abort: object.Abort}
		first, err := s.UploadTask(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.WaitReceived(t.Context(), 1<<20+1000); err != nil {
			t.Fatal(err)
		}
		data, err := first.CancelForResumeData(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if object.State() != urlsessiontest.MultipartOpen {
			t.Fatal("the upload was dropped at the store")
		}
		made, err := s.UploadTaskWithResumeData(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := made.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(store.RequestsBy("PUT")); n != 4 {
			t.Errorf("%d parts were sent", n)
		}
		if n := len(store.RequestsBy("DELETE")); n != 0 {
			t.Errorf("%d requests to drop it", n)
		}
		if err := object.Check(body); err != nil {
			t.Error(err)
		}
		if parts := status(t, made).UploadedParts; len(parts) != 3 {
			t.Errorf("parts %v", parts)
		}
	})
}
