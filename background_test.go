package urlsession

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// background is a session in a daemon, the daemon, and an origin with a file that stalls once.
func background(t *testing.T) (*Session, *fakeDaemon, *urlsessiontest.Server) {
	t.Helper()
	srv := urlsessiontest.NewServer(urlsessiontest.KeepBodies(1 << 20))
	t.Cleanup(srv.Close)
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Body{Seed: 9, Size: 4 << 20}, ETag: `"v1"`})
	d := startDaemon(t)
	return d.attach(t, nil), d, srv
}

func TestTasksOutliveTheirApp(t *testing.T) {
	s, d, srv := background(t)
	gate := urlsessiontest.NewGate()
	srv.Script("/f", urlsessiontest.HoldAt(urlsessiontest.AtBody(1<<20), gate))
	path := filepath.Join(t.TempDir(), "f")
	made, err := s.DownloadTask(within(t), Get(srv.URL+"/f"), path)
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan error)
	go func() { _, err := made.Wait(within(t)); waits <- err }()
	looped := make(chan error)
	go func() {
		for _, err := range s.Events(within(t)) {
			if err != nil {
				looped <- err
			}
		}
	}()
	if err := srv.WaitSent(within(t), "/f", 1<<20); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for what, err := range map[string]error{"Wait": <-waits, "Events": <-looped} {
		if wantCode(t, err, ErrSessionInvalidated); !strings.Contains(err.Error(), "go on in the daemon") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = s.DataTask(within(t), Get(srv.URL+"/f"))
	wantCode(t, err, ErrSessionInvalidated)
	req, _ := http.NewRequest("GET", srv.URL, nil)
	_, err = s.RoundTripper().RoundTrip(req)
	wantCode(t, err, ErrSessionInvalidated)

	later := d.attach(t, nil)
	gate.Open()
	found, err := later.Task(within(t), made.Identifier())
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := found.Wait(within(t)); err != nil || resp.Path != path {
		t.Errorf("%+v, %v", resp, err)
	}
}

func TestEventsOfABackgroundSession(t *testing.T) {
	s, d, srv := background(t)
	for range 2 {
		if _, _, err := s.Data(within(t), Get(srv.URL+"/f")); err != nil {
			t.Fatal(err)
		}
	}
	// The app is killed at the turn of the third event: that one comes again to the next.
	first := owned(t, s, 3)
	s.Close()
	if !slices.Equal(first, []uint64{1, 2, 3}) {
		t.Fatalf("the first app got %v", first)
	}
	s = d.attach(t, nil)
	other := d.attach(t, nil)
	var names []string
	n := uint64(2)
	for ev, err := range s.Events(within(t)) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, ev.Name())
		if ev.Name() == "sessioneventscompleted" {
			break
		}
		if n++; ev.Sequence() != n {
			t.Errorf("event %d in place of %d", ev.Sequence(), n)
		}
		for _, err := range other.Events(within(t)) {
			wantCode(t, err, ErrSessionInUse)
		}
		wantCode(t, other.Acknowledge(within(t), 1), ErrSessionInUse)
		if info, err := other.Info(within(t)); err != nil || info.Identifier != "com.example.sync" || info.State != "open" {
			t.Errorf("%+v, %v", info, err)
		}
	}
	if want := []string{"metrics", "sessioncompleted", "responsereceived", "metrics", "sessioncompleted", "sessioneventscompleted"}; !slices.Equal(names, want[len(want)-len(names):]) || n != 6 {
		t.Errorf("%q, to %d", names, n)
	}
	// To look at them acknowledges nothing, and goes back as far as is wished.
	for range 2 {
		for after, want := range map[*uint64]uint64{nil: 0, new(uint64(0)): 1, new(uint64(4)): 5} {
			for ev, err := range other.Observe(within(t), after) {
				if err != nil {
					t.Fatal(err)
				}
				if ev.Sequence() != want {
					t.Errorf("it begins at %d, want %d", ev.Sequence(), want)
				}
				break
			}
		}
	}
	if err := other.Acknowledge(within(t), 99); err != nil {
		t.Error(err)
	}
	if info, err := other.Info(within(t)); err != nil || info.Acknowledged != 6 || info.Last != 6 || info.Tasks != 0 {
		t.Errorf("%+v, %v", info, err)
	}
	if err := s.FinishTasksAndInvalidate(within(t)); err != nil {
		t.Fatal(err)
	}
	_, err := s.DataTask(within(t), Get(srv.URL))
	wantCode(t, err, ErrSessionInvalidated)
	if got := owned(t, other, 1); !slices.Equal(got, []uint64{7}) {
		t.Errorf("the last event of a session: %v", got)
	}
}

// owned are the numbers of the next n durable events, of which the last is not acknowledged.
func owned(t *testing.T, s *Session, n int) (numbers []uint64) {
	t.Helper()
	for ev, err := range s.Events(within(t)) {
		if err != nil {
			t.Fatalf("after %v: %v", numbers, err)
		}
		if ev.Sequence() == 0 {
			continue
		}
		if numbers = append(numbers, ev.Sequence()); len(numbers) == n {
			break
		}
	}
	return numbers
}

func TestTheNextDaemonGoesOn(t *testing.T) {
	s, d, srv := background(t)
	srv.Script("/f", urlsessiontest.StallAt(urlsessiontest.AtBody(1<<20), urlsessiontest.Forever))
	path := filepath.Join(t.TempDir(), "f")
	task, err := s.DownloadTask(within(t), Get(srv.URL+"/f"), path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		resp, err := task.Wait(within(t))
		if err == nil && resp.Path != path {
			err = fmt.Errorf("it is at %s", resp.Path)
		}
		ended <- err
	}()
	numbers := make(chan []uint64)
	go func() {
		var got []uint64
		defer func() { numbers <- got }()
		for ev, err := range s.Events(within(t)) {
			if err != nil {
				t.Errorf("after %v: %v", got, err)
				return
			}
			if ev.Sequence() != 0 {
				got = append(got, ev.Sequence())
			}
			if _, last := ev.(Completed); last {
				return
			}
		}
	}()
	if err := srv.WaitSent(within(t), "/f", 1<<20); err != nil {
		t.Fatal(err)
	}
	d.kill()
	d.next(t)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	got := <-numbers
	for i, n := range got {
		if n != uint64(i+1) {
			t.Fatalf("the stream is broken: %v", got)
		}
	}
	if err := (urlsessiontest.Body{Seed: 9, Size: 4 << 20}).CheckFile(path); err != nil {
		t.Error(err)
	}
}

func TestManyDownloadsAtOnce(t *testing.T) {
	eachKind(t, nil, func(t *testing.T, s *Session, srv *urlsessiontest.Server) {
		srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
		t.Chdir(t.TempDir())
		wd, _ := os.Getwd()
		var downloads []Download
		for i := range 20 {
			downloads = append(downloads, Download{Get(fmt.Sprintf("%s/f?%d", srv.URL, i)), fmt.Sprint("f", i)})
		}
		tasks, err := s.DownloadTasks(t.Context(), downloads)
		if err != nil || len(tasks) != len(downloads) {
			t.Fatalf("%d tasks, %v", len(tasks), err)
		}
		for i, task := range tasks {
			resp, err := task.Wait(t.Context())
			if err != nil || resp.Path != filepath.Join(wd, downloads[i].Destination) {
				t.Errorf("%+v, %v", resp, err)
			}
		}
		next := tasks[9].Identifier()
		for st, err := range s.Statuses(t.Context(), next) {
			if next++; err != nil || st.Identifier != next || st.Kind != KindDownload {
				t.Fatalf("%+v, %v; want task %d", st, err, next)
			}
		}
		if next != tasks[19].Identifier() {
			t.Errorf("the list ends with %d", next)
		}

		if tasks, err := s.DownloadTasks(t.Context(), nil); len(tasks) != 0 || err != nil {
			t.Errorf("none: %v, %v", tasks, err)
		}
		for want, bad := range map[string][]Download{
			"number 2 of 2": {downloads[0], {Get("ftp://h/"), "g"}},
			"no File":       {{Post(srv.URL, Text("x")), "g"}},
			"10000":         make([]Download, MaximumDownloads+1),
		} {
			if _, err := s.DownloadTasks(t.Context(), bad); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v; it should say %q", err, want)
			}
		}
		for st := range s.Statuses(t.Context(), next) {
			t.Errorf("what was refused made %+v", st)
		}
	})
}

func TestAnotherURL(t *testing.T) {
	eachKind(t, nil, func(t *testing.T, s *Session, srv *urlsessiontest.Server) {
		srv.Publish("/new", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
		task, err := s.DataTask(t.Context(), Request{URL: srv.URL + "/old", Suspended: true})
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, task.ReplaceURL(t.Context(), "/new"), ErrBadURL)
		wantCode(t, task.ReplaceURL(t.Context(), "ftp://h/"), ErrUnsupportedURL)
		if err := task.ReplaceURL(t.Context(), srv.URL+"/new"); err != nil {
			t.Fatal(err)
		}
		if err := task.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := task.Body(t.Context()); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestWhatOnlyOneKindOfSessionCan(t *testing.T) {
	s, _, srv := background(t)
	r := Get(srv.URL + "/f")
	r.Stream = true
	if _, err := s.DataTask(within(t), r); err == nil || !strings.Contains(err.Error(), "Request.Stream is set") {
		t.Error(err)
	}
	_, err := offline(t, nil).Info(within(t))
	wantCode(t, err, ErrNoSharedContainer)
}

// TestCookiesOfABackgroundSession: app and daemon have one file, and what each of them does the other sees.
func TestCookiesOfABackgroundSession(t *testing.T) {
	s, d, srv := background(t)
	answer := func(set string) { srv.Script("/cookie", urlsessiontest.SetCookie(set)) }
	task := func(set string) string {
		t.Helper()
		answer(set)
		if _, _, err := s.Data(within(t), Get(srv.URL+"/cookie")); err != nil {
			t.Fatal(err)
		}
		all := srv.RequestsTo("/cookie")
		return all[len(all)-1].Header.Get("Cookie")
	}
	answer("ours=1; Max-Age=3600")
	resp, err := (&http.Client{Transport: s.RoundTripper()}).Get(srv.URL + "/cookie")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := s.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	if got := task("theirs=2; Max-Age=3600"); got != "ours=1" {
		t.Errorf("the daemon sends %q", got)
	}
	if err := s.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	// The next app.
	s = d.attach(t, nil)
	storage := s.CookieStorage()
	if got := fmt.Sprint(storage.All()); got != `[cookie "ours" of 127.0.0.1/ cookie "theirs" of 127.0.0.1/]` {
		t.Errorf("the app lists %s", got)
	}
	if n := storage.RemoveDomain("127.0.0.1"); n != 2 {
		t.Errorf("it removes %d", n)
	}
	if err := storage.Set(Cookie{Name: "set", Value: "3", Domain: "127.0.0.1", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	if got := task("fleeting=4"); got != "set=3" {
		t.Errorf("the daemon sends %q", got)
	}
	if err := s.Reset(within(t)); err != nil {
		t.Fatal(err)
	}
	if got := task("again=5; Max-Age=3600"); got != "" || len(storage.All()) > 0 {
		t.Errorf("after Reset the daemon sends %q and the app lists %v", got, storage.All())
	}
	// Without a storage there are none, here and there.
	s = d.attach(t, func(c *Configuration) { c.Identifier, c.CookieStorage = "com.example.none", nil })
	task("k=1")
	if got := task("k=1"); got != "" || s.CookieStorage() != nil {
		t.Errorf("without a storage it sends %q of %v", got, s.CookieStorage())
	}
}

func TestACallIsNotHeldUpByADaemonThatIsLost(t *testing.T) {
	_, d, srv := background(t)
	c := d.configuration(func(c *Configuration) { c.Daemon.Command = []string{"/none"} })
	o := c.Daemon.options(c.Identifier)
	o.Patience = 50 * time.Millisecond
	s := newBackground(c, control.NewClient(o), refusing{})
	defer s.Close()
	gate := urlsessiontest.NewGate()
	defer gate.Open()
	srv.Script("/f", urlsessiontest.HoldAt(urlsessiontest.BeforeHeader(), gate))
	ctx, cancel := context.WithCancelCause(within(t))
	failed := make(chan error)
	go func() { _, _, err := s.Data(ctx, Get(srv.URL+"/f")); failed <- err }()
	if err := srv.WaitRequests(within(t), "/f", 1); err != nil {
		t.Fatal(err)
	}
	for pinned := 0; pinned == 0; runtime.Gosched() { // until the answer to the creation has come, too
		s.handles.mu.Lock()
		pinned = len(s.handles.held)
		s.handles.mu.Unlock()
		if ctx.Err() != nil {
			t.Fatal("the task is not known")
		}
	}
	d.kill()
	cancel(errEnough)
	select {
	case err := <-failed:
		wantCode(t, err, ErrDaemonLost)
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "Daemon.Command") {
			t.Errorf("%v", err)
		}
	case <-within(t).Done():
		t.Fatal("it waits")
	}
}
