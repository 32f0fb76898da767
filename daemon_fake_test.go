package urlsession

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/control/server"
	"github.com/urlsession/urlsession/internal/cookie"
	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/seal"
	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// patience bounds every wait for a daemon.
const patience = 30 * time.Second

// fakeDaemon serves sessions that are in this process's memory, over a real socket. What it does beyond that, the tests of
// package daemon judge.
type fakeDaemon struct {
	state   string
	lasting bool   // sessions go on as those of a daemon do from their first process on
	stop    func() // what a client's Stop does

	mu     sync.Mutex
	all    map[string]*fakeSession
	http   *http.Server
	served chan struct{}
}

type fakeSession struct {
	*engine.Engine
	id            string
	store         *memstore.Store
	chain         *transport.Transport
	jar           *cookie.Storage
	bodies        *heldBodies
	configuration control.Configuration
}

func newFakeDaemon(state string) *fakeDaemon {
	return &fakeDaemon{state: state, all: make(map[string]*fakeSession)}
}

// startDaemon is one that runs, until the test's end.
func startDaemon(t *testing.T) *fakeDaemon {
	t.Helper()
	d := newFakeDaemon(t.TempDir())
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.end)
	return d
}

func (d *fakeDaemon) start() error {
	l, err := net.Listen("unix", control.Socket(d.state))
	if err != nil {
		return err
	}
	d.serve(l, server.New(d, server.Options{Stop: d.stop}))
	return nil
}

func (d *fakeDaemon) serve(l net.Listener, h http.Handler) {
	s, served := server.NewHTTPServer(context.Background(), h), make(chan struct{})
	d.mu.Lock()
	d.http, d.served = s, served
	d.mu.Unlock()
	go func() {
		defer close(served)
		_ = s.Serve(server.Listener(l, nil))
	}()
}

// kill breaks all connections, as the end of the process does; the sessions are left as they are.
func (d *fakeDaemon) kill() {
	d.mu.Lock()
	s, served := d.http, d.served
	d.http = nil
	d.mu.Unlock()
	if s != nil {
		s.Close()
		<-served
	}
}

// next is another process on the same state: its engines go on with what is stored.
func (d *fakeDaemon) next(t *testing.T) {
	t.Helper()
	for _, s := range d.sessions() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // at once, as a kill does
		_ = s.Stop(ctx)
		e, err := engine.Open(t.Context(), s.options())
		if err != nil {
			t.Fatal(err)
		}
		s.Engine = e
	}
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
}

func (d *fakeDaemon) end() {
	d.kill()
	for _, s := range d.sessions() {
		s.Close()
		s.chain.CloseIdleConnections()
		_ = s.jar.Close() // its folder may be gone
	}
}

func (d *fakeDaemon) sessions() (all []*fakeSession) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.all {
		all = append(all, s)
	}
	return all
}

// configuration is a background session's, in this daemon, whose tasks are not tried again.
func (d *fakeDaemon) configuration(change func(*Configuration)) Configuration {
	c := Background("com.example.sync")
	c.Daemon, c.Retries = Daemon{State: d.state, Command: []string{"true"}}, 0
	if change != nil {
		change(&c)
	}
	return c
}

// attach is a session in the daemon, as an app has it.
func (d *fakeDaemon) attach(t *testing.T, change func(*Configuration)) *Session {
	t.Helper()
	s, err := New(d.configuration(change))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// eachKind runs a test on a session in process, and on one in a daemon.
func eachKind(t *testing.T, change func(*Configuration), test func(*testing.T, *Session, *urlsessiontest.Server)) {
	t.Run("in process", func(t *testing.T) {
		s, srv := start(t, change)
		endLate(t, s)
		test(t, s, srv)
	})
	t.Run("background", func(t *testing.T) {
		srv := urlsessiontest.NewServer(urlsessiontest.KeepBodies(1 << 20))
		t.Cleanup(srv.Close)
		s := startDaemon(t).attach(t, change)
		endLate(t, s)
		test(t, s, srv)
	})
}

// endLate ends what a test waits for of a session, when it has waited for too long.
func endLate(t *testing.T, s *Session) {
	late := time.AfterFunc(patience, func() {
		t.Errorf("the test waits for longer than %v", patience)
		s.Close()
	})
	t.Cleanup(func() { late.Stop() })
}

func (s *fakeSession) options() engine.Options {
	return engine.Options{
		Session: s.id, Store: s.store, RoundTripper: s.chain, Bodies: s.bodies,
		Flush: func(ctx context.Context) error { s.chain.CloseIdleConnections(); return s.jar.Flush(ctx) },
		Reset: func(ctx context.Context) error { return s.jar.Reset(ctx) },
	}
}

// Create holds a body before the task is there, as a spool does.
func (s *fakeSession) Create(ctx context.Context, spec task.Spec, body io.Reader) (task.ID, error) {
	if body != nil {
		held, err := io.ReadAll(body)
		if err != nil {
			return 0, &task.Error{Op: "keep request body", Code: task.CannotWriteFile, Err: err}
		}
		body = bytes.NewReader(held)
	}
	return s.Engine.Create(ctx, spec, body)
}

// Open is server.Sessions', as the methods below.
func (d *fakeDaemon) Open(_ context.Context, id string, configuration []byte) (control.Service, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.all[id]
	if s == nil {
		s = &fakeSession{id: id, store: memstore.New(id), bodies: &heldBodies{held: make(map[task.ID][]byte)}}
	}
	s.configuration = control.Configuration{}
	if err := json.Unmarshal(configuration, &s.configuration); err != nil {
		return nil, &task.Error{Op: "open session", Code: task.Unknown, Err: err}
	}
	if d.all[id] == nil {
		o := transport.Options{SetCookies: true, Authenticator: credential.NewAuthenticator(nil, credential.Policy{})}
		file, key, purpose := control.SessionCookies(d.state, id)
		s.jar = cookie.Later(file, cookie.Options{Sealer: cookie.SealedBy(seal.InFile(key), purpose)})
		if s.configuration.Chain.Cookies {
			o.Jar = s.jar
		}
		var err error
		if s.chain, err = transport.New(o); err != nil {
			return nil, err
		}
		s.Engine = engine.New(s.options())
		if d.lasting {
			if s.Engine, err = engine.Open(context.Background(), s.options()); err != nil {
				return nil, err
			}
		}
		d.all[id] = s
	}
	return s, nil
}

func (d *fakeDaemon) Get(_ context.Context, id string) (control.Service, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.all[id]; s != nil {
		return s, nil
	}
	return nil, &task.Error{Op: "look up session", Code: task.ResourceUnavailable, Err: fmt.Errorf("there is no session %q", id)}
}

func (d *fakeDaemon) Info(ctx context.Context, id string) (control.SessionInfo, error) {
	svc, err := d.Get(ctx, id)
	if err != nil {
		return control.SessionInfo{}, err
	}
	s := svc.(*fakeSession)
	info := control.SessionInfo{ID: id, Created: time.Unix(1, 0)}
	state, err := s.store.State(ctx)
	info.State = control.SessionState(state)
	info.Acknowledged, _ = s.store.Acknowledged(ctx)
	info.Last, _ = s.store.Last(ctx)
	for rec := range s.Tasks(ctx) {
		if rec.State != task.Completed {
			info.Tasks++
		}
	}
	return info, err
}

func (d *fakeDaemon) List(ctx context.Context) (list []control.SessionInfo, err error) {
	for _, s := range d.sessions() {
		info, err := d.Info(ctx, s.id)
		if err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	return list, nil
}

func (d *fakeDaemon) Status(context.Context) (control.Status, error) {
	return control.Status{PID: os.Getpid(), Version: "fake", State: d.state, Sessions: len(d.sessions()), Free: -1}, nil
}

// heldBodies are the bodies of responses, which can be had more than once.
type heldBodies struct {
	mu   sync.Mutex
	held map[task.ID][]byte
}

func (h *heldBodies) Put(id task.ID, body []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[id] = bytes.Clone(body)
	return nil
}

func (h *heldBodies) Open(id task.ID) (io.ReadCloser, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, ok := h.held[id]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (h *heldBodies) Remove(id task.ID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, id)
	return nil
}

func (h *heldBodies) List() (ids []task.ID, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.held {
		ids = append(ids, id)
	}
	return ids, nil
}

var errEnough = errors.New("enough")

// within is a context that ends before the test's patience does.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("the test's patience is over"))
	t.Cleanup(cancel)
	return ctx
}
