package transfer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	. "github.com/urlsession/urlsession/urlsessiontest"
)

// bubble runs f with an origin in memory, a way to it, and the fake clock.
func bubble(t *testing.T, o transport.Options, f func(t *testing.T, srv *Server, rt *transport.Transport)) {
	synctest.Test(t, func(t *testing.T) {
		srv := NewServer(InMemory())
		srv.Publish("/f", Resource{Content: file, ETag: `"v1"`})
		o.Dial = srv.DialContext
		rt, err := transport.New(o)
		if err != nil {
			t.Fatal(err)
		}
		f(t, srv, rt)
		rt.CloseIdleConnections()
		srv.Close()
	})
}

func newTask(kind task.Kind, rt http.RoundTripper, url string) *Attempt {
	return &Attempt{
		ID: 1, Number: 1, RoundTripper: rt, Observer: &observer{},
		Spec: &task.Spec{
			Kind: kind, Request: task.Request{Method: "GET", URL: url},
			Policy: task.Policy{RequestTimeout: time.Minute},
		},
	}
}

// The timer ends an attempt a minute after its last byte, not before, and says what it waited for.
func TestIdle(t *testing.T) {
	for name, c := range map[string]struct {
		step  Step
		says  string
		after time.Duration
	}{
		"before header": {StallAt(BeforeHeader(), Forever), "for the response", time.Minute},
		"in body":       {StallAt(AtBody(1000), Forever), "for more of the response's body", time.Minute},
		"late, then in body": {All(StallAt(BeforeHeader(), 59*time.Second), StallAt(AtBody(1000), 59*time.Second), StallAt(AtBody(2000), Forever)),
			"for more of the response's body", 178 * time.Second},
	} {
		for _, kind := range []task.Kind{task.Data, task.Download} {
			t.Run(fmt.Sprint(name, "/", kind), func(t *testing.T) {
				folder := t.TempDir()
				bubble(t, transport.Options{}, func(t *testing.T, srv *Server, rt *transport.Transport) {
					srv.Script("/f", c.step)
					a := newTask(kind, rt, srv.URL+"/f")
					a.Spec.Download = &task.DownloadSpec{Path: filepath.Join(folder, "x")}
					start := time.Now()
					_, err := Run(t.Context(), a)
					wantCode(t, err, task.TimedOut)
					if took := time.Since(start); took != c.after {
						t.Errorf("it took %v, want %v", took, c.after)
					}
					if !strings.Contains(err.Error(), "1m0s") || !strings.Contains(err.Error(), c.says) {
						t.Errorf("%v, want it to say: %s", err, c.says)
					}
				})
			})
		}
	}
}

// A body that comes slowly, a little every while, is not idle however long it takes.
func TestSlowIsNotIdle(t *testing.T) {
	bubble(t, transport.Options{}, func(t *testing.T, srv *Server, rt *transport.Transport) {
		var slow []Step
		for n := int64(0); n < 10; n++ {
			slow = append(slow, StallAt(AtBody(n*1000), 50*time.Second))
		}
		srv.Script("/f", All(slow...))
		start := time.Now()
		if _, err := Run(t.Context(), newTask(task.Data, rt, srv.URL+"/f")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 500*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestNoTimeout(t *testing.T) {
	bubble(t, transport.Options{}, func(t *testing.T, srv *Server, rt *transport.Transport) {
		srv.Script("/f", StallAt(AtBody(1000), 24*time.Hour))
		a := newTask(task.Data, rt, srv.URL+"/f")
		a.Spec.Policy.RequestTimeout = 0
		if _, err := Run(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	})
}

// Who waits for a place among the host's connections is not idle.
func TestQueueIsNotIdle(t *testing.T) {
	bubble(t, transport.Options{MaxConnsPerHost: 1}, func(t *testing.T, srv *Server, rt *transport.Transport) {
		var steps []Step
		for n := int64(0); n < 5; n++ {
			steps = append(steps, StallAt(AtBody(n*1000), 50*time.Second))
		}
		srv.Script("/f", All(steps...))
		first := make(chan error, 1)
		go func() {
			_, err := Run(t.Context(), newTask(task.Data, rt, srv.URL+"/f"))
			first <- err
		}()
		synctest.Wait()
		start := time.Now()
		if _, err := Run(t.Context(), newTask(task.Data, rt, srv.URL+"/f")); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited != 250*time.Second {
			t.Errorf("it waited %v for its turn", waited)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

// Once it has its turn, the time runs again.
func TestIdleAfterQueue(t *testing.T) {
	bubble(t, transport.Options{MaxConnsPerHost: 1}, func(t *testing.T, srv *Server, rt *transport.Transport) {
		srv.Script("/f", All(StallAt(AtBody(0), 50*time.Second), StallAt(AtBody(1000), 50*time.Second)), StallAt(BeforeHeader(), Forever))
		go Run(t.Context(), newTask(task.Data, rt, srv.URL+"/f"))
		synctest.Wait()
		start := time.Now()
		_, err := Run(t.Context(), newTask(task.Data, rt, srv.URL+"/f"))
		wantCode(t, err, task.TimedOut)
		if waited := time.Since(start); waited != 160*time.Second {
			t.Errorf("it ended after %v", waited)
		}
	})
}

// Nor is it idle while the Observer takes its time.
func TestObserverIsNotIdle(t *testing.T) {
	o := transport.Options{Authenticator: credential.NewAuthenticator(nil, credential.Policy{})}
	bubble(t, o, func(t *testing.T, srv *Server, rt *transport.Transport) {
		srv.Always("/old", Redirect(302, "/f"))
		a := newTask(task.Data, rt, srv.URL+"/old")
		a.Spec.Stream = true
		wait := func() { time.Sleep(time.Hour) }
		srv.Always("/guarded", Unauthorized(`Basic realm="r"`))
		challenged := newTask(task.Data, rt, srv.URL+"/guarded")
		challenged.Spec.Policy.Ask.Challenge = true
		challenged.Observer = &observer{onChallenge: func(c task.Challenge) (task.Answer, error) {
			wait()
			if c.Failures > 0 {
				return task.Answer{}, nil
			}
			return use("p"), nil
		}}
		if _, err := Run(t.Context(), challenged); err != nil || challenged.Observer.(*observer).told() != "challenge Basic, challenge Basic, response 401" {
			t.Error(err)
		}
		a.Observer = &observer{
			onRedirect: func(_ int, _, to *http.Request) (*http.Request, error) { wait(); return to, nil },
			onResponse: func(context.Context, *task.Response) error { wait(); return nil },
			onData:     func(context.Context, []byte) error { wait(); return nil },
		}
		if _, err := Run(t.Context(), a); err != nil {
			t.Error(err)
		}
	})
}

// A body that the server does not read is idle on its way out; one that it reads slowly is not.
func TestIdleUpload(t *testing.T) {
	bubble(t, transport.Options{}, func(t *testing.T, srv *Server, rt *transport.Transport) {
		srv.Script("/up", NeverRead())
		a := newTask(task.Upload, rt, srv.URL+"/up")
		a.Spec.Request.Method = "PUT"
		fromStream(a, Body{Seed: 6, Size: 64 << 20}, 64<<20)
		_, err := Run(t.Context(), a)
		wantCode(t, err, task.TimedOut)
		if !strings.Contains(err.Error(), "to send the request") {
			t.Error(err)
		}

		srv.Script("/up", SlowRead(10_000))
		fromStream(a, Body{Seed: 6, Size: 2 << 20}, 2<<20)
		start := time.Now()
		if _, err := Run(t.Context(), a); err != nil || time.Since(start) < 3*time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A stream that has nothing to send for a while is idle: no byte leaves.
func TestIdleStream(t *testing.T) {
	bubble(t, transport.Options{}, func(t *testing.T, srv *Server, rt *transport.Transport) {
		a := newTask(task.Upload, rt, srv.URL+"/up")
		a.Spec.Request.Method = "PUT"
		r, w := io.Pipe()
		a.Spec.Request.Body = &task.Body{Size: -1}
		a.Body = func() (io.ReadCloser, error) { return r, nil }
		_, err := Run(t.Context(), a)
		wantCode(t, err, task.TimedOut)
		w.Close()
	})
}
