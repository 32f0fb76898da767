package background

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// Small files do not wait behind a large one that has all connections of their host: it gives some back. So it is within a
// session, and where another session has the large one and the daemon a maximum for all of them.
func TestSmallFilesBesideSegments(t *testing.T) {
	t.Parallel()
	const most = 6
	for _, sessions := range []int{1, 2} {
		t.Run(strconv.Itoa(sessions)+" sessions", func(t *testing.T) {
			t.Parallel()
			if sessions > 1 && *withRace {
				t.Skip("the daemon in the test's binary reads no config file")
			}
			origin := urlsessiontest.NewServer(urlsessiontest.ConnectionRate(mib))
			defer origin.Close()
			large := urlsessiontest.Body{Seed: 1, Size: 24 * mib}
			small := urlsessiontest.Body{Seed: 2, Size: 8 * kib}
			origin.PublishFunc(func(path string) (urlsessiontest.Resource, bool) {
				if path == "/large" {
					return urlsessiontest.Resource{Content: large, ETag: `"v1"`}, true
				}
				return urlsessiontest.Resource{Content: small, ETag: `"v1"`}, true
			})
			k := newKeeper(t)
			settings := filepath.Join(filepath.Dir(k.log), "config", "urlsession")
			if err := os.MkdirAll(settings, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(settings, "config.toml"), []byte("[daemon]\nmaximum-connections-per-host = "+strconv.Itoa(most)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			k.restart()
			ctx := bounded(t)
			folder := t.TempDir()
			c := k.configuration("com.example.large")
			c.MaximumConnectionsPerHost = most
			one := k.session(c)
			other := one
			if sessions > 1 {
				c.Identifier = "com.example.small"
				other = k.session(c)
			}
			task, err := one.DownloadTask(ctx, urlsession.Get(origin.URL+"/large"), filepath.Join(folder, "large"))
			if err != nil {
				t.Fatal(err)
			}
			if err := origin.WaitRequests(ctx, "/large", most); err != nil {
				t.Fatal(err)
			}
			spread := origin.Load().PeakRequests
			var tasks []*urlsession.Task
			for i := range 40 {
				name := strconv.Itoa(i)
				task, err := other.DownloadTask(ctx, urlsession.Get(origin.URL+"/"+name), filepath.Join(folder, name))
				if err != nil {
					t.Fatal(err)
				}
				tasks = append(tasks, task)
			}
			for i, task := range tasks {
				if _, err := task.Wait(ctx); err != nil {
					t.Error(err)
				}
				if err := small.CheckFile(filepath.Join(folder, strconv.Itoa(i))); err != nil {
					t.Error(err)
				}
			}
			if st, err := task.Status(ctx); err != nil || st.State != urlsession.StateRunning {
				t.Errorf("once the small files are there, the large one is %s (%v)", st.State, err)
			}
			if _, err := task.Wait(ctx); err != nil {
				t.Error(err)
			}
			if err := large.CheckFile(filepath.Join(folder, "large")); err != nil {
				t.Error(err)
			}
			if spread < most-1 {
				t.Errorf("the large one had %d connections", spread)
			}
		})
	}
}

// A limit of the daemon that is set while a file comes over several connections holds for all of them together, and ends when
// it is taken back.
func TestLimitWhileSegmentsRun(t *testing.T) {
	t.Parallel()
	const limit = 256 * kib
	origin := urlsessiontest.NewServer(urlsessiontest.ConnectionRate(2 * mib))
	defer origin.Close()
	body := urlsessiontest.Body{Seed: 1, Size: 40 * mib}
	origin.Publish("/f", urlsessiontest.Resource{Content: body, ETag: `"v1"`})
	k := running(t)
	ctx := bounded(t)
	path := filepath.Join(t.TempDir(), "f")
	task, err := k.session(k.configuration("com.example.limited")).DownloadTask(ctx, urlsession.Get(origin.URL+"/f"), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := origin.WaitRequests(ctx, "/f", 4); err != nil {
		t.Fatal(err)
	}
	if err := k.daemon().SetRateLimit(ctx, limit); err != nil {
		t.Fatal(err)
	}
	var began time.Time
	var first, last int64
	for ev, err := range task.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		progress, ok := ev.(urlsession.DownloadProgress)
		if !ok {
			continue
		}
		if last = progress.TotalBytesWritten; began.IsZero() {
			began, first = time.Now(), last
		}
		if time.Since(began) >= 3*time.Second {
			break
		}
	}
	// Four connections would have brought ten times as much.
	took := time.Since(began)
	t.Logf("%d KiB in %v", (last-first)/kib, took)
	if most := int64(2*limit*took.Seconds()) + mib/2; last-first > most {
		t.Errorf("under a limit of %d bytes a second %d came in %v", limit, last-first, took)
	}
	if err := k.daemon().SetRateLimit(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := task.Wait(ctx); err != nil {
		t.Error(err)
	}
	if err := body.CheckFile(path); err != nil {
		t.Error(err)
	}
	if n := origin.Load().PeakRequests; n < 4 {
		t.Errorf("it had %d connections at most", n)
	}
}
