package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/control/server"
	"github.com/urlsession/urlsession/internal/task"
)

// hang is a daemon that takes connections, and of what comes on them only so many bytes; it answers nothing.
func hang(t *testing.T, takes int64) (client *control.Client, end func()) {
	t.Helper()
	p := newPipes()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := p.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			go func() { _, _ = io.CopyN(io.Discard, conn, takes) }()
		}
	}()
	c := control.NewClient(control.ClientOptions{Socket: "pipes", Session: "s", DialContext: p.dial})
	return c, func() {
		c.Close()
		p.Close()
		<-done
	}
}

// slow is a body that brings a byte an hour, five of them.
type slow struct{ left int }

func (s *slow) Read(b []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	time.Sleep(time.Hour)
	b[0] = 'x'
	return 1, nil
}

// TestADaemonThatHangs: whatever is asked of it is DaemonLost after a minute, and says so.
func TestADaemonThatHangs(t *testing.T) {
	upload := get("ok", func(s *task.Spec) { s.Request.Method, s.Request.Body = "PUT", &task.Body{Size: -1} })
	for name, c := range map[string]struct {
		takes int64
		ask   func(*control.Client) error
		after time.Duration
	}{
		"open":    {1 << 20, func(c *control.Client) error { return c.Open(context.Background()) }, time.Minute},
		"status":  {1 << 20, func(c *control.Client) error { _, err := c.Status(context.Background()); return err }, time.Minute},
		"suspend": {1 << 20, func(c *control.Client) error { return c.Suspend(context.Background(), 1) }, time.Minute},
		"body":    {1 << 20, func(c *control.Client) error { _, err := c.Body(context.Background(), 1); return err }, time.Minute},
		"create":  {1 << 20, func(c *control.Client) error { _, err := c.Create(context.Background(), get("ok"), nil); return err }, time.Minute},
		"a body that takes its time": {1 << 20, func(c *control.Client) error {
			_, err := c.Create(context.Background(), upload, &slow{5})
			return err
		}, 5*time.Hour + time.Minute},
		"a body that is not taken": {1000, func(c *control.Client) error {
			_, err := c.Create(context.Background(), upload, strings.NewReader(strings.Repeat("x", 1<<20)))
			return err
		}, time.Minute},
		"events": {1 << 20, func(c *control.Client) (last error) {
			for _, err := range c.Events(context.Background(), task.EventQuery{}) {
				last = err
			}
			return last
		}, 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, end := hang(t, c.takes)
				begun := time.Now()
				err := c.ask(client)
				if code(t, err, task.DaemonLost); !strings.Contains(err.Error(), "silent for") {
					t.Error(err)
				}
				if took := time.Since(begun); took < c.after || took > c.after+5*time.Second {
					t.Errorf("it took %v, want %v", took, c.after)
				}
				end()
				synctest.Wait()
			})
		})
	}
}

// TestAnAnswerThatStops: a body of which no more comes is DaemonLost; who reads slowly is not to blame.
func TestAnAnswerThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		s := server.NewHTTPServer(context.Background(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(control.VersionHeader, "1")
			w.Write([]byte("half"))
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))
		served := make(chan error)
		go func() { served <- s.Serve(p) }()
		c := control.NewClient(control.ClientOptions{Session: "s", DialContext: p.dial})
		body, err := c.Body(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		got, err := io.ReadAll(body)
		if code(t, err, task.DaemonLost); string(got) != "half" {
			t.Errorf("%q", got)
		}
		body.Close()
		c.Close()
		s.Close()
		<-served
	})
}

// TestCloseEndsTheClient: calls and loops under way end, and what the owner has acknowledged arrives.
func TestCloseEndsTheClient(t *testing.T) {
	d, _ := serve(t, newNetwork().run)
	c := d.client()
	end(t, c, create(t, c, get("ok")))
	hanging := create(t, c, get("hang"))
	ended := make(chan error)
	go func() {
		var last error
		for _, err := range c.Events(t.Context(), task.EventQuery{Task: hanging}) {
			last = err
		}
		ended <- last
	}()
	var last error
	for ev, err := range c.Events(t.Context(), task.EventQuery{Own: true}) {
		if last = err; err == nil && ev.Sequence == 2 {
			if err := c.Acknowledge(t.Context(), 2); err != nil {
				t.Error(err)
			}
			c.Close()
		}
	}
	for _, err := range []error{last, <-ended, c.Flush(t.Context())} {
		if code(t, err, task.SessionInvalidated); !errors.Is(err, control.ErrClosed) {
			t.Error(err)
		}
	}
	_, err := c.Create(t.Context(), get("ok"), nil)
	code(t, err, task.SessionInvalidated)
	if acked, _ := d.session().store.Acknowledged(t.Context()); acked != 2 {
		t.Errorf("acknowledged %d, want 2", acked)
	}
	if rec, err := d.client().Task(t.Context(), hanging); err != nil || rec.State != task.Running {
		t.Errorf("%s, %v", rec.State, err)
	}
}

// TestStartsThatFail: a daemon that was there is waited for though it cannot be started from here; one that never was, is
// not. The time that a start takes is not the patience's.
func TestStartsThatFail(t *testing.T) {
	d, _ := serve(t, newNetwork().run)
	c := d.client(func(o *control.ClientOptions) {
		o.Start = func(context.Context) error { return errors.New("no such program") }
	})
	d.kill()
	time.AfterFunc(20*time.Millisecond, d.start)
	if err := c.Flush(t.Context()); err != nil {
		t.Error(err)
	}

	synctest.Test(t, func(t *testing.T) {
		starts := 0
		c := control.NewClient(control.ClientOptions{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody listens") },
			Start: func(context.Context) error {
				starts++
				time.Sleep(20 * time.Second)
				return nil
			},
		})
		_, err := c.Status(t.Context())
		if code(t, err, task.DaemonLost); starts < 2 {
			t.Errorf("%d starts, %v", starts, err)
		}
	})
}
