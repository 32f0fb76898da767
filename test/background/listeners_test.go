package background

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// Two apps have one session: both make tasks, one alone owns the events, and an observer sees all of both.
func TestTwoApps(t *testing.T) {
	t.Parallel()
	origin := hello(t)
	k := running(t)
	ctx := bounded(t)
	first := k.session(k.configuration("com.example.shared"))
	second := k.session(k.configuration("com.example.shared"))
	third := k.session(k.configuration("com.example.shared"))

	owned := make(chan struct{})
	left := make(chan struct{})
	release := make(chan struct{})
	go func() {
		defer close(left)
		for ev, err := range first.Events(ctx) {
			if err != nil {
				t.Errorf("the owner: %v", err)
				return
			}
			if ev.Name() == "sessioneventscompleted" {
				close(owned)
				<-release
				return
			}
		}
	}()
	select {
	case <-owned:
	case <-ctx.Done():
		t.Fatal("the owner hears nothing")
	}
	for _, err := range second.Events(ctx) {
		if !errors.Is(err, urlsession.ErrSessionInUse) {
			t.Errorf("a second owner is told %v", err)
		}
		break
	}
	if err := second.Acknowledge(ctx, 1); !errors.Is(err, urlsession.ErrSessionInUse) {
		t.Errorf("an acknowledgement beside the owner is told %v", err)
	}
	var ids []urlsession.TaskID
	for i, s := range []*urlsession.Session{first, second, first, second} {
		task, err := s.DataTask(ctx, urlsession.Get(fmt.Sprintf("%s/%d", origin.URL, i)))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, task.Identifier())
	}
	ends := make(map[urlsession.TaskID]int)
	for ev, err := range third.Observe(ctx, new(uint64)) {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := ev.(urlsession.Completed); ok {
			if ends[ev.Task()]++; len(ends) == len(ids) {
				break
			}
		}
	}
	for _, id := range ids {
		if ends[id] != 1 {
			t.Errorf("the observer saw task %d end %d times", id, ends[id])
		}
	}
	close(release)
	<-left
	for ev, err := range second.Events(ctx) { // it is the owner's turn
		if err != nil {
			t.Fatalf("the next owner is told %v", err)
		}
		if _, waited := ev.(urlsession.BackgroundTransfer); waited {
			continue
		}
		if ev.Sequence() != 1 {
			t.Errorf("the next owner begins with event %d", ev.Sequence())
		}
		break
	}
}

// hello is an origin that has a few bytes at every path.
func hello(t testing.TB) *urlsessiontest.Server {
	origin := urlsessiontest.NewServer()
	t.Cleanup(origin.Close)
	origin.PublishFunc(func(path string) (urlsessiontest.Resource, bool) {
		return urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello from " + path), ETag: `"v1"`, ContentType: "text/plain"}, true
	})
	return origin
}

// suspended makes tasks that do nothing, in one step each ten thousand.
func suspended(ctx context.Context, t testing.TB, s *urlsession.Session, folder string, count int) {
	t.Helper()
	for made := 0; made < count; {
		downloads := make([]urlsession.Download, min(count-made, 10_000))
		for i := range downloads {
			r := urlsession.Get("http://127.0.0.1:1/")
			r.Suspended = true
			downloads[i] = urlsession.Download{Request: r, Destination: filepath.Join(folder, strconv.Itoa(made+i))}
		}
		if _, err := s.DownloadTasks(ctx, downloads); err != nil {
			t.Fatal(err)
		}
		made += len(downloads)
	}
}

// A listener may begin after any event, and is told exactly those that follow, then that these were all.
func TestAListenerAtEachCursor(t *testing.T) {
	t.Parallel()
	k := running(t)
	ctx := bounded(t)
	s := k.session(k.configuration("com.example.cursors"))
	suspended(ctx, t, s, t.TempDir(), 199)
	if err := s.InvalidateAndCancel(ctx); err != nil {
		t.Fatal(err)
	}
	var log []urlsession.Event
	for ev, err := range s.Observe(ctx, new(uint64)) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Sequence() > 0 {
			log = append(log, ev)
		}
	}
	if len(log) != 200 || log[199].Name() != "invalidated" {
		t.Fatalf("the log has %d events", len(log))
	}
	var listening sync.WaitGroup
	for part := range 8 {
		listening.Go(func() {
			for after := uint64(part); after <= uint64(len(log)); after += 8 {
				next := after
				for ev, err := range s.Observe(ctx, &after) {
					if err != nil {
						t.Errorf("after %d: %v", after, err)
						return
					}
					if ev.Name() == "sessioneventscompleted" {
						break
					}
					if next++; ev.Sequence() != next {
						t.Errorf("after %d, event %d came for %d", after, ev.Sequence(), next)
						return
					}
					if was := log[next-1]; ev.Name() != was.Name() || ev.Task() != was.Task() || !ev.Time().Equal(was.Time()) {
						t.Errorf("after %d came %s, which was %s", after, wire(t, ev), wire(t, was))
					}
				}
				if next != uint64(len(log)) {
					t.Errorf("after %d, event %d of %d was the last", after, next, len(log))
				}
			}
		})
	}
	listening.Wait()
}

func wire(t testing.TB, ev urlsession.Event) string {
	t.Helper()
	data, err := ev.MarshalJSON()
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

// A hundred listen to one session while tasks run, and each is told the same.
func TestAHundredListeners(t *testing.T) {
	t.Parallel()
	const listeners, tasks = 100, 25
	origin := hello(t)
	k := running(t)
	ctx := bounded(t)
	s := k.session(k.configuration("com.example.hundred"))
	var ready, listening sync.WaitGroup
	logs := make([][]string, listeners)
	ready.Add(listeners)
	for i := range listeners {
		listening.Go(func() {
			began, ends := sync.OnceFunc(ready.Done), 0
			defer began()
			for ev, err := range s.Observe(ctx, new(uint64)) {
				if err != nil {
					t.Errorf("listener %d: %v", i, err)
					return
				}
				if ev.Name() == "sessioneventscompleted" {
					began()
				}
				if ev.Sequence() == 0 {
					continue
				}
				if ev.Sequence() != uint64(len(logs[i])+1) {
					t.Errorf("listener %d is told of event %d after %d", i, ev.Sequence(), len(logs[i]))
					return
				}
				logs[i] = append(logs[i], wire(t, ev))
				if _, ok := ev.(urlsession.Completed); ok {
					if ends++; ends == tasks {
						return
					}
				}
			}
		})
	}
	ready.Wait()
	for i := range tasks {
		if _, err := s.DataTask(ctx, urlsession.Get(fmt.Sprintf("%s/%d", origin.URL, i))); err != nil {
			t.Fatal(err)
		}
	}
	listening.Wait()
	for i, log := range logs {
		for n := range min(len(log), len(logs[0])) {
			if log[n] != logs[0][n] {
				t.Fatalf("listener %d is told %s, and another one %s", i, log[n], logs[0][n])
			}
		}
	}
}

// Apps that never read what they asked for neither fill the daemon's memory nor delay those that do.
func TestAnAppThatNeverReads(t *testing.T) {
	t.Parallel()
	const count, deaf = 4000, 50
	k := running(t)
	ctx := bounded(t)
	s := k.session(k.configuration("com.example.deaf"))
	suspended(ctx, t, s, t.TempDir(), count)
	before, _ := k.resident()
	for i := range deaf {
		conn, err := net.Dial("unix", k.socket())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		own := ""
		if i == 0 {
			own = "&own=true"
		}
		fmt.Fprintf(conn, "GET /v1/sessions/com.example.deaf/events?after=0%s HTTP/1.1\r\nHost: urlsession\r\nUrlsession-Claim: deaf\r\n\r\n", own)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil) // its head, and what else came with it
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("the stream's status is %d", resp.StatusCode)
		}
	}
	if err := s.InvalidateAndCancel(ctx); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for ev, err := range s.Observe(ctx, new(uint64)) {
		if err != nil {
			t.Fatal(err)
		}
		if last++; ev.Sequence() == 0 {
			last--
		} else if ev.Sequence() != last {
			t.Fatalf("event %d came for %d", ev.Sequence(), last)
		}
	}
	if last != count+1 {
		t.Errorf("%d events came of %d", last, count+1)
	}
	after, _ := k.resident()
	if after-before > 32*mib && !*withRace {
		t.Errorf("%d events and %d deaf listeners took the daemon from %d to %d MiB", last, deaf, before>>20, after>>20)
	}
}

// A thousand sessions in one daemon, each fourth with a task, and after its restart.
func TestAThousandSessions(t *testing.T) {
	t.Parallel()
	const count = 1000
	origin := hello(t)
	k := running(t)
	ctx := bounded(t)
	const every = 4 // sessions, one has a task
	var working sync.WaitGroup
	for part := range 16 {
		working.Go(func() {
			for i := part; i < count; i += 16 {
				id := fmt.Sprintf("com.example.%04d", i)
				s, err := urlsession.New(k.configuration(id))
				if err != nil {
					t.Errorf("%s: %v", id, err)
					return
				}
				if i%every == 0 {
					body, _, err := s.Data(ctx, urlsession.Get(fmt.Sprintf("%s/%d", origin.URL, i)))
					if want := fmt.Sprintf("hello from /%d", i); err != nil || string(body) != want {
						t.Errorf("%s: %q (%v)", id, body, err)
					}
				}
				if err := s.Close(); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
	working.Wait()
	for range 2 {
		sessions, err := k.daemon().Sessions(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(sessions) != count {
			t.Fatalf("%d sessions of %d", len(sessions), count)
		}
		for i, s := range sessions {
			if want := fmt.Sprintf("com.example.%04d", i); s.Identifier != want || s.Last == 0 != (i%every != 0) || s.Tasks != 0 || s.State != "open" {
				t.Fatalf("session %d is %+v", i, s)
			}
		}
		k.terminate()
		k.restart()
	}
	if _, peak := k.resident(); peak > 256*mib && !*withRace {
		t.Errorf("the daemon had %d MiB resident", peak>>20)
	}
}
