package urlsession

import (
	"io"
	"net/http"
	"net/http/httptest"
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

// tusServer is as much of tus 1.0 as an upload takes. Of the first PATCH it reads 1 MiB.
type tusServer struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	held  []byte
	half  chan struct{} // closed when it has 1 MiB
	over  chan struct{} // closed when nothing more comes
}

func newTusServer(t *testing.T) *tusServer {
	s := &tusServer{half: make(chan struct{}), over: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(s.over) })
	return s
}

func (s *tusServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Method)
	w.Header().Set("Tus-Resumable", "1.0.0")
	switch r.Method {
	case http.MethodPost:
		w.Header().Set("Location", "/uploads/one")
		w.WriteHeader(http.StatusCreated)
		return
	case http.MethodPatch:
		body := io.Reader(r.Body)
		first := len(s.held) == 0
		if first {
			body = io.LimitReader(body, 1<<20)
		}
		b, _ := io.ReadAll(body)
		if s.held = append(s.held, b...); first {
			close(s.half)
			s.mu.Unlock()
			<-s.over
			s.mu.Lock()
			return
		}
	}
	w.Header().Set("Upload-Offset", strconv.Itoa(len(s.held)))
	w.Header().Set("Upload-Length", strconv.FormatInt(large.Size, 10))
	w.WriteHeader(http.StatusNoContent)
}

func (s *tusServer) methods() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked, " ")
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

// leaveAt is leave of a File at path, which a stalling server has 1 MiB of.
func leaveAt(t *testing.T, s *Session, srv *urlsessiontest.UploadServer, path string, change ...func(*Request)) []byte {
	t.Helper()
	r := Post(srv.URL+"/f?key=secret", File(path))
	for _, c := range change {
		c(&r)
	}
	return leave(t, s, r, func() error { return srv.WaitReceived(t.Context(), 1<<20) })
}
