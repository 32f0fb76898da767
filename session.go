package urlsession

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/platform"
	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/task"
)

// Session makes tasks and runs them, with one pool of connections, its storages and one set of limits. It is
// made by New, or is Shared. Its methods may be called from any goroutine. It ends by Close, or by InvalidateAndCancel or
// FinishTasksAndInvalidate; a session that is dropped without goes on holding its connections.
//
// A background session is a view of one that the daemon has: any number of them, in any number of processes, may be of
// the same. Where the daemon is away, its methods and loops wait for it for 10 s, and have it started, and then fail with
// ErrDaemonLost; one that is there and says nothing for a minute is lost too. What they ask is done once, whatever breaks
// meanwhile, but for what Task.Suspend says.
//
// The ctx of its methods bounds the call, never a task that it made; of Data, Download and Upload it bounds the task.
type Session struct {
	config  Configuration // not changed
	policy  task.Policy   // what config says of each task
	svc     service
	chain   chain
	handles handles
	shared  bool

	handshakes  *handshakes        // of a background session, and without OnChallenge, nil
	credentials *CredentialStorage // nil: there is none

	invalidated atomic.Bool
	shutDown    func() error
	closing     sync.Once
	closeErr    error
}

// service is what a session needs of whoever runs its tasks: an engine in process, or a client of the daemon.
type service interface {
	control.Service
	control.Batcher
	control.Pager
	control.URLReplacer
}

// chain sends requests.
type chain interface {
	http.RoundTripper
	CloseIdleConnections()
	// Close ends what goes on behind the requests, and closes idle connections.
	Close()
	Forget() // what was learnt of users, and connections that may be theirs
}

// New makes a session. It takes a copy of the configuration, and refuses one that Default, Ephemeral and Background did
// not make, and values that mean nothing: the error names the field and the remedy. In process it does no I/O,
// but for reading Netrc.
//
// For a background session it asks the daemon to make it, or to attach to the one that there is, and starts the daemon
// where it does not run (see Daemon.Command). Environment, relative paths and programs are resolved now: the daemon uses
// them as they are here. That takes a minute at most, and mostly milliseconds: a daemon that cannot be reached or started
// is ErrDaemonLost; one of another version, or none of urlsession's, ErrNoSharedContainer; another user's
// ErrNoPermission; a session that is ending and still has tasks or events that nobody has acknowledged,
// ErrSessionInvalidated.
func New(c Configuration) (*Session, error) {
	c = c.clone()
	if err := c.check(); err != nil {
		return nil, err
	}
	c.resolveCookies()
	if c.URLCache != nil && c.URLCache.application && c.kind == kindDefault {
		c.URLCache = urlCacheOf(c.Application)
	}
	if c.kind == kindDefault && c.CredentialStorage == credentialsOf("") {
		c.CredentialStorage = credentialsOf(c.Application) // as the cookies
	}
	proxy, err := c.Proxy.resolve()
	if err != nil {
		return nil, err
	}
	h := newHandshakes(&c)
	t, err := c.transport(proxy, h)
	if err != nil {
		return nil, err
	}
	if c.kind == kindBackground {
		return attach(c, proxy, t)
	}
	s := open(c, t)
	s.handshakes = h
	return s, nil
}

// open is a session in process over a chain.
func open(c Configuration, t chain) *Session {
	e := engine.New(engine.Options{
		Store: memstore.New(""), RoundTripper: t, Network: new(platform.Connectivity),
		MaxPerHost: c.MaximumConnectionsPerHost, RateLimit: c.RateLimit,
		Flush: func(ctx context.Context) error {
			t.CloseIdleConnections()
			return c.flush(ctx)
		},
		Reset: c.reset,
	})
	return newSession(c, e, t, func() error {
		err := e.Close()
		t.Close()
		ctx, cancel := context.WithTimeout(context.Background(), closeFor)
		defer cancel()
		return errors.Join(err, c.flush(ctx))
	})
}

// newSession is a session over a service. shutDown ends the service: an engine with its tasks, a client without.
func newSession(c Configuration, svc service, chain chain, shutDown func() error) *Session {
	s := &Session{config: c, policy: c.policy(), svc: svc, chain: chain, credentials: c.CredentialStorage}
	s.handles = handles{svc: svc, held: make(map[task.ID]holding)}
	s.shutDown = shutDown
	if c.OnRedirect != nil || c.OnResponse != nil || c.OnChallenge != nil {
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		d := &decider{s: s, asked: make(map[task.ID]call)}
		go func() {
			defer close(done)
			d.listen(ctx)
		}()
		s.shutDown = func() error {
			err := shutDown()
			stop()
			<-done
			return err
		}
	}
	return s
}

// Shared is the one session of the process, for code that needs no session of its own. It is made of Default at its
// first use. To invalidate or close it does nothing. Where New would refuse Default, for a proxy of the environment that
// is none, its tasks fail with that error.
func Shared() *Session { return shared() }

var shared = sync.OnceValue(func() *Session {
	c := Default()
	var s *Session
	proxy, _ := c.Proxy.resolve() // the environment's: it cannot fail
	if t, err := c.transport(proxy, nil); err != nil {
		s = open(c, refusing{err})
	} else {
		s = open(c, t)
	}
	s.shared = true
	return s
})

// refusing is the chain of a session that cannot send anything.
type refusing struct{ err error }

func (r refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	return nil, r.err
}

func (r refusing) CloseIdleConnections() {}
func (r refusing) Close()                {}
func (r refusing) Forget()               {}

// Configuration is a copy of the session's configuration.
func (s *Session) Configuration() Configuration { return s.config.clone() }

// DataTask makes a task whose response's body is held in memory, in the background on the daemon's disk: see Task.Body. It
// has started when DataTask returns, unless the request says otherwise.
func (s *Session) DataTask(ctx context.Context, r Request) (*Task, error) {
	return s.newTask(ctx, task.Data, r, "")
}

// DownloadTask makes a task whose response's body becomes a file. destination is the file's path, relative to the
// working directory of now, or a folder, where it ends in a separator or is one: then the name comes from the response,
// else the URL, and is made safe. Empty: a temporary file, which is the caller's to remove; that of a background session is
// in the daemon's folder, and goes with the task's history. The folder must exist.
//
// What arrives is written to a part file beside the destination, NAME.KEY.part, which takes the final name once it is
// complete, of one version, verified, and on the disk. Where a part of the same URL and destination is there from
// before, also from another process, the download goes on from it, if the server vouches that the content is the same;
// else it starts over. Two tasks on one part file at a time are an error of the second (ErrCannotOpenFile).
func (s *Session) DownloadTask(ctx context.Context, r Request, destination string) (*Task, error) {
	return s.newTask(ctx, task.Download, r, destination)
}

// UploadTask makes a task that sends the request's body, and reports on it by UploadProgress. The response's body is
// held in memory, as a data task's. In the background a body that is no File is handed to the daemon whole, which keeps it
// until the task has ended, before UploadTask returns: a Stream is read to its end. An upload that was cut goes on from what the
// server has, where that can (Request.Resumable); with Request.Multipart it goes in parts.
func (s *Session) UploadTask(ctx context.Context, r Request) (*Task, error) {
	return s.newTask(ctx, task.Upload, r, "")
}

// DownloadTaskWithResumeData makes a download that goes on from what Task.CancelForResumeData or Task.ResumeData
// returned, to the same destination. Where the part file is gone, or is not as the data says, the task fails with
// ErrResumeDataUnusable, in place of starting over. Header, Conflict, Digests and DigestFile are those of the first
// request; all else of it is at its default.
func (s *Session) DownloadTaskWithResumeData(ctx context.Context, data []byte) (*Task, error) {
	const op = "create download task"
	d, err := task.ParseResumeData(data)
	if err != nil {
		return nil, publicError(op, err)
	}
	if d.Upload != nil {
		return nil, &Error{Op: op, Code: ErrResumeDataUnusable, Err: errors.New("they are of an upload; give them to Session.UploadTaskWithResumeData")}
	}
	r := Get(d.URL)
	r.Header = d.Header
	spec, _, err := s.newSpec(task.Download, r)
	if err != nil {
		return nil, err
	}
	spec.Download = &task.DownloadSpec{Destination: d.Destination, Path: d.Path, Folder: d.Folder, Conflict: d.Conflict,
		Digests: d.Digests, DigestFile: d.DigestFile, Resume: d}
	id, err := s.svc.Create(ctx, spec, nil)
	if err != nil {
		return nil, publicError(op, err)
	}
	return s.handles.handle(s, id), nil
}

// UploadTaskWithResumeData makes an upload that goes on from what Task.CancelForResumeData or Task.ResumeData returned, also in
// another process: the server is asked how much it has, and gets the rest. Where the file is gone, or is not the one that
// was sent, it is ErrResumeDataUnusable; one that changes later fails the task with ErrSourceChanged. A server that has
// forgotten the upload gets it anew, once, where that can be: see docs/uploads.md. Method, Header, Digests, Resumable, Multipart,
// RetryUnsafe and FailOnHTTPError are those of the first request; all else of it is at its default.
func (s *Session) UploadTaskWithResumeData(ctx context.Context, data []byte) (*Task, error) {
	const op = "create upload task"
	d, err := task.ParseResumeData(data)
	if err != nil {
		return nil, publicError(op, err)
	}
	unusable := func(file string, err error) (*Task, error) {
		return nil, &Error{Op: op, URL: file, Code: ErrResumeDataUnusable, Err: err}
	}
	if d.Upload == nil {
		return unusable("", errors.New("they are of a download; give them to Session.DownloadTaskWithResumeData"))
	}
	file := d.Upload.Path
	_, info, err := statSource(op, file)
	switch {
	case errors.Is(err, ErrFileDoesNotExist):
		return unusable(file, errors.New("the file is gone; put it back, or upload another anew"))
	case err != nil:
		return nil, err
	}
	if what := d.Upload.Source.Changed(sourceOf(info)); what != "" {
		return unusable(file, fmt.Errorf("%s since the upload began; upload it anew", what))
	}
	spec, _, err := s.newSpec(task.Upload, Request{Method: d.Upload.Method, URL: d.URL, Header: d.Header, Body: File(file)})
	if err != nil {
		return nil, err
	}
	d.Header = spec.Request.Header
	d.SetUpload(&spec)
	id, err := s.svc.Create(ctx, spec, nil)
	if err != nil {
		return nil, publicError(op, err)
	}
	return s.handles.handle(s, id), nil
}

func (s *Session) newTask(ctx context.Context, kind task.Kind, r Request, destination string) (*Task, error) {
	id, err := s.create(ctx, kind, r, destination)
	if err != nil {
		return nil, err
	}
	return s.handles.handle(s, id), nil
}

func (s *Session) create(ctx context.Context, kind task.Kind, r Request, destination string) (task.ID, error) {
	spec, body, err := s.specOf(kind, &r, destination)
	if err != nil {
		return 0, err
	}
	id, err := s.svc.Create(ctx, spec, body)
	if err != nil {
		return 0, publicError(createOp(kind), err)
	}
	return id, nil
}

func (s *Session) specOf(kind task.Kind, r *Request, destination string) (task.Spec, io.Reader, error) {
	if kind == task.Download {
		return s.downloadSpec(*r, destination)
	}
	return s.newSpec(kind, *r)
}

// Data runs a data task to its end, and returns the body of its response, decoded, and its head. The slice is the
// caller's. Where the task fails the body is nil, and the response what came of it, mostly nil. The end of ctx cancels
// the task, also one in the background: the error is then ErrCancelled or, at its deadline, ErrTimedOut, and its cause is
// ctx's. Where the daemon is lost meanwhile it is ErrDaemonLost, and the task goes on.
func (s *Session) Data(ctx context.Context, r Request) ([]byte, *Response, error) {
	return s.runForBody(ctx, task.Data, &r)
}

// Upload runs an upload task to its end, and returns as Data does.
func (s *Session) Upload(ctx context.Context, r Request) ([]byte, *Response, error) {
	return s.runForBody(ctx, task.Upload, &r)
}

// Download runs a download task to its end, and returns the head of its response, whose Path is the file; see
// DownloadTask. The end of ctx cancels the task as Data says, and keeps the part file: the same call again goes on.
func (s *Session) Download(ctx context.Context, r Request, destination string) (*Response, error) {
	rec, _, err := s.run(ctx, task.Download, &r, destination)
	if err != nil {
		return nil, err
	}
	defer s.handles.Unpin(rec.ID)
	return responseOf(rec), s.outcome(ctx, rec)
}

func (s *Session) runForBody(ctx context.Context, kind task.Kind, r *Request) ([]byte, *Response, error) {
	rec, body, err := s.run(ctx, kind, r, "")
	if err != nil {
		return nil, nil, err
	}
	defer s.handles.Unpin(rec.ID)
	resp := responseOf(rec)
	if err := s.outcome(ctx, rec); err != nil {
		return nil, resp, err
	}
	if body == nil {
		body, err = s.body(context.WithoutCancel(ctx), rec)
	}
	return body, resp, err
}

// run makes a task and waits until it has ended, however; ctx cancels it. Without an error the task is pinned. The body is
// nil where it is the service's to hand over.
func (s *Session) run(ctx context.Context, kind task.Kind, r *Request, destination string) (rec *task.Record, held []byte, err error) {
	op, why := string(kind), ""
	switch {
	case r.Suspended:
		why = "Request.Suspended is set, and nobody could resume the task; make it by " + taskMethod[kind]
	case r.Stream:
		why = "Request.Stream is set, and nobody would take its data; make it by " + taskMethod[kind]
	}
	if why != "" {
		return rec, nil, &Error{Op: op, URL: redact(r.URL), Code: ErrUnknown, Err: errors.New(why)}
	}
	if ctx.Err() != nil {
		return rec, nil, contextError(ctx, op, redact(r.URL))
	}
	spec, body, err := s.specOf(kind, r, destination)
	if err != nil {
		return rec, nil, err
	}
	if runner, ok := s.svc.(control.Runner); ok && body == nil {
		if rec, held, err = runner.Run(ctx, spec, &s.handles); err != nil {
			err = publicError(createOp(kind), err)
		}
		return rec, held, err
	}
	id, err := s.svc.Create(ctx, spec, body)
	if err != nil {
		return rec, nil, publicError(createOp(kind), err)
	}
	s.handles.Pin(id)
	ended, err := s.wait(ctx, id)
	if err != nil && ctx.Err() != nil {
		// The task is cancelled, and then waited for: its part file is then as it will be, and free. A daemon that cannot be
		// asked to is not waited for.
		whole := context.WithoutCancel(ctx)
		if err = publicError(op, s.svc.Cancel(whole, id)); err == nil {
			ended, err = s.wait(whole, id)
		}
	}
	if err != nil {
		s.handles.Unpin(id)
	}
	return &ended, nil, err
}

var taskMethod = map[task.Kind]string{task.Data: "DataTask", task.Download: "DownloadTask", task.Upload: "UploadTask"}

// outcome is the error of a task that run has run; a cancellation that ctx caused says so.
func (s *Session) outcome(ctx context.Context, rec *task.Record) error {
	if rec.Failure == nil {
		return nil
	}
	if rec.Failure.Code == task.Cancelled && ctx.Err() != nil {
		return contextError(ctx, string(rec.Spec.Kind), task.Redact(rec.CurrentURL()))
	}
	return publicError("", rec.Failure.Err())
}

// Task is the handle of a task by its number. One that is not, or no longer, known is ErrResourceUnavailable.
func (s *Session) Task(ctx context.Context, id TaskID) (*Task, error) {
	if _, err := s.svc.Task(ctx, task.ID(id)); err != nil {
		return nil, publicError(fmt.Sprintf("look up task %d", id), err)
	}
	return s.handles.handle(s, task.ID(id)), nil
}

// Tasks yields the tasks that have not ended, suspended ones too, and those ended ones that are still kept, in the order
// of their numbers. An error ends it.
func (s *Session) Tasks(ctx context.Context) iter.Seq2[*Task, error] {
	return func(yield func(*Task, error) bool) {
		for rec, err := range s.svc.Tasks(ctx) {
			if err != nil {
				yield(nil, publicError("list tasks", err))
				return
			}
			if !yield(s.handles.handle(s, rec.ID), nil) {
				return
			}
		}
	}
}

// Events yields the events of all tasks of the session and its own, as their owner: to ask for the next acknowledges the
// last, and acknowledged events need not be kept. It begins after the last one that was acknowledged, so that an event at
// whose turn the loop was left comes again; then comes EventsCompleted, then what happens, with live events. It ends
// after Invalidated, or with an error. There is one owner at a time, of a background session over all processes: for a
// second one it fails with ErrSessionInUse. When ctx ends it fails with ErrCancelled or ErrTimedOut.
//
// The loop over a background session goes on over a restart of the daemon, with each event once. An app that is killed
// gets again, at its next start, what it had not acknowledged, and may get again the last that it had.
func (s *Session) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		const op = "listen to session"
		for ev, err := range s.svc.Events(ctx, task.EventQuery{Own: true}) {
			if err != nil {
				yield(nil, publicError(op, err))
				return
			}
			if e := publicEvent(ev); e != nil && !yield(e, nil) {
				return
			}
			if ev.Sequence == 0 {
				continue
			}
			// The app has dealt with it, also where ctx ended meanwhile.
			if err := s.svc.Acknowledge(context.WithoutCancel(ctx), ev.Sequence); err != nil {
				yield(nil, publicError(op, err))
				return
			}
		}
	}
}

// FinishTasksAndInvalidate closes the session to new tasks, and returns at once. Its tasks go on to their end; then comes
// Invalidated, the session's last event. A suspended task keeps it from ending. What makes a task fails with
// ErrSessionInvalidated from then on. It may be called again. In process it cannot fail; the daemon of a background session
// may be lost (ErrDaemonLost). There it closes the identifier, for all processes: New opens it anew once the tasks have
// ended and the events, Invalidated too, are acknowledged.
func (s *Session) FinishTasksAndInvalidate(ctx context.Context) error {
	return s.invalidate(ctx, "finish session", s.svc.Finish)
}

// InvalidateAndCancel does as FinishTasksAndInvalidate, and cancels the tasks.
func (s *Session) InvalidateAndCancel(ctx context.Context) error {
	return s.invalidate(ctx, "invalidate session", s.svc.Invalidate)
}

func (s *Session) invalidate(ctx context.Context, op string, do func(context.Context) error) error {
	if s.shared {
		return nil
	}
	if err := do(ctx); err != nil {
		return publicError(op, err)
	}
	s.invalidated.Store(true)
	return nil
}

// Close ends the use of the session. In process that invalidates it, cancels its tasks, and waits until they have ended, as
// have calls of OnRedirect, OnResponse and OnChallenge. A background session is left as it is: its tasks go on in the daemon, and New
// of its identifier finds them again; calls and loops under way here fail with ErrSessionInvalidated, as do later ones.
//
// Then the cookies, credentials and cache of a session in process are made durable, which takes 10 s at most, and an error of
// that is Close's; and the connections are closed. No goroutine of the session is left, but for RoundTripper's requests that are still
// under way, and loops over events of a session in process that their caller has not left. Close may be called again,
// from any goroutine but those functions'. What is known of the tasks of a session in process can still be asked for.
func (s *Session) Close() error {
	if s.shared {
		return nil
	}
	s.closing.Do(func() {
		s.invalidated.Store(true)
		s.closeErr = publicError("close session", s.shutDown())
		s.handshakes.close()
		s.chain.Close()
	})
	return s.closeErr
}

// CookieStorage is where the session keeps its cookies, to be listed and edited; nil: it keeps none, or in a storage of another
// type. Of a background session it is the file that the daemon keeps: what is changed there the daemon sees within a second,
// and when Flush returns at once.
func (s *Session) CookieStorage() *CookieStorage {
	storage, _ := s.config.CookieStorage.(*CookieStorage)
	return storage
}

// Flush makes durable what the session remembers, its cookies, credentials and cache, here or in the daemon, and drops idle
// connections. When it returns nil, what was received before the call outlives the process, kill -9 and the loss of power;
// see Configuration.CookieStorage and CredentialStorage for what is kept. Running tasks are not disturbed.
func (s *Session) Flush(ctx context.Context) error {
	const op = "flush session"
	if s.config.kind == kindBackground { // what this process has changed first: the daemon then reads it
		if err := flushCookies(ctx, s.config.CookieStorage); err != nil {
			return publicError(op, err)
		}
	}
	return publicError(op, s.svc.Flush(ctx))
}

// Reset removes the cookies, the credentials and what the cache keeps, with their files, and what was learnt of servers that ask
// who is there, then flushes; see Configuration.CookieStorage, CredentialStorage and URLCache. It returns when that is done. Those
// of a default session are gone for all sessions of its application, in other processes within a second. Running tasks are not
// disturbed.
func (s *Session) Reset(ctx context.Context) error {
	const op = "reset session"
	err := s.svc.Reset(ctx)
	s.chain.Forget()
	if err == nil && s.config.kind == kindBackground { // what this process knows of them
		err = resetCookies(ctx, s.config.CookieStorage)
		if s.credentials != nil {
			err = errors.Join(err, s.credentials.Reset(ctx))
		}
	}
	return publicError(op, err)
}
