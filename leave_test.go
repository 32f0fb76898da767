package urlsession

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// stalling is a server of one interop version that refuses all others. The first request whose body it takes it reads 1 MiB of.
func stalling(t *testing.T, version int) *urlsessiontest.UploadServer {
	srv := resumable(t)
	var once sync.Once
	srv.Always("/f", func(r *urlsessiontest.UploadReply) {
		asked := r.Request.Header.Get("Upload-Draft-Interop-Version")
		switch {
		case asked != "" && asked != strconv.Itoa(version):
			urlsessiontest.UploadStatus(http.StatusBadRequest)(r)
		case r.Request.ContentLength > 1<<20:
			once.Do(func() { urlsessiontest.UploadStall(1<<20, urlsessiontest.Forever)(r) })
		}
	})
	return srv
}

// leave cancels an upload for its resume data once ready has returned.
func leave(t *testing.T, s *Session, r Request, ready func() error) []byte {
	t.Helper()
	made, err := s.UploadTask(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := ready(); err != nil {
		t.Fatal(err)
	}
	if now, err := made.ResumeData(t.Context()); err != nil || !strings.Contains(string(now), "/uploads/") {
		t.Errorf("under way: %s, %v", now, err)
	}
	data, err := made.CancelForResumeData(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, status(t, made).Err, ErrCancelled)
	if again, err := made.ResumeData(t.Context()); err != nil || string(again) != string(data) {
		t.Errorf("%s, then %s, %v", data, again, err)
	}
	return data
}

// origin is a server of uploads, of either protocol.
type origin interface {
	Requests() []urlsessiontest.Request
	WaitReceived(ctx context.Context, n int64) error
}

// leaveAt is leave of a File at path, which a stalling server at url has 1 MiB of.
func leaveAt(t *testing.T, s *Session, srv origin, url, path string, change ...func(*Request)) []byte {
	t.Helper()
	r := Post(url+"/f?key=secret", File(path))
	for _, c := range change {
		c(&r)
	}
	return leave(t, s, r, func() error { return srv.WaitReceived(t.Context(), 1<<20) })
}
