package urlsession

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/transport"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// start is a session and an origin for a test.
func start(t *testing.T, change func(*Configuration)) (*Session, *urlsessiontest.Server) {
	t.Helper()
	srv := urlsessiontest.NewServer(urlsessiontest.KeepBodies(1 << 20))
	t.Cleanup(srv.Close)
	return offline(t, change), srv
}

// startInBubble is start for a bubble of testing/synctest: without sockets, by the bubble's clock.
func startInBubble(t *testing.T, change func(*Configuration)) (*Session, *urlsessiontest.Server) {
	t.Helper()
	srv := urlsessiontest.NewServer(urlsessiontest.InMemory())
	t.Cleanup(srv.Close)
	c := Ephemeral()
	if change != nil {
		change(&c)
	}
	o := transport.Options{Dial: srv.DialContext, Jar: c.CookieStorage, SetCookies: c.SetCookies, WillCache: c.willCache()}
	if c.URLCache != nil {
		o.Cache = c.URLCache.storage
	}
	chain, err := transport.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := open(c, chain)
	t.Cleanup(func() { s.Close() })
	return s, srv
}

func wantCode(t *testing.T, err error, code Code) {
	t.Helper()
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != code {
		t.Errorf("%v, want an *Error of code %d", err, code)
	}
}

func TestDataReturnsTheDecodedBody(t *testing.T) { eachKind(t, nil, dataReturnsTheDecodedBody) }

func dataReturnsTheDecodedBody(t *testing.T, s *Session, srv *urlsessiontest.Server) {
	body := urlsessiontest.Body{Seed: 1, Size: 300_000}
	srv.Publish("/f", urlsessiontest.Resource{Content: body, ContentType: "x/y"})
	srv.Script("/f", urlsessiontest.Honest(), urlsessiontest.Gzip())
	for range 2 {
		got, resp, err := s.Data(t.Context(), Get(srv.URL+"/f"))
		if err != nil {
			t.Fatal(err)
		}
		if err := body.Check(strings.NewReader(string(got))); err != nil {
			t.Error(err)
		}
		if resp.StatusCode != 200 || resp.URL != srv.URL+"/f" || resp.Header.Get("Content-Type") != "x/y" || resp.Path != "" {
			t.Errorf("%+v", resp)
		}
	}
}

func TestAnErrorStatusIsAResponseUnlessAsked(t *testing.T) {
	eachKind(t, nil, anErrorStatusIsAResponseUnlessAsked)
}

func anErrorStatusIsAResponseUnlessAsked(t *testing.T, s *Session, srv *urlsessiontest.Server) {
	got, resp, err := s.Data(t.Context(), Get(srv.URL+"/none?key=hunter2"))
	if err != nil || resp.StatusCode != 404 || len(got) == 0 {
		t.Errorf("%q, %+v, %v", got, resp, err)
	}
	r := Get(srv.URL + "/none?key=hunter2")
	r.FailOnHTTPError = true
	dir := t.TempDir()
	for _, run := range []func() (*Response, error){
		func() (*Response, error) { _, resp, err := s.Data(t.Context(), r); return resp, err },
		func() (*Response, error) { return s.Download(t.Context(), r, dir+"/f") },
	} {
		resp, err := run()
		wantCode(t, err, ErrBadServerResponse)
		if e, ok := errors.AsType[*Error](err); !ok || e.StatusCode != 404 || strings.Contains(e.Error(), "hunter2") {
			t.Errorf("%v: it should tell 404 and not the query", err)
		}
		if resp != nil && resp.Path != "" {
			t.Errorf("a failed download names the file %q", resp.Path)
		}
	}
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Errorf("files appeared: %v", names)
	}
}

func TestDownloadsTakeTheirPlace(t *testing.T) { eachKind(t, nil, downloadsTakeTheirPlace) }

func downloadsTakeTheirPlace(t *testing.T, s *Session, srv *urlsessiontest.Server) {
	body := urlsessiontest.Body{Seed: 2, Size: 1 << 20}
	srv.Publish("/dir/f.bin", urlsessiontest.Resource{Content: body, ETag: `"v1"`})
	dir := t.TempDir()
	t.Chdir(dir)
	for destination, want := range map[string]string{"a": "a", dir + "/b": "b", "./": "f.bin"} {
		resp, err := s.Download(t.Context(), Get(srv.URL+"/dir/f.bin"), destination)
		if err != nil {
			t.Fatal(err)
		}
		if want, _ = filepath.Abs(want); resp.Path != want {
			t.Errorf("%q became %q, want %q", destination, resp.Path, want)
		}
		if err := body.CheckFile(resp.Path); err != nil {
			t.Error(err)
		}
	}
	resp, err := s.Download(t.Context(), Get(srv.URL+"/dir/f.bin"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(resp.Path)
	if err := body.CheckFile(resp.Path); err != nil {
		t.Error(err)
	}

	before := srv.Count("/dir/f.bin")
	_, err = s.Download(t.Context(), Get(srv.URL+"/dir/f.bin"), "a")
	wantCode(t, err, ErrDestinationExists)
	if srv.Count("/dir/f.bin") != before {
		t.Error("the server was asked although the name is taken")
	}
	r := Get(srv.URL + "/dir/f.bin")
	r.Conflict = ConflictRename
	if resp, err := s.Download(t.Context(), r, "a"); err != nil || filepath.Base(resp.Path) != "a (1)" {
		t.Errorf("%+v, %v", resp, err)
	}
	r.Conflict = ConflictReplace
	sum := fmt.Sprintf("sha-256=%x", body.SHA256())
	r.Digests = []string{sum}
	if resp, err := s.Download(t.Context(), r, "a"); err != nil || filepath.Base(resp.Path) != "a" || resp.Digest != sum {
		t.Errorf("%+v, %v", resp, err)
	}
	r.Digests = []string{"sha-256=" + strings.Repeat("0", 64)}
	_, err = s.Download(t.Context(), r, "c")
	wantCode(t, err, ErrDigestMismatch)
}

func TestUploads(t *testing.T) { eachKind(t, nil, uploads) }

func uploads(t *testing.T, s *Session, srv *urlsessiontest.Server) {
	content := strings.Repeat("upload ", 10_000)
	path := write(t, "f", content)
	for name, body := range map[string]Body{
		"bytes":   Bytes([]byte(content)),
		"file":    File(path),
		"stream":  Stream(strings.NewReader(content), int64(len(content)), nil),
		"chunked": Stream(io.MultiReader(strings.NewReader(content)), -1, nil),
	} {
		srv.Script("/"+name, urlsessiontest.Respond(201, "text/plain", "made"))
		got, resp, err := s.Upload(t.Context(), Put(srv.URL+"/"+name, body))
		if err != nil || resp.StatusCode != 201 || string(got) != "made" {
			t.Errorf("%s: %q, %+v, %v", name, got, resp, err)
			continue
		}
		req := srv.RequestsTo("/" + name)[0]
		if req.Method != "PUT" || string(req.Body) != content {
			t.Errorf("%s: %s of %d bytes", name, req.Method, req.BodySize)
		}
	}
	// A redirect that keeps the body sends it again.
	srv.Script("/moved", urlsessiontest.Redirect(307, "/target"))
	_, _, err := s.Upload(t.Context(), Post(srv.URL+"/moved", Form(Field("k", "v"), FileField("f", path))))
	if err != nil {
		t.Fatal(err)
	}
	first, second := srv.RequestsTo("/moved")[0], srv.RequestsTo("/target")[0]
	if second.Method != "POST" || second.BodySHA256 != first.BodySHA256 || second.BodySize < int64(len(content)) {
		t.Errorf("after 307: %s of %d bytes", second.Method, second.BodySize)
	}
	srv.Script("/once", urlsessiontest.Redirect(307, "/target"))
	_, _, err = s.Upload(t.Context(), Post(srv.URL+"/once", Stream(io.MultiReader(strings.NewReader(content)), -1, nil)))
	if s.config.kind != kindBackground {
		wantCode(t, err, ErrBodyStreamExhausted)
	} else if err != nil { // the daemon has it all before the task begins
		t.Error(err)
	}
}

func TestTheEndOfTheContextCancelsOneCalls(t *testing.T) {
	eachKind(t, nil, theEndOfTheContextCancelsOneCalls)
}

func theEndOfTheContextCancelsOneCalls(t *testing.T, s *Session, srv *urlsessiontest.Server) {
	body := urlsessiontest.Body{Seed: 3, Size: 4 << 20}
	srv.Publish("/f", urlsessiontest.Resource{Content: body, ETag: `"v1"`})
	srv.Script("/f", urlsessiontest.StallAt(urlsessiontest.AtBody(1<<20), urlsessiontest.Forever))
	dir := t.TempDir()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		defer cancel(cause)
		for ev := range s.Events(t.Context()) {
			if p, ok := ev.(DownloadProgress); ok && p.TotalBytesWritten > 0 {
				return
			}
		}
	}()
	_, err := s.Download(ctx, Get(srv.URL+"/f"), dir+"/f")
	wantCode(t, err, ErrCancelled)
	if !errors.Is(err, cause) {
		t.Errorf("%v does not say what the context says", err)
	}
	// The same call again goes on from the part that is kept.
	if _, err := s.Download(t.Context(), Get(srv.URL+"/f"), dir+"/f"); err != nil {
		t.Fatal(err)
	}
	if err := body.CheckFile(dir + "/f"); err != nil {
		t.Error(err)
	}
	if r := srv.RequestsTo("/f")[1].Range(); r == "" {
		t.Error("it started over")
	}

}

func TestTheDeadlineOfOneCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, srv := startInBubble(t, nil)
		srv.Script("/slow", urlsessiontest.Delay(urlsessiontest.Forever))
		begin := time.Now()
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, _, err := s.Data(ctx, Get(srv.URL+"/slow"))
		wantCode(t, err, ErrTimedOut)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v; it should say that it was the deadline", err, time.Since(begin))
		}
		_, _, err = s.Data(ctx, Get(srv.URL+"/never"))
		wantCode(t, err, ErrTimedOut)
		if srv.Count("/never") != 0 {
			t.Error("a context that had ended sent a request")
		}
	})
}

func TestTimeoutsAndRetriesOfTheConfiguration(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Configuration)
		code   Code          // 0: success
		after  time.Duration // at least
	}{
		"request time":  {func(c *Configuration) { c.TimeoutForRequest = 10 * time.Second }, ErrTimedOut, 10 * time.Second},
		"its default":   {func(c *Configuration) { c.TimeoutForRequest = 0 }, ErrTimedOut, time.Minute},
		"resource time": {func(c *Configuration) { c.TimeoutForRequest, c.TimeoutForResource = -1, time.Hour }, ErrTimedOut, time.Hour},
		"retry":         {func(c *Configuration) { c.Retries = 1 }, 0, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, srv := startInBubble(t, c.change)
				srv.Script("/stall", urlsessiontest.Delay(urlsessiontest.Forever))
				begin := time.Now()
				r := Get(srv.URL + "/stall")
				_, _, err := s.Data(t.Context(), r)
				if c.code == 0 && err != nil {
					t.Error(err)
				} else if c.code != 0 {
					wantCode(t, err, c.code)
				}
				if took := time.Since(begin); took < c.after || took > c.after+time.Minute {
					t.Errorf("it took %v, want %v", took, c.after)
				}
			})
		})
	}
}

func TestOneCallsRefuseWhatWouldNotEnd(t *testing.T) { eachKind(t, nil, oneCallsRefuseWhatWouldNotEnd) }

func oneCallsRefuseWhatWouldNotEnd(t *testing.T, s *Session, _ *urlsessiontest.Server) {
	if _, _, err := s.Data(t.Context(), Request{URL: "http://h", Suspended: true}); err == nil || !strings.Contains(err.Error(), "DataTask") {
		t.Error(err)
	}
	if _, _, err := s.Data(t.Context(), Request{URL: "http://h", Stream: true}); err == nil || !strings.Contains(err.Error(), "DataTask") {
		t.Error(err)
	}
	if _, err := s.Download(t.Context(), Request{URL: "http://h", Suspended: true}, "f"); err == nil || !strings.Contains(err.Error(), "DownloadTask") {
		t.Error(err)
	}
}

func TestTheOwnerAcknowledges(t *testing.T) {
	srv := urlsessiontest.NewServer()
	t.Cleanup(srv.Close)
	s := offline(t, nil)
	acked := new([]uint64)
	s.svc = &acknowledging{s.svc, acked}
	for range 2 {
		if _, _, err := s.Data(t.Context(), Get(srv.URL+"/f")); err != nil {
			t.Fatal(err)
		}
	}
	var seen []uint64
	for ev, err := range s.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Sequence() == 0 {
			continue
		}
		seen = append(seen, ev.Sequence())
		if want := seen[:len(seen)-1]; !slices.Equal(*acked, want) {
			t.Errorf("at event %d %v are acknowledged, want %v", ev.Sequence(), *acked, want)
		}
		if len(seen) == 2 {
			for _, err := range s.Events(t.Context()) {
				wantCode(t, err, ErrSessionInUse)
			}
			break
		}
	}
	// The event at whose turn the loop was left comes again.
	s.FinishTasksAndInvalidate(t.Context())
	var names []string
	for ev, err := range s.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 0 && ev.Sequence() != seen[1] {
			t.Errorf("it goes on at %d, want %d", ev.Sequence(), seen[1])
		}
		names = append(names, ev.Name())
	}
	if names[len(names)-1] != "invalidated" {
		t.Errorf("%q", names)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.Events(ctx) {
		if err != nil {
			wantCode(t, err, ErrCancelled)
		}
	}
}

type acknowledging struct {
	service
	acked *[]uint64
}

func (a *acknowledging) Acknowledge(ctx context.Context, n uint64) error {
	*a.acked = append(*a.acked, n)
	return a.service.Acknowledge(ctx, n)
}

func TestInvalidatedSessionsTakeNoTasks(t *testing.T) {
	for name, invalidate := range map[string]func(*Session){
		"finish": func(s *Session) { s.FinishTasksAndInvalidate(t.Context()) },
		"cancel": func(s *Session) { s.InvalidateAndCancel(t.Context()) },
		"close":  func(s *Session) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s, srv := start(t, nil)
			gate := urlsessiontest.NewGate()
			srv.Script("/f", urlsessiontest.HoldAt(urlsessiontest.BeforeHeader(), gate))
			task, err := s.DataTask(t.Context(), Get(srv.URL+"/f"))
			if err != nil {
				t.Fatal(err)
			}
			if err := srv.WaitRequests(t.Context(), "/f", 1); err != nil {
				t.Fatal(err)
			}
			invalidate(s)
			invalidate(s)
			gate.Open()
			_, _, err = s.Data(t.Context(), Get(srv.URL))
			wantCode(t, err, ErrSessionInvalidated)
			_, err = s.DownloadTask(t.Context(), Get(srv.URL), "")
			wantCode(t, err, ErrSessionInvalidated)
			_, err = s.UploadTask(t.Context(), Put(srv.URL, Text("x")))
			wantCode(t, err, ErrSessionInvalidated)
			req, _ := http.NewRequest("GET", srv.URL, nil)
			_, err = s.RoundTripper().RoundTrip(req)
			wantCode(t, err, ErrSessionInvalidated)
			_, err = task.Wait(t.Context())
			if name == "finish" && err != nil {
				t.Error(err)
			} else if name != "finish" {
				wantCode(t, err, ErrCancelled)
			}
		})
	}
}

func TestClosedSessionsLeaveNothingBehind(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	c := Ephemeral()
	c.OnResponse = func(ctx context.Context, _ *Task, _ *Response) Disposition {
		<-ctx.Done() // ends with the session
		return Allow
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	var tasks []*Task
	for i := range 20 {
		r := Get(srv.URL + "/f")
		r.Suspended = i%4 == 0
		task, err := s.DataTask(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, task)
	}
	if err := srv.WaitRequests(t.Context(), "/f", 1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, task := range tasks {
		if st := status(t, task); st.State != StateCompleted {
			t.Errorf("task %d is %s after Close", task.Identifier(), st.State)
		}
	}
	if err := srv.WaitDisconnected(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCookiesAndReset(t *testing.T) { eachKind(t, nil, cookiesAndReset) }

func cookiesAndReset(t *testing.T, s *Session, srv *urlsessiontest.Server) {
	srv.Script("/f", urlsessiontest.SetCookie("k=v"))
	cookie := func() string {
		t.Helper()
		n := srv.Count("/f")
		if _, _, err := s.Data(t.Context(), Get(srv.URL+"/f")); err != nil {
			t.Fatal(err)
		}
		return srv.RequestsTo("/f")[n].Header.Get("Cookie")
	}
	if got := cookie(); got != "" {
		t.Errorf("first request: %q", got)
	}
	if got := cookie(); got != "k=v" {
		t.Errorf("second request: %q", got)
	}
	connections := srv.Load().TotalConnections
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := cookie(); got != "k=v" {
		t.Errorf("after Flush: %q", got)
	}
	if srv.Load().TotalConnections == connections {
		t.Error("Flush kept the idle connection")
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := cookie(); got != "" {
		t.Errorf("after Reset: %q", got)
	}
}

func TestEphemeralSessionsDoNotShareCookies(t *testing.T) {
	if Ephemeral().CookieStorage == Ephemeral().CookieStorage {
		t.Error("two ephemeral sessions share their cookies")
	}
}

func TestSharedIsNeverInvalidated(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	s := Shared()
	s.FinishTasksAndInvalidate(t.Context())
	s.InvalidateAndCancel(t.Context())
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Data(t.Context(), Get(srv.URL)); err != nil {
		t.Error(err)
	}
	if Shared() != s || s.config.CookieStorage != Default().CookieStorage {
		t.Error("the shared session is not one over the default storages")
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}
