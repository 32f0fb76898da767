package transfer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	"github.com/urlsession/urlsession/urlsessiontest"
)

func TestMain(m *testing.M) {
	if os.Getenv(killedURL) != "" {
		downloadUntilKilled()
	}
	goleak.VerifyTestMain(m)
}

// file is what most tests download: more than a gathered write.
var file = urlsessiontest.Body{Seed: 1, Size: 300_000}

// newOrigin is an origin with file at /f, of a strong ETag.
func newOrigin(t *testing.T, opts ...urlsessiontest.Option) *urlsessiontest.Server {
	t.Helper()
	srv := urlsessiontest.NewServer(opts...)
	t.Cleanup(srv.Close)
	srv.Publish("/f", urlsessiontest.Resource{Content: file, ETag: `"v1"`})
	return srv
}

func newTransport(t *testing.T, o transport.Options) *transport.Transport {
	t.Helper()
	rt, err := transport.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rt.CloseIdleConnections)
	return rt
}

// observer records what it is told, and answers as its functions say.
type observer struct {
	onResponse  func(context.Context, *task.Response) error
	onChallenge func(task.Challenge) (task.Answer, error)
	onRedirect  func(status int, from, to *http.Request) (*http.Request, error)
	onData      func(context.Context, []byte) error

	mu         sync.Mutex
	calls      []string // "redirect 302", "response 200", "data"
	received   []int64
	onReceived func(total int64)
	expected   int64
	sent       int64
	sentTotal  int64
	data       []byte
}

func (o *observer) Redirect(_ context.Context, status int, from, to *http.Request) (*http.Request, error) {
	o.call("redirect %d", status)
	if o.onRedirect != nil {
		return o.onRedirect(status, from, to)
	}
	return to, nil
}

func (o *observer) Challenge(_ context.Context, c task.Challenge) (task.Answer, error) {
	o.call("challenge %s", c.Space.Method)
	if o.onChallenge != nil {
		return o.onChallenge(c)
	}
	return task.Answer{}, nil
}

func (o *observer) Response(ctx context.Context, r *task.Response) error {
	o.call("response %d", r.Status)
	if o.onResponse != nil {
		return o.onResponse(ctx, r)
	}
	return nil
}

func (o *observer) Sent(total, expected int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent, o.sentTotal = total, expected
}

func (o *observer) Received(total, expected int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.received, o.expected = append(o.received, total), expected
	if o.onReceived != nil {
		o.onReceived(total)
	}
}

func (o *observer) Data(ctx context.Context, p []byte) error {
	o.call("data")
	o.data = append(o.data, p...)
	if o.onData != nil {
		return o.onData(ctx, p)
	}
	return nil
}

func (o *observer) call(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, fmt.Sprintf(format, args...))
}

func (o *observer) told() string { return strings.Join(o.calls, ", ") }

// newDownload is an attempt at GET url into path.
func newDownload(t *testing.T, rt http.RoundTripper, url, path string) *Attempt {
	t.Helper()
	return &Attempt{
		ID: 1, Number: 1, RoundTripper: rt, Observer: &observer{},
		Spec: &task.Spec{
			Kind:    task.Download,
			Request: task.Request{Method: "GET", URL: url},
			Policy:  task.Policy{RequestTimeout: 20 * time.Second},
			Download: &task.DownloadSpec{
				Destination: path, Path: path,
			},
		},
	}
}

// newFixture is an origin, and a download of its file into an empty folder.
func newFixture(t *testing.T, opts ...urlsessiontest.Option) (*urlsessiontest.Server, *Attempt) {
	t.Helper()
	srv := newOrigin(t, opts...)
	rt := newTransport(t, transport.Options{TLS: transport.TLS{Roots: urlsessiontest.CAPool()}})
	return srv, newDownload(t, rt, srv.URL+"/f", filepath.Join(t.TempDir(), "file.bin"))
}

// again is the task's next attempt.
func again(a *Attempt) *Attempt {
	next := *a
	next.Number++
	next.Observer = &observer{}
	return &next
}

// interrupt runs a until the connection is lost after n bytes, and returns the next attempt, which holds them.
func interrupt(t *testing.T, srv *urlsessiontest.Server, a *Attempt, n int64, also ...urlsessiontest.Step) *Attempt {
	t.Helper()
	srv.Script("/f", urlsessiontest.All(append(also, urlsessiontest.Truncate(n))...))
	_, err := Run(t.Context(), a)
	wantCode(t, err, task.ConnectionLost)
	return again(a)
}

func wantCode(t *testing.T, err error, code task.Code) {
	t.Helper()
	if task.CodeOf(err) != code {
		t.Fatalf("error %v, want %v (%d)", err, code, int(code))
	}
	if _, ok := err.(*task.Error); code != 0 && !ok {
		t.Fatalf("error is a %T, want *task.Error", err)
	}
}

// wantFile checks that the download gave the file want, whole, and left nothing beside it.
func wantFile(t *testing.T, res Result, err error, want urlsessiontest.Body) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if err := want.CheckFile(res.Path); err != nil {
		t.Fatal(err)
	}
	if names := list(t, filepath.Dir(res.Path)); !slices.Equal(names, []string{filepath.Base(res.Path)}) {
		t.Errorf("folder has %v", names)
	}
	if res.ResumeData != nil {
		t.Error("resume data of a success")
	}
}

// wantNoFile checks that the destination does not exist.
func wantNoFile(t *testing.T, a *Attempt) {
	t.Helper()
	if _, err := os.Lstat(a.Spec.Download.Path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("destination: %v, want none", err)
	}
}

func list(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// ranges are the Range headers of the requests for /f, in order; "-" where there was none.
func ranges(srv *urlsessiontest.Server) string {
	var all []string
	for _, r := range srv.RequestsTo("/f") {
		s := r.Range()
		if s == "" {
			s = "-"
		}
		if v := r.Header.Get("If-Range"); v != "" {
			s += " if " + v
		}
		all = append(all, strings.TrimPrefix(s, "bytes="))
	}
	return strings.Join(all, ", ")
}

func wantRanges(t *testing.T, srv *urlsessiontest.Server, want string) {
	t.Helper()
	if got := ranges(srv); got != want {
		t.Errorf("asked for %s\n     want %s", got, want)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
