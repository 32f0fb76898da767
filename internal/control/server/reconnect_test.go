package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/control/server"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/task"
)

// TestUnbrokenStream kills the server again and again while an owner, who acknowledges, and an observer listen: both see
// one stream.
func TestUnbrokenStream(t *testing.T) {
	d, _ := serve(t, newNetwork().run)
	patient := func(o *control.ClientOptions) { o.Patience = time.Minute } // a busy machine may kill each server before it has answered
	c, observer := d.client(patient), d.client(patient)
	const tasks = 300
	var begun sync.WaitGroup
	begun.Add(2)
	listen := func(c *control.Client, own bool, got chan<- []task.Event) {
		var evs []task.Event
		defer func() { got <- evs }()
		for ev, err := range c.Events(t.Context(), task.EventQuery{Own: own}) {
			if err != nil {
				t.Errorf("own %v, after %d events: %v", own, len(evs), err)
				return
			}
			if evs = append(evs, ev); len(evs) == 1 {
				begun.Done() // where the stream begins is known
			}
			if own && ev.Sequence != 0 {
				if err := c.Acknowledge(t.Context(), ev.Sequence); err != nil {
					t.Errorf("acknowledge %d: %v", ev.Sequence, err)
				}
			}
			if ev.Sequence == 2*tasks {
				return
			}
		}
	}
	owned, observed := make(chan []task.Event), make(chan []task.Event)
	go listen(c, true, owned)
	go listen(observer, false, observed)
	begun.Wait()
	for i := range tasks {
		if _, err := d.session().Create(t.Context(), get("ok"), nil); err != nil {
			t.Fatal(err)
		}
		if i%30 == 29 {
			d.kill()
			time.Sleep(5 * time.Millisecond)
			d.start()
		}
	}
	for _, evs := range [][]task.Event{<-owned, <-observed} {
		if seqs := sequences(t, evs); len(seqs) != 2*tasks || seqs[0] != 1 {
			t.Errorf("%d events, which are %v", len(seqs), seqs)
		}
		if n := strings.Count(names(evs), "sessioneventscompleted"); n != 1 {
			t.Errorf("%d times EventsCompleted", n)
		}
	}
	if acked, _ := d.session().store.Acknowledged(t.Context()); acked != 2*tasks {
		t.Errorf("acknowledged %d of %d", acked, 2*tasks)
	}
}

// TestTaskStreamSurvivesTheDaemon: who waits for one task, with its progress, does not see that the daemon was away.
func TestTaskStreamSurvivesTheDaemon(t *testing.T) {
	n := newNetwork()
	d, c := serve(t, n.run)
	id := create(t, c, get("move", download))
	var moved int64
	for ev, err := range c.Events(t.Context(), task.EventQuery{Task: id}) {
		if err != nil {
			t.Fatal(err)
		}
		switch p := ev.Detail.(type) {
		case task.EventsCompleted:
			d.kill()
			go func() {
				for range 50 {
					n.gate("move") <- struct{}{}
				}
				d.start()
				close(n.gate("move"))
			}()
		case task.DownloadProgress:
			if moved += p.Written; moved != p.Total {
				t.Errorf("told of %d bytes, and of %d in all", moved, p.Total)
			}
		}
	}
	if moved != 100 {
		t.Errorf("told of %d bytes", moved)
	}
}

// TestNextDaemonGoesOn: the daemon's process is gone, with its engine; the next one opens the store, and the loops that
// were under way go on as if nothing had been, to the tasks' ends.
func TestNextDaemonGoesOn(t *testing.T) {
	n := newNetwork()
	d, c := serve(t, n.run)
	id := create(t, c, get("move", download))
	other := create(t, c, get("hang", func(s *task.Spec) { s.Suspended = true }))
	got := make(chan []task.Event)
	var begun sync.WaitGroup
	for _, q := range []task.EventQuery{{Own: true}, {Task: id}} {
		begun.Add(1)
		go func() {
			got <- collect(t, c, q, func(ev task.Event) bool {
				if is("sessioneventscompleted")(ev) {
					begun.Done()
				}
				return is("sessioncompleted")(ev)
			})
		}()
	}
	for range 10 {
		n.gate("move") <- struct{}{}
	}
	begun.Wait()
	d.kill()
	s := d.session()
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	s.Stop(stopped) // as far as a process that is killed can be had in a test
	next, err := engine.Open(t.Context(), engine.Options{Session: "s", Store: s.store, Run: n.run})
	if err != nil {
		t.Fatal(err)
	}
	s.Engine = next
	d.start()
	close(n.gate("move"))
	for range 2 {
		evs := <-got
		sequences(t, evs)
		if last := evs[len(evs)-1]; last.Task != id || !last.Detail.(task.SessionCompleted).Success {
			t.Errorf("%+v", last)
		}
		if names := names(evs); strings.Count(names, "sessioneventscompleted") != 1 || strings.Count(names, "responsereceived") != 2 {
			t.Error(names)
		}
	}
	if rec, err := c.Task(t.Context(), other); err != nil || rec.State != task.Suspended {
		t.Errorf("%s, %v", rec.State, err)
	}
	if rec, err := c.Task(t.Context(), id); err != nil || rec.Attempt != 2 {
		t.Errorf("attempt %d, %v", rec.Attempt, err)
	}
}

func TestDaemonIsStartedByTheFirstClient(t *testing.T) {
	d := newDaemon(t, newNetwork().run)
	var starts atomic.Int32
	start := func(context.Context) error {
		starts.Add(1)
		go d.start() // it takes its time
		return nil
	}
	c := d.client(func(o *control.ClientOptions) { o.Start = start })
	create(t, c, get("ok"))
	if n := starts.Load(); n != 1 {
		t.Errorf("started %d times", n)
	}
	if got := string(d.session().configuration); got != `{"a":1}` {
		t.Errorf("configuration %s", got)
	}
}

func TestNoDaemon(t *testing.T) {
	o := control.ClientOptions{Socket: filepath.Join(t.TempDir(), "none.sock"), Session: "s", Patience: 30 * time.Millisecond}
	c := control.NewClient(o)
	defer c.Close()
	_, err := c.Create(t.Context(), get("ok"), nil)
	if code(t, err, task.DaemonLost); !strings.Contains(err.Error(), "none.sock") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	for _, err := range c.Events(t.Context(), task.EventQuery{}) {
		code(t, err, task.DaemonLost)
	}
	code(t, c.Suspend(t.Context(), 1), task.DaemonLost)

	o.Start = func(context.Context) error { return errors.New("no such program") }
	_, err = control.Dial(t.Context(), o)
	if code(t, err, task.DaemonLost); !strings.Contains(err.Error(), "no such program") {
		t.Errorf("%v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	o.Patience, o.Start = time.Hour, nil
	_, err = control.Dial(ctx, o)
	code(t, err, task.TimedOut)
}

// TestStoppingDaemon: what a daemon that stops refuses is asked again of the next one.
func TestStoppingDaemon(t *testing.T) {
	d, c := serve(t, newNetwork().run)
	stop := func(stopping bool) {
		d.sessions.mu.Lock()
		defer d.sessions.mu.Unlock()
		d.sessions.stopping = stopping
	}
	stop(true)
	time.AfterFunc(50*time.Millisecond, func() { stop(false) })
	end(t, c, create(t, c, get("ok")))
}

// loser dials connections that break, when it is armed, after the request has been answered and before the answer is
// here.
type loser struct {
	armed atomic.Int32 // so many answers are lost
	then  func()       // called when one was
}

func (l *loser) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &losing{conn, l}, nil
}

type losing struct {
	net.Conn
	l *loser
}

func (c *losing) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && c.l.armed.Add(-1) >= 0 {
		c.Conn.Close()
		if c.l.then != nil {
			c.l.then()
		}
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

func (l *loser) client(d *daemon) *control.Client {
	return d.client(func(o *control.ClientOptions) { o.DialContext = l.dial })
}

// TestLostAnswer loses the answer to each kind of question.
func TestLostAnswer(t *testing.T) {
	d, _ := serve(t, newNetwork().run)
	l := new(loser)
	c := l.client(d)
	id := create(t, c, get("hang"))
	for name, ask := range map[string]func() error{
		"task":        func() error { _, err := c.Task(t.Context(), id); return err },
		"priority":    func() error { return c.SetPriority(t.Context(), id, .9) },
		"rate limit":  func() error { return c.SetRateLimit(t.Context(), id, 9) },
		"acknowledge": func() error { return c.Acknowledge(t.Context(), 1) },
		"flush":       func() error { return c.Flush(t.Context()) },
		"open":        func() error { return c.Open(t.Context()) },
		"cancel":      func() error { return c.Cancel(t.Context(), id) },
		"finish":      func() error { return c.Finish(t.Context()) },
	} {
		l.armed.Store(2)
		if err := ask(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSuspendIsNotRepeated(t *testing.T) {
	d, _ := serve(t, newNetwork().run)
	l := new(loser)
	c := l.client(d)
	id := create(t, c, get("hang"))
	l.armed.Store(1)
	err := c.Suspend(t.Context(), id)
	if code(t, err, task.DaemonLost); !strings.Contains(err.Error(), "may have been applied") {
		t.Error(err)
	}
	if rec, err := c.Task(t.Context(), id); err != nil || rec.SuspendCount != 1 {
		t.Errorf("suspended %d times, %v", rec.SuspendCount, err)
	}
}

// pipes is a network in memory, for a synctest bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	dials  atomic.Int32
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case p.conns <- b:
		p.dials.Add(1)
		return a, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// TestSilence: a stream on which nothing happens stays, by its heartbeat; one that is dead is noticed, and made anew.
func TestSilence(t *testing.T) {
	for _, dead := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDaemon(t, newNetwork().run)
			p := newPipes()
			h := server.New(d.sessions, server.Options{})
			if dead {
				inner := h
				h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/events") {
						w.Header().Set(control.VersionHeader, "1")
						http.NewResponseController(w).Flush()
						<-r.Context().Done()
						return
					}
					inner.ServeHTTP(w, r)
				})
			}
			s := server.NewHTTPServer(context.Background(), h)
			served := make(chan error)
			go func() { served <- s.Serve(p) }()
			c := d.client(func(o *control.ClientOptions) { o.DialContext = p.dial })
			before := p.dials.Load()

			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			for _, err := range c.Events(ctx, task.EventQuery{}) {
				want := task.Code(0)
				if dead {
					want = task.DaemonLost // patience is 5 s, and the silence lasts longer
				}
				if err != nil && !errors.Is(err, context.DeadlineExceeded) && task.CodeOf(err) != want {
					t.Error(err)
				}
			}
			if n := p.dials.Load() - before; !dead && n > 1 || dead && n < 1 { // the first stream has Open's
				t.Errorf("dead %v: %d connections", dead, n)
			}
			c.Close()
			s.Close()
			<-served
			for _, s := range d.sessions.all {
				s.Close()
			}
			time.Sleep(time.Second)
		})
	}
}
