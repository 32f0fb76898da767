package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/cookie"
	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
	"github.com/urlsession/urlsession/internal/transport"
)

// session is an engine with what it needs around it. It is a control.Service, and all else that server looks for.
type session struct {
	*engine.Engine
	ss        *sessions
	id        string
	jar       *cookie.Storage
	launcher  *launcher
	temporary place

	credentials *credential.Storage

	mu         sync.Mutex
	kept       generations
	untold     []task.ProtectionSpace       // of which credentials were taken before the engine was there to be told
	creating   map[int]int                  // creations under way, by the generation that their tasks will have
	transports map[int]*transport.Transport // by generation; those that were asked for
}

var (
	_ control.Service     = (*session)(nil)
	_ control.Batcher     = (*session)(nil)
	_ control.Pager       = (*session)(nil)
	_ control.URLReplacer = (*session)(nil)
)

// open makes the engine of a session that the store has, and lets its tasks go on.
func (ss *sessions) open(ctx context.Context, id string) (*session, error) {
	g, err := ss.configuration(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read the session's configuration: %w", err)
	}
	folder := control.SessionFolder(ss.state, id)
	s := &session{
		ss: ss, id: id, kept: g, jar: ss.cookies(id), credentials: ss.credentials(id), temporary: place{dir: filepath.Join(folder, "temporary")},
		creating: make(map[int]int), transports: make(map[int]*transport.Transport),
	}
	s.launcher = &launcher{waits: s.waits, start: startCommand(ss.state, id), log: ss.log.With("session", id), launch: g.Newest.Launch}
	e, err := engine.Open(ctx, s.engineOptions(folder))
	if err != nil {
		return nil, err
	}
	s.begun(e)
	s.launcher.begin()
	return s, nil
}

// engineOptions are those of the session's engine; folder is the session's.
func (s *session) engineOptions(folder string) engine.Options {
	ss := s.ss
	return engine.Options{
		Session: s.id, Store: ss.db.Session(s.id), Chain: s.chain, Network: ss.network,
		MaxPerHost: s.kept.Newest.MaximumConnectionsPerHost, Hosts: ss.limiter.hosts, RateLimit: s.kept.Newest.RateLimit,
		Limits: transfer.Limits{&ss.limiter.limit},
		Flush:  s.flush, Reset: s.reset,
		Bodies: &bodies{place{dir: filepath.Join(folder, "bodies")}}, Spool: &spool{place{dir: filepath.Join(folder, "spool")}},
		Retention: ss.options.retention(),
		Temporary: s.temporary.dir, Known: s.knows, Unattended: s.launcher.wake, Power: ss.power,
	}
}

// stop ends the engine, and makes cookies and credentials durable; a launch command that runs goes on.
func (s *session) stop(ctx context.Context) error {
	s.launcher.stop()
	err := s.Engine.Stop(ctx)
	if err := s.jar.Close(); err != nil {
		s.ss.log.Error("cookies of a session are lost", "session", s.id, "error", err)
	}
	if err := s.credentials.Flush(context.WithoutCancel(ctx)); err != nil {
		s.ss.log.Error("credentials of a session are lost, or cannot be read", "session", s.id, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropTransports(func(int) bool { return true })
	return err
}

// waits says whether events wait for an owner who is not there.
func (s *session) waits() (acknowledged uint64, waits bool) {
	info, err := s.ss.db.Info(context.Background(), s.id)
	return info.Acknowledged, err == nil && info.Acknowledged < info.LastEvent && !s.Owned()
}

// configure has a newer configuration govern the tasks created from now on. It is stored first: no task names one that a
// kill could take away. Creations wait meanwhile, so that no generation goes that one is about to use.
func (s *session) configure(ctx context.Context, c control.Configuration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.kept
	next, err := before.with(c, func() (map[int]bool, error) { return s.inUse(ctx) })
	if err != nil || sameJSON(next, before) {
		return err
	}
	if err := s.govern(ctx, next); err != nil {
		return err
	}
	limits := c.MaximumConnectionsPerHost != before.Newest.MaximumConnectionsPerHost
	s.dropTransports(func(number int) bool {
		_, kept := next.chain(number)
		return !kept || limits // one with other limits is made anew when next asked for
	})
	s.launcher.use(c.Launch)
	s.SetLimits(c.MaximumConnectionsPerHost, c.RateLimit)
	return nil
}

// govern stores what governs the session from now on. s.mu is held.
func (s *session) govern(ctx context.Context, g generations) error {
	data, err := json.Marshal(g)
	if err == nil {
		err = s.ss.db.PutConfiguration(ctx, s.id, data)
	}
	if err == nil {
		s.kept = g
	}
	return err
}

// SetRateLimit is Service.SetRateLimit. The session's is stored with its configuration, and goes with it when an app opens
// the session with another.
func (s *session) SetRateLimit(ctx context.Context, id task.ID, bytesPerSecond int64) error {
	if id == 0 && bytesPerSecond >= 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		next := s.kept
		next.Newest.RateLimit = bytesPerSecond
		if err := s.govern(ctx, next); err != nil {
			return s.ss.fail("set rate limit of session", s.id, err)
		}
	}
	return s.Engine.SetRateLimit(ctx, id, bytesPerSecond)
}

// inUse are the generations of tasks that have not ended, and of those that are being created. s.mu is held.
func (s *session) inUse(ctx context.Context) (map[int]bool, error) {
	used := make(map[int]bool)
	for number := range s.creating {
		used[number] = true
	}
	st := s.ss.db.Session(s.id)
	for after := task.ID(0); ; {
		page, err := st.Pending(ctx, after, 1024)
		if err != nil || len(page) == 0 {
			return used, err
		}
		for _, p := range page {
			after = p.ID
			rec, err := st.Load(ctx, p.ID)
			if err != nil && !errors.Is(err, store.ErrNotFound) { // which has ended meanwhile
				return used, err
			}
			used[rec.Spec.Configuration] = true
		}
	}
}

// chain is engine.Options.Chain: that of the configuration that the task was created under.
func (s *session) chain(spec *task.Spec) (http.RoundTripper, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	number := spec.Configuration
	if t := s.transports[number]; t != nil {
		return t, nil
	}
	c, ok := s.kept.chain(number)
	if !ok {
		return nil, &task.Error{Op: "send", Code: task.NoSharedContainer,
			Err: fmt.Errorf("configuration %d of the session is not kept any more; create the task anew", number)}
	}
	t, err := newTransport(&c, s.kept.Newest.MaximumConnectionsPerHost, remembered{s.jar, s.credentials, s.taken})
	if err != nil {
		return nil, &task.Error{Op: "send", Code: task.Unknown, Err: err}
	}
	s.transports[number] = t
	return t, nil
}

// dropTransports forgets those that which chooses; attempts under way keep theirs. s.mu is held.
func (s *session) dropTransports(which func(number int) bool) {
	for number, t := range s.transports {
		if which(number) {
			t.Close()
			delete(s.transports, number)
		}
	}
}

// flush makes cookies and credentials durable and drops idle connections.
func (s *session) flush(ctx context.Context) error {
	err := errors.Join(s.jar.Flush(ctx), s.credentials.Flush(ctx))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.transports {
		t.CloseIdleConnections()
	}
	return err
}

// reset empties what the session remembers. What it cannot empty does not keep it from the rest.
func (s *session) reset(ctx context.Context) error {
	err := errors.Join(s.jar.Reset(ctx), s.credentials.Reset(ctx))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.transports {
		t.Forget()
	}
	return err
}

// Create is Service.Create.
func (s *session) Create(ctx context.Context, spec task.Spec, body io.Reader) (task.ID, error) {
	if err := s.admit("create task", &spec); err != nil {
		return 0, err
	}
	defer s.begin(&spec)()
	return s.Engine.Create(ctx, spec, body)
}

// CreateBatch is control.Batcher's.
func (s *session) CreateBatch(ctx context.Context, specs []task.Spec) ([]task.ID, error) {
	all := make([]*task.Spec, len(specs))
	for i := range specs {
		if err := s.admit("create tasks", &specs[i]); err != nil {
			return nil, err
		}
		all[i] = &specs[i]
	}
	defer s.begin(all...)()
	return s.Engine.CreateBatch(ctx, specs)
}

// admit refuses what no task in the background can have, and makes the folder that it needs.
func (s *session) admit(op string, spec *task.Spec) error {
	refuse := func(code task.Code, err error) error {
		return &task.Error{Op: op, URL: task.Redact(spec.Request.URL), Code: code, Err: err}
	}
	if spec.Policy.Ask.Redirect || spec.Policy.Ask.Response {
		return refuse(task.Unknown, errors.New("a task in the background asks for no decision about redirects and responses: nobody may be there to take it"))
	}
	if spec.Stream {
		return refuse(task.Unknown, errors.New("a task in the background keeps its body; only a session in process can stream it"))
	}
	if d := spec.Download; d != nil && d.Path == "" {
		if err := s.temporary.make(); err != nil {
			return refuse(task.CannotWriteFile, fmt.Errorf("make the folder of temporary downloads: %w", err))
		}
	}
	return nil
}

// begin gives tasks that are about to be created the newest generation, which stays until done is called; then the tasks
// themselves keep it.
func (s *session) begin(specs ...*task.Spec) (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	number := s.kept.Number
	for _, spec := range specs {
		spec.Configuration = number
	}
	s.creating[number]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.creating[number]--; s.creating[number] == 0 {
			delete(s.creating, number)
		}
	}
}

// Events is Service.Events. An owner who comes ends the pauses of the launch command.
func (s *session) Events(ctx context.Context, q task.EventQuery) iter.Seq2[task.Event, error] {
	if !q.Own {
		return s.Engine.Events(ctx, q)
	}
	return func(yield func(task.Event, error) bool) {
		s.launcher.owned()
		s.Engine.Events(ctx, q)(yield)
	}
}
