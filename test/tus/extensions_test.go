package tus_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/test/tus"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// upload sends body to tusd, over connections if that is more than one, and returns the methods it was asked by. It fails unless
// all that is left at tusd is body.
func upload(t *testing.T, body urlsessiontest.Body, connections int, wrap func(http.Handler) http.Handler) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "film.mov")
	if err := os.WriteFile(path, body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	r := new(recorder)
	dir := t.TempDir()
	srv, err := tus.Start(dir, 0, func(next http.Handler) http.Handler {
		if wrap != nil {
			next = wrap(next)
		}
		return r.wrap(next)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	conf := urlsession.Ephemeral()
	conf.Retries, conf.MaximumConnectionsPerDownload = 5, connections
	s, err := urlsession.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	request := urlsession.Post(srv.URL, urlsession.File(path))
	request.Resumable, request.FailOnHTTPError = urlsession.ResumableTus, true
	task, err := s.UploadTask(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := task.Wait(t.Context()); err != nil {
		t.Fatalf("%v after %s", err, r.methods())
	}
	uploads, err := filepath.Glob(filepath.Join(dir, "*.info"))
	if err != nil {
		t.Fatal(err)
	}
	if len(uploads) == 0 {
		t.Error("nothing is left")
	}
	for _, info := range uploads {
		if err := body.CheckFile(strings.TrimSuffix(info, ".info")); err != nil {
			t.Errorf("%d uploads: %v", len(uploads), err)
		}
	}
	return strings.Fields(r.methods())
}

func count(asked []string, method string) int {
	return len(asked) - len(slices.DeleteFunc(slices.Clone(asked), func(m string) bool { return m == method }))
}

// faulty does to the n-th request that which picks as fault says.
func faulty(which func(*http.Request) bool, n int, fault func(w http.ResponseWriter, r *http.Request, next http.Handler)) func(http.Handler) http.Handler {
	var mu sync.Mutex
	seen := 0
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			hit := which(r)
			if hit {
				seen++
				hit = seen == n
			}
			mu.Unlock()
			if hit {
				fault(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// losesAnswer has all done that is asked for, and says nothing.
func losesAnswer(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(silent{http.Header{}}, r)
	panic(http.ErrAbortHandler)
}

type silent struct{ h http.Header }

func (s silent) Header() http.Header       { return s.h }
func (silent) Write(p []byte) (int, error) { return len(p), nil }
func (silent) WriteHeader(int)             {}

func method(name string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == name }
}

// A small upload is one request after OPTIONS.
func TestCreationWithUpload(t *testing.T) {
	small := urlsessiontest.Body{Seed: 4, Size: 500_000}
	if got := strings.Join(upload(t, small, 0, nil), " "); got != "OPTIONS POST" {
		t.Errorf("asked %s", got)
	}
}

// A large one goes in partial uploads, is joined, and nothing but it is left: cut, and with the last answer lost, too.
func TestConcatenation(t *testing.T) {
	large := urlsessiontest.Body{Seed: 4, Size: 40 << 20} // 5 parts
	final := func(r *http.Request) bool { return strings.HasPrefix(r.Header.Get("Upload-Concat"), "final;") }
	cut := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Body = &breaking{r.Body, http.NewResponseController(w), 1 << 20}
		next.ServeHTTP(w, r)
	}
	for name, c := range map[string]struct {
		wrap                  func(http.Handler) http.Handler
		posts, heads, patches int
	}{
		"at once":     {nil, 6, 0, 5},
		"cut":         {faulty(method("PATCH"), 2, cut), 6, 5, 6},
		"answer lost": {faulty(final, 1, losesAnswer), 7, 5, 5},
	} {
		t.Run(name, func(t *testing.T) {
			asked := upload(t, large, 4, c.wrap)
			posts, heads, patches := count(asked, "POST"), count(asked, "HEAD"), count(asked, "PATCH")
			if posts != c.posts || heads != c.heads || patches != c.patches || count(asked, "DELETE") != 5 {
				t.Errorf("asked %v", asked)
			}
		})
	}
}

// By default it is one.
func TestNoConcatenation(t *testing.T) {
	if got := strings.Join(upload(t, urlsessiontest.Body{Seed: 4, Size: 40 << 20}, 0, nil), " "); got != "OPTIONS POST PATCH" {
		t.Errorf("asked %s", got)
	}
}
