package power

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/daemon"
	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/test/powerfs"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// childDaemon runs the daemon on dir/state.
func childDaemon(ctx context.Context, dir string) error {
	return daemon.Run(ctx, daemon.Options{State: filepath.Join(dir, "state"), Ready: func() { say("ready") }})
}

// A job is a task whose creation has returned.
type job struct {
	kind, name string // of its URL's path, and of a download's file
	body       urlsessiontest.Body
}

// service is a machine on which a daemon runs, with a client that makes tasks and listens.
type service struct {
	*machine
	origin *urlsessiontest.Server

	mu     sync.Mutex
	last   int                            // of the names that were given
	jobs   map[urlsession.TaskID]job      // those that were told of
	events []string                       // the durable ones that were told of, in order
	whole  map[string]struct{}            // files that downloadcompleted has told of
	bodies map[string]urlsessiontest.Body // by name
}

// never is a number of steps that no life reaches.
const never = 1 << 30

func newService(t *testing.T, journal powerfs.Journal, seed uint64, origin *urlsessiontest.Server) *service {
	s := &service{
		machine: newMachine(t, journal, seed), origin: origin, jobs: make(map[urlsession.TaskID]job),
		whole: make(map[string]struct{}), bodies: make(map[string]urlsessiontest.Body),
	}
	origin.PublishFunc(func(path string) (urlsessiontest.Resource, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		body, ok := s.bodies[path[1:]]
		return urlsessiontest.Resource{Content: body, ETag: strconv.Quote(path)}, ok
	})
	return s
}

// life runs the daemon until the power is cut, at one of so many steps from when a client is there, with client beside it, whose ctx
// ends then.
func (s *service) life(steps int, client func(ctx context.Context, session *urlsession.Session) error) {
	s.t.Helper()
	starting := never
	if s.random.IntN(3) == 0 {
		starting = 60
	}
	s.machine.life(starting, func() {
		ctx, cancel := context.WithTimeout(s.t.Context(), patience)
		defer cancel()
		ready, done := make(chan struct{}), make(chan error, 1)
		go func() {
			select {
			case <-ready:
				done <- s.connect(ctx, steps, client)
			case <-ctx.Done():
				done <- nil
			}
		}()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"=daemon", childEnv+"_DIR="+s.dir)
		var once sync.Once
		status, stderr := s.run(cmd, func(line string) {
			if line == "ready" {
				once.Do(func() { close(ready) })
			}
		})
		cancel()
		err := <-done
		if err != nil {
			s.errorf("client: %v", err)
		}
		if !s.dark() {
			s.errorf("the daemon ended, exit %d: %s", status, stderr)
		}
	})
}

// connect calls client with a session of the daemon, and cuts the power when it returns. Its error counts while there is power.
func (s *service) connect(ctx context.Context, steps int, client func(ctx context.Context, session *urlsession.Session) error) error {
	c := urlsession.Background("power")
	c.Daemon = urlsession.Daemon{State: filepath.Join(s.dir, "state"), Command: []string{"/bin/false"}}
	session, err := urlsession.New(c)
	if err == nil {
		s.aim(steps) // not before: New waits for a daemon that is gone, and has no ctx
		err = client(ctx, session)
		session.Close()
	}
	if s.dark() {
		return nil
	}
	s.disk.Cut() // it has failed, or has nothing more to do
	return err
}

// use makes tasks and listens, until the power is cut and the next creation fails.
func (s *service) use(ctx context.Context, session *urlsession.Session) error {
	listening, failed := context.WithCancel(ctx)
	defer failed()
	heard := make(chan error, 1)
	go func() { heard <- s.listen(listening, session) }()
	for {
		if err := s.make(ctx, session); err != nil {
			failed()
			<-heard
			return err
		}
	}
}

// make makes a task of a random kind.
func (s *service) make(ctx context.Context, session *urlsession.Session) error {
	s.mu.Lock()
	s.last++
	j := job{name: "f" + strconv.Itoa(s.last)}
	j.body = urlsessiontest.Body{Seed: s.seed<<16 | uint64(s.last), Size: s.random.Int64N(100 << 10)}
	kind := s.random.IntN(4)
	if s.random.IntN(6) == 0 {
		s.origin.Script("/"+j.name, urlsessiontest.Truncate(s.random.Int64N(j.body.Size+1)))
	}
	s.bodies[j.name] = j.body
	s.mu.Unlock()

	var task *urlsession.Task
	var err error
	url := s.origin.URL + "/" + j.name
	folder := filepath.Join(s.dir, "folder of "+j.name) // nobody else's fsync makes its names durable
	switch kind {
	case 0:
		j.kind = "upload"
		r := urlsession.Put(url, urlsession.Bytes(j.body.Bytes()))
		r.Suspended = true // until the last life: its body must be kept for so long
		task, err = session.UploadTask(ctx, r)
	case 1:
		j.kind = "data"
		task, err = session.DataTask(ctx, urlsession.Get(url))
	default:
		j.kind = "download"
		if err = os.Mkdir(folder, 0o755); err == nil {
			err = durable.SyncDir(s.dir)
		}
		if err == nil {
			task, err = session.DownloadTask(ctx, urlsession.Get(url), filepath.Join(folder, j.name))
		}
	}
	if err != nil {
		return fmt.Errorf("make %s task: %w", j.kind, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs[task.Identifier()] = j
	return nil
}

// listen takes the events down from the first, and compares them with those that were told of before.
func (s *service) listen(ctx context.Context, session *urlsession.Session) error {
	var at uint64
	for ev, err := range session.Observe(ctx, new(uint64)) {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case ev.Sequence() == 0:
			if _, ok := ev.(urlsession.EventsCompleted); ok {
				s.mu.Lock()
				told := len(s.events)
				s.mu.Unlock()
				if at < uint64(told) {
					return fmt.Errorf("event %d is the last, and %d were told of", at, told)
				}
			}
			continue
		}
		if at++; ev.Sequence() != at {
			return fmt.Errorf("event %d where %d was due", ev.Sequence(), at)
		}
		if err := s.tell(ev); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) tell(ev urlsession.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprint(ev.Task(), " ", ev.Name())
	switch ev := ev.(type) {
	case urlsession.Waiting, urlsession.WillRetry: // newer ones take their place
		line = fmt.Sprint(ev.Task(), " waits")
	case urlsession.DownloadCompleted:
		s.whole[filepath.Base(ev.Path)] = struct{}{}
	case urlsession.Completed:
		if ev.Err != nil {
			return fmt.Errorf("task %d: %w", ev.Task(), ev.Err)
		}
	}
	switch n := ev.Sequence(); {
	case n > uint64(len(s.events)):
		s.events = append(s.events, line)
	case s.events[n-1] != line:
		return fmt.Errorf("event %d is %q, and was %q before", n, line, s.events[n-1])
	}
	return nil
}

// check looks at the files after a cut.
func (s *service) check() {
	s.t.Helper()
	there := make(map[string]bool)
	for _, path := range s.disk.Names() {
		name := filepath.Base(path)
		there[name] = true
		body, ok := s.bodies[name]
		if !ok {
			continue
		}
		data, err := s.disk.ReadFile(path)
		must(s.t, err)
		if string(data) != string(body.Bytes()) {
			s.errorf("%s, of %d bytes, is not whole", name, len(data))
		}
	}
	for name := range s.whole {
		if !there[name] {
			s.errorf("%s was complete and is gone", name)
		}
	}
}

// finish waits until every task that was told of has ended well.
func (s *service) finish(ctx context.Context, session *urlsession.Session) error {
	listening, stop := context.WithCancel(ctx)
	defer stop()
	heard := make(chan error, 1)
	go func() { heard <- s.listen(listening, session) }()
	for id, j := range s.jobs {
		task, err := session.Task(ctx, id)
		if err != nil {
			return fmt.Errorf("the %s task %d is lost: %w", j.kind, id, err)
		}
		if j.kind == "upload" {
			if err := task.Resume(ctx); err != nil {
				return fmt.Errorf("resume upload task %d: %w", id, err)
			}
		}
		resp, err := task.Wait(ctx)
		if err != nil {
			return fmt.Errorf("the %s task %d: %w", j.kind, id, err)
		}
		switch j.kind {
		case "download":
			s.mu.Lock()
			s.whole[j.name] = struct{}{}
			s.mu.Unlock()
		case "data":
			body, err := task.Body(ctx)
			if err != nil || string(body) != string(j.body.Bytes()) {
				return fmt.Errorf("the body of data task %d: %d bytes, %w", id, len(body), err)
			}
		case "upload":
			if !s.uploaded(j) {
				return fmt.Errorf("the body of upload task %d has not arrived whole (%d)", id, resp.StatusCode)
			}
		}
	}
	stop()
	return <-heard
}

// uploaded reports whether the origin has had a body whole.
func (s *service) uploaded(j job) bool {
	for _, r := range s.origin.RequestsTo("/" + j.name) {
		if r.Method == http.MethodPut && r.BodySHA256 == j.body.SHA256() && r.BodySize == j.body.Size {
			return true
		}
	}
	return false
}

// A daemon whose power is cut again and again, from its first start on: every task whose creation returned is there and ends
// well, every event that was told of is there at its place, every file that was told of is whole, and every body that it took
// over arrives.
func TestDaemon(t *testing.T) {
	journals(t, func(t *testing.T, journal powerfs.Journal, cuts int) {
		jobs, events := 0, 0
		for cuts = (cuts + 1) / 2; cuts > 0; cuts -= 5 {
			origin := urlsessiontest.NewServer()
			s := newService(t, journal, *first+uint64(cuts), origin)
			for life := range min(cuts, 5) {
				s.life(60+30*life, s.use)
				s.check()
			}
			begun := time.Now()
			s.life(never, s.finish)
			s.check()
			t.Logf("seed %d: %d tasks ended %v after the last restart", s.seed, len(s.jobs), time.Since(begun).Round(time.Millisecond))
			jobs += len(s.jobs)
			events += len(s.events)
			origin.Close()
		}
		if jobs == 0 {
			t.Error("no task was made: nothing was tested")
		}
		t.Logf("%d tasks, %d events", jobs, events)
	})
}
