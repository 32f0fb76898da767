package urlsession_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// What a download was asked to check and to send is asked of the one that goes on from its resume data too.
func TestResumeDataKeepsDigestsHeaderAndConflict(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	content := urlsessiontest.Body{Seed: 7, Size: 12 << 20}
	srv.Publish("/f", urlsessiontest.Resource{Content: content, ETag: `"v1"`})
	srv.Script("/f", urlsessiontest.StallAt(urlsessiontest.AtBody(9<<20), urlsessiontest.Forever))

	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path := filepath.Join(t.TempDir(), "f")
	r := urlsession.Get(srv.URL + "/f")
	r.Header = map[string][]string{"X-Token": {"t1"}}
	r.Digests = []string{"sha-256=" + strings.Repeat("0", 64)}
	r.Conflict = urlsession.ConflictRename
	task, err := s.DownloadTask(t.Context(), r, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.WaitSent(t.Context(), "/f", 9<<20); err != nil {
		t.Fatal(err)
	}
	for {
		if st, err := task.Status(t.Context()); err != nil {
			t.Fatal(err)
		} else if st.BytesReceived == 9<<20 { // also what was read since the last write
			break
		}
	}
	data, err := task.CancelForResumeData(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var shown struct {
		Conflict string     `json:"conflict"`
		Held     [][2]int64 `json:"held"`
	}
	if err := json.Unmarshal(data, &shown); err != nil || shown.Conflict != "rename" || len(shown.Held) != 1 || shown.Held[0][1] != 9<<20 {
		t.Errorf("resume data %s, %v", data, err)
	}
	again, err := s.DownloadTaskWithResumeData(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Wait(t.Context()); !errors.Is(err, urlsession.ErrDigestMismatch) {
		t.Errorf("a wrong digest of the first request: %v", err)
	}
	reqs := srv.RequestsTo("/f")
	if last := reqs[len(reqs)-1]; last.Header.Get("X-Token") != "t1" || last.Header.Get("Range") != "bytes=9437184-" {
		t.Errorf("the second request's header: %v", last.Header)
	}
}
