package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/control/server"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// session is one of a daemon.
type session struct {
	*engine.Engine
	store   *memstore.Store
	created time.Time

	mu            sync.Mutex
	configuration []byte
	beforeCreate  func() // called in Create, with the body read
	beforeBatch   func() // called in CreateBatch
}

func (s *session) CreateBatch(ctx context.Context, specs []task.Spec) ([]task.ID, error) {
	s.mu.Lock()
	f := s.beforeBatch
	s.mu.Unlock()
	if f != nil {
		f()
	}
	return s.Engine.CreateBatch(ctx, specs)
}

// Create holds the body before the task is there, as a spool does.
func (s *session) Create(ctx context.Context, spec task.Spec, body io.Reader) (task.ID, error) {
	if body != nil {
		held, err := io.ReadAll(body)
		if err != nil {
			return 0, &task.Error{Op: "keep request body", Code: task.CannotWriteFile, Err: err}
		}
		body = bytes.NewReader(held)
	}
	s.mu.Lock()
	f := s.beforeCreate
	s.mu.Unlock()
	if f != nil {
		f()
	}
	return s.Engine.Create(ctx, spec, body)
}

// sessions is a daemon's.
type sessions struct {
	run      func(context.Context, *transfer.Attempt) (transfer.Result, error)
	bare     bool // its Services have no more than a Service's methods
	stopping bool
	show     func(control.Service) control.Service // what else than a session Get gives; nil: nothing

	mu  sync.Mutex
	all map[string]*session
}

// serviceOnly hides what else a session can.
type serviceOnly struct{ control.Service }

func (ss *sessions) Open(_ context.Context, id string, configuration []byte) (control.Service, error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.all[id]
	if s == nil {
		st := memstore.New(id)
		s = &session{store: st, created: time.Now(),
			Engine: engine.New(engine.Options{Session: id, Store: st, Run: ss.run, MaxPerHost: 2000})}
		ss.all[id] = s
	}
	s.mu.Lock()
	s.configuration = configuration
	s.mu.Unlock()
	return s, nil
}

func (ss *sessions) get(id string) (*session, error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.stopping {
		return nil, &task.Error{Op: "look up session", Code: task.DaemonLost, Err: errors.New("the daemon is stopping")}
	}
	if s := ss.all[id]; s != nil {
		return s, nil
	}
	return nil, &task.Error{Op: "look up session", Code: task.ResourceUnavailable, Err: fmt.Errorf("there is no session %q", id)}
}

func (ss *sessions) Get(_ context.Context, id string) (control.Service, error) {
	s, err := ss.get(id)
	if err != nil {
		return nil, err
	}
	if ss.show != nil {
		return ss.show(s), nil
	}
	if ss.bare {
		return serviceOnly{s}, nil
	}
	return s, nil
}

func (ss *sessions) Info(ctx context.Context, id string) (control.SessionInfo, error) {
	s, err := ss.get(id)
	if err != nil {
		return control.SessionInfo{}, err
	}
	info := control.SessionInfo{ID: id, State: control.SessionOpen, Created: s.created}
	info.Acknowledged, _ = s.store.Acknowledged(ctx)
	info.Last, _ = s.store.Last(ctx)
	return info, nil
}

func (ss *sessions) List(ctx context.Context) ([]control.SessionInfo, error) {
	ss.mu.Lock()
	ids := []string{}
	for id := range ss.all {
		ids = append(ids, id)
	}
	ss.mu.Unlock()
	slices.Sort(ids)
	var list []control.SessionInfo
	for _, id := range ids {
		info, err := ss.Info(ctx, id)
		if err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	return list, nil
}

func (ss *sessions) Status(context.Context) (control.Status, error) {
	return control.Status{PID: 7, Version: "test", Sessions: len(ss.all)}, nil
}

// daemon is a server on a unix socket, which can be killed and started again over the same sessions.
type daemon struct {
	t        *testing.T
	socket   string
	sessions *sessions
	options  server.Options

	mu   sync.Mutex
	http *http.Server
	done chan struct{}
}

func newDaemon(t *testing.T, run func(context.Context, *transfer.Attempt) (transfer.Result, error)) *daemon {
	t.Helper()
	d := &daemon{t: t, socket: filepath.Join(t.TempDir(), "d.sock"),
		sessions: &sessions{run: run, all: make(map[string]*session)}}
	t.Cleanup(func() {
		d.kill()
		for _, s := range d.sessions.all {
			s.Close()
		}
	})
	return d
}

func (d *daemon) start() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		d.t.Error(err)
		return
	}
	s := server.NewHTTPServer(context.Background(), server.New(d.sessions, d.options))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(server.Listener(l, nil))
	}()
	d.http, d.done = s, done
}

// kill breaks all connections, as the end of the process does.
func (d *daemon) kill() {
	d.mu.Lock()
	s, done := d.http, d.done
	d.http = nil
	d.mu.Unlock()
	if s != nil {
		s.Close()
		<-done
	}
}

func (d *daemon) client(change ...func(*control.ClientOptions)) *control.Client {
	d.t.Helper()
	o := control.ClientOptions{Socket: d.socket, Session: "s", Configuration: []byte(`{"a":1}`), Patience: 5 * time.Second}
	for _, f := range change {
		f(&o)
	}
	c, err := control.Dial(d.t.Context(), o)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(c.Close)
	return c
}

// serve is a daemon that runs, and a client of its session "s".
func serve(t *testing.T, run func(context.Context, *transfer.Attempt) (transfer.Result, error)) (*daemon, *control.Client) {
	t.Helper()
	d := newDaemon(t, run)
	d.start()
	return d, d.client()
}

func (d *daemon) session() *session {
	s, err := d.sessions.get("s")
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// network stands for the network: what an attempt does is its URL's path. Gates hold what must wait.
type network struct {
	mu    sync.Mutex
	gates map[string]chan struct{}
	under map[task.ID]transfer.Limits // those of the newest attempt
}

func newNetwork() *network {
	return &network{gates: make(map[string]chan struct{}), under: make(map[task.ID]transfer.Limits)}
}

// limits are the rates that the tasks' attempts are under, of those that have one.
func (n *network) limits(ids ...task.ID) (rates []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range ids {
		if ls := n.under[id]; ls != nil {
			rates = append(rates, fmt.Sprint(ls[0].Rate(), " ", ls[1].Rate()))
		}
	}
	return rates
}

func (n *network) gate(name string) chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gates[name] == nil {
		n.gates[name] = make(chan struct{})
	}
	return n.gates[name]
}

func (n *network) run(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
	n.mu.Lock()
	n.under[a.ID] = a.Limits
	n.mu.Unlock()
	path := strings.TrimPrefix(a.Spec.Request.URL, "http://example.com/")
	path, _, _ = strings.Cut(path, "?")
	resp := &task.Response{URL: a.Spec.Request.URL, Status: 200, Header: http.Header{"X-A": {"b"}, "Set-Cookie": {"k=v"}}, ContentLength: 10}
	res := transfer.Result{Response: resp, Body: []byte("body of " + path), Path: "/tmp/file"}
	switch path {
	case "ok":
		return res, a.Observer.Response(ctx, resp)
	case "hang":
		<-ctx.Done()
		return transfer.Result{}, context.Cause(ctx)
	case "refused":
		return transfer.Result{}, &task.Error{Op: "connect", URL: "http://example.com/refused", Code: task.CannotConnect,
			Err: errors.New("connection refused"), Unsent: true}
	case "echo":
		body, err := a.Body()
		if err != nil {
			return res, err
		}
		defer body.Close()
		if res.Body, err = io.ReadAll(body); err != nil {
			return res, err
		}
		a.Observer.Sent(int64(len(res.Body)), int64(len(res.Body)))
		return res, a.Observer.Response(ctx, resp)
	case "door": // it opens to one password
		for failures := 0; ; failures++ {
			got, err := a.Observer.Challenge(ctx, task.Challenge{Space: door, User: "u", Failures: failures, Message: "why"})
			if err != nil {
				return transfer.Result{}, err
			}
			if got.Disposition != task.UseCredential {
				resp.Status = 401
			} else if got.Credential.Password != "open" {
				continue
			}
			return res, a.Observer.Response(ctx, resp)
		}
	case "move": // 100 bytes, which arrive as the gate lets them
		if err := a.Observer.Response(ctx, resp); err != nil {
			return res, err
		}
		for i := int64(1); i <= 100; i++ {
			a.Observer.Received(i, 100)
			select {
			case <-n.gate("move"):
			case <-ctx.Done():
				return transfer.Result{}, context.Cause(ctx)
			}
		}
		return res, nil
	}
	return transfer.Result{}, fmt.Errorf("no such path %q", path)
}

var door = task.ProtectionSpace{Scheme: "http", Host: "example.com", Port: 80, Realm: "door", Method: "Basic"}

func get(path string, change ...func(*task.Spec)) task.Spec {
	s := task.Spec{Kind: task.Data, Request: task.Request{Method: "GET", URL: "http://example.com/" + path},
		Policy: task.Policy{ResourceTimeout: time.Hour, AllowsExpensive: true, AllowsConstrained: true}}
	for _, f := range change {
		f(&s)
	}
	return s
}

func download(s *task.Spec) {
	s.Kind, s.Download = task.Download, &task.DownloadSpec{Destination: "f", Path: "/tmp/f"}
}

func create(t *testing.T, svc control.Service, s task.Spec) task.ID {
	t.Helper()
	id, err := svc.Create(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// collect gathers events until the stream ends, or until says so.
func collect(t *testing.T, svc control.Service, q task.EventQuery, until ...func(task.Event) bool) []task.Event {
	t.Helper()
	var evs []task.Event
	for ev, err := range svc.Events(t.Context(), q) {
		if err != nil {
			t.Fatalf("after %s: %v", names(evs), err)
		}
		evs = append(evs, ev)
		if len(until) > 0 && until[0](ev) {
			break
		}
	}
	return evs
}

func is(name string) func(task.Event) bool {
	return func(ev task.Event) bool { return ev.Detail.EventName() == name }
}

func names(evs []task.Event) string {
	var s []string
	for _, ev := range evs {
		s = append(s, ev.Detail.EventName())
	}
	return strings.Join(s, " ")
}

func end(t *testing.T, svc control.Service, id task.ID) task.Record {
	t.Helper()
	collect(t, svc, task.EventQuery{Task: id, DurableOnly: true})
	rec, err := svc.Task(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if rec.State != task.Completed {
		t.Fatalf("after its last event the task is %s", rec.State)
	}
	return rec
}

// sequences checks that durable events are numbered without a gap, and returns them.
func sequences(t *testing.T, evs []task.Event) (seqs []uint64) {
	t.Helper()
	for _, ev := range evs {
		if ev.Sequence != 0 {
			seqs = append(seqs, ev.Sequence)
		}
	}
	for i := 1; i < len(seqs); i++ {
		if seqs[i] != seqs[i-1]+1 {
			t.Fatalf("after event %d comes %d", seqs[i-1], seqs[i])
		}
	}
	return seqs
}

func code(t *testing.T, err error, want task.Code) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if _, ok := errors.AsType[*task.Error](err); !ok {
		t.Errorf("%T is no *task.Error: %v", err, err)
	}
}

// wait waits until f, or fails.
func wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// closing is a body that knows whether it was closed.
type closing struct {
	io.Reader
	mu     sync.Mutex
	closed bool
}

func (c *closing) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func (c *closing) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}
