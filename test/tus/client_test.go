package tus_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/test/tus"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// recorder is what tusd was asked for. It breaks off a request's body where broken says so.
type recorder struct {
	mu      sync.Mutex
	asked   []string
	headers []http.Header
	broken  map[string]int64 // by method and number from 1, as "PATCH 1": after how many bytes
	counts  map[string]int
}

func (r *recorder) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		if r.counts == nil {
			r.counts = make(map[string]int)
		}
		r.counts[req.Method]++
		n, breaks := r.broken[req.Method+" "+string(rune('0'+r.counts[req.Method]))]
		r.asked = append(r.asked, req.Method)
		r.headers = append(r.headers, req.Header.Clone())
		r.mu.Unlock()
		if breaks {
			req.Body = &breaking{req.Body, http.NewResponseController(w), n}
		}
		next.ServeHTTP(w, req)
	})
}

func (r *recorder) methods() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.asked, " ")
}

// breaking is a body of which nothing more comes after some bytes: tusd keeps those.
type breaking struct {
	io.ReadCloser
	conn *http.ResponseController
	left int64
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left == 0 {
		b.conn.SetReadDeadline(time.Now().Add(-time.Second))
		return b.ReadCloser.Read(p)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// Uploads to tusd, by each protocol: broken off and gone on with, they are there whole.
func TestUrlsession(t *testing.T) {
	large := urlsessiontest.Body{Seed: 6, Size: 3 << 20}
	path := filepath.Join(t.TempDir(), "film.mov")
	if err := os.WriteFile(path, large.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	const mib = 1 << 20
	for name, c := range map[string]struct {
		how    urlsession.Resumable
		broken map[string]int64
		asked  string
	}{
		"tus":       {urlsession.ResumableTus, map[string]int64{"PATCH 1": mib, "PATCH 2": mib / 2}, "POST PATCH HEAD PATCH HEAD PATCH"},
		"found out": {urlsession.ResumableAuto, map[string]int64{"PATCH 1": mib}, "POST POST PATCH HEAD PATCH"},
		"ietf":      {urlsession.ResumableIETF, map[string]int64{"PATCH 1": mib, "PATCH 2": mib}, "OPTIONS OPTIONS POST PATCH HEAD PATCH HEAD PATCH"},
		"at once":   {urlsession.ResumableTus, nil, "POST PATCH"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{broken: c.broken}
			dir := t.TempDir()
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
			request.Resumable, request.FailOnHTTPError = c.how, true
			request.Header = http.Header{"Content-Type": {"video/quicktime"}}
			task, err := s.UploadTask(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := task.Wait(t.Context()); err != nil || r.methods() != c.asked {
				t.Fatalf("%v after %s, want %s", err, r.methods(), c.asked)
			}
			uploads, err := filepath.Glob(filepath.Join(dir, "*.info"))
			if err != nil || len(uploads) != 1 {
				t.Fatalf("%d uploads, %v", len(uploads), err)
			}
			if err := large.CheckFile(strings.TrimSuffix(uploads[0], ".info")); err != nil {
				t.Error(err)
			}
			info, err := os.ReadFile(uploads[0])
			if err != nil || c.how != urlsession.ResumableIETF && (!strings.Contains(string(info), "film.mov") || !strings.Contains(string(info), "video/quicktime")) {
				t.Errorf("it knows %s, %v", info, err)
			}
		})
	}
}

// A cancelled upload is gone at tusd, a suspended one goes on.
func TestUrlsessionInterrupts(t *testing.T) {
	large := urlsessiontest.Body{Seed: 6, Size: 64 << 20}
	r := new(recorder)
	dir := t.TempDir()
	srv, err := tus.Start(dir, 0, r.wrap)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	s, err := urlsession.New(urlsession.Ephemeral())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	begin := func() *urlsession.Task {
		request := urlsession.Post(srv.URL, urlsession.Stream(large.Reader(), large.Size, func() (io.Reader, error) { return large.Reader(), nil }))
		request.Resumable, request.RateLimit = urlsession.ResumableTus, 1<<20
		task, err := s.UploadTask(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		for ev, err := range task.Events(t.Context()) {
			if p, ok := ev.(urlsession.UploadProgress); err != nil || ok && p.TotalBytesSent > 0 {
				break
			}
		}
		return task
	}
	task := begin()
	if err := task.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := task.SetRateLimit(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := task.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := task.Wait(t.Context()); err != nil || r.methods() != "POST PATCH HEAD PATCH" {
		t.Errorf("%v after %s", err, r.methods())
	}

	task = begin()
	if err := task.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	task.Wait(t.Context())
	if err := s.Close(); err != nil { // which waits for the DELETE
		t.Fatal(err)
	}
	if m := r.methods(); !strings.HasSuffix(m, " DELETE") {
		t.Errorf("asked %s", m)
	}
}
