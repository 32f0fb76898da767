package test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"testing"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// storing is an origin that sets a cookie, lets its answer be cached and asks for a login, and homes for what sessions keep
// of that.
type storing struct {
	srv  *urlsessiontest.Server
	home string
}

func newStoring(t *testing.T, home string) *storing {
	t.Helper()
	w := &storing{urlsessiontest.NewServer(), home}
	t.Cleanup(w.srv.Close)
	for _, path := range []string{"/cached", "/cookie", "/private/login"} {
		w.srv.Publish(path, urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello"), ETag: `"v1"`})
	}
	w.srv.Always("/cached", urlsessiontest.All(urlsessiontest.SetCookie("k=v; Max-Age=3600"), urlsessiontest.SetHeader("Cache-Control", "max-age=3600")))
	w.srv.Always("/cookie", urlsessiontest.SetHeader("Cache-Control", "no-store"))
	w.srv.Always("/private/login", urlsessiontest.All(urlsessiontest.SetHeader("Cache-Control", "no-store"),
		urlsessiontest.When(urlsessiontest.Without("Authorization"), urlsessiontest.Unauthorized(`Basic realm="r"`))))
	return w
}

// memory is what a session was seen to remember.
type memory struct{ cookie, credential, response bool }

// remembered has requests made for the three paths, and sees by them what is remembered.
func (w *storing) remembered(t *testing.T, get func(url string) error) (m memory) {
	t.Helper()
	last := func(path string) *urlsessiontest.Request { // nil: the server was not asked
		t.Helper()
		before := w.srv.Count(path)
		if err := get(w.srv.URL + path); err != nil {
			t.Fatal(err)
		}
		if all := w.srv.RequestsTo(path); len(all) > before {
			return &all[len(all)-1]
		}
		return nil
	}
	m.cookie = last("/cookie").Header.Get("Cookie") != ""
	before := answers.Load()
	m.credential = last("/private/login").Header.Get("Authorization") != "" && answers.Load() == before
	m.response = last("/cached") == nil
	return m
}

// kept are the files below the home but keys, and but the daemon's own.
func (w *storing) kept(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(w.home, func(path string, e fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(w.home, path); err == nil && !e.IsDir() && !notKept.MatchString(rel) {
			paths = append(paths, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

var notKept = regexp.MustCompile(`[./]key$|^state/(daemon\.(lock|log|sock)|urlsession\.db(-wal|-shm)?|sessions/\w+/bodies/\d+)$`)

// through is a session's way to ask: by a task.
func through(t *testing.T, s *urlsession.Session) func(url string) error {
	return func(url string) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, _, err := s.Data(ctx, urlsession.Get(url))
		return err
	}
}

// sessionOf is a session of that kind, which answers challenges by a credential to be kept.
func sessionOf(t *testing.T, kind, state string) *urlsession.Session {
	t.Helper()
	var c urlsession.Configuration
	switch kind {
	case "shared":
		return urlsession.Shared()
	case "default":
		c = urlsession.Default()
		c.Application = "storages"
	case "ephemeral":
		c = urlsession.Ephemeral()
	case "background":
		c = urlsession.Background("storages")
		c.Daemon = urlsession.Daemon{State: state, Command: []string{binary, "daemon", "start"}}
	}
	c.OnChallenge = answer
	s, err := urlsession.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// answers counts those of answer: what it is asked for was not remembered.
var answers atomic.Int64

func answer(_ context.Context, _ *urlsession.Task, c urlsession.Challenge) urlsession.ChallengeAnswer {
	answers.Add(1)
	if c.PreviousFailures > 0 {
		return urlsession.ChallengeAnswer{}
	}
	return urlsession.ChallengeAnswer{
		Disposition: urlsession.UseCredential,
		Credential:  urlsession.Credential{User: "me", Password: "secret", Persistence: urlsession.PersistencePermanent},
	}
}

// TestFlushAndReset of each kind of session, seen from another process and on the disk: after Flush the next process
// remembers what this one does, of an ephemeral session nothing; after Reset nobody remembers anything, and no file is left but
// keys.
func TestFlushAndReset(t *testing.T) {
	for _, kind := range []string{"default", "shared", "ephemeral", "background"} {
		t.Run(kind, func(t *testing.T) {
			home := sharedHome
			if kind != "shared" { // whose home is that of the process's start
				home = t.TempDir()
				setHome(t.Setenv, home)
			}
			w, state := newStoring(t, home), filepath.Join(home, "state")
			t.Cleanup(func() { endDaemons(home) })
			s := sessionOf(t, kind, state)
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()

			w.remembered(t, through(t, s))
			knows := w.remembered(t, through(t, s))
			if !knows.cookie {
				t.Errorf("it remembers %+v", knows)
			}
			if err := s.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			kept, next := w.kept(t), knows
			t.Logf("it remembers %+v, in %v", knows, kept)
			if kind == "ephemeral" {
				next = memory{}
			}
			if len(kept) > 0 != (next != memory{}) {
				t.Errorf("after Flush there are %v", kept)
			}
			if kind == "background" {
				if err := endDaemon(state, daemonPID(state)); err != nil {
					t.Fatal(err)
				}
				if got := w.remembered(t, through(t, s)); got != next {
					t.Errorf("the next daemon remembers %+v, want %+v", got, next)
				}
			} else if got := w.remembered(t, w.inProcess(t, kind)); got != next {
				t.Errorf("the next process remembers %+v, want %+v", got, next)
			}

			if err := s.Reset(ctx); err != nil {
				t.Fatal(err)
			}
			if kept := w.kept(t); len(kept) > 0 {
				t.Errorf("after Reset there are %v", kept)
			}
			if got := w.remembered(t, through(t, s)); got != (memory{}) {
				t.Errorf("after Reset it remembers %+v", got)
			}
		})
	}
}

// setHome has what is kept for good, and what is cached, be below a folder.
func setHome(set func(name, value string), home string) {
	set("XDG_DATA_HOME", filepath.Join(home, "data"))
	set("XDG_CACHE_HOME", filepath.Join(home, "cache"))
}

// inProcess asks by a session of that kind in a process of its own, which answers no challenge.
func (w *storing) inProcess(t *testing.T, kind string) func(url string) error {
	return func(url string) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return exec.CommandContext(ctx, os.Args[0], "ask", kind, url).Run()
	}
}

// askProcess is that process, of the arguments "ask", kind and URL.
func askProcess(args []string) error {
	c := urlsession.Ephemeral()
	if args[2] != "ephemeral" {
		c = urlsession.Default()
	}
	if args[2] == "default" {
		c.Application = "storages"
	}
	s, err := urlsession.New(c)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _, err = s.Data(ctx, urlsession.Get(args[3]))
	return err
}
