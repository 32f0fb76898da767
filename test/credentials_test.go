package test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// TestCredentialsOfABackgroundSession are set by an app and sent by the daemon, over the end of either, until Reset.
func TestCredentialsOfABackgroundSession(t *testing.T) {
	srv := urlsessiontest.NewServer()
	defer srv.Close()
	srv.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Bytes("hello")})
	srv.Always("/f", urlsessiontest.When(urlsessiontest.Without("Authorization"), urlsessiontest.Unauthorized(`Basic realm="r"`)))
	c := urlsession.Background("s")
	c.Daemon = urlsession.Daemon{State: filepath.Join(t.TempDir(), "state"), Command: []string{binary, "daemon", "start"}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stop := func() {
		if err := c.Daemon.Stop(context.Background()); err != nil && !errors.Is(err, urlsession.ErrDaemonLost) {
			t.Error(err)
		}
	}
	defer stop()
	open := func() *urlsession.Session {
		t.Helper()
		s, err := urlsession.New(c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	asks := func(s *urlsession.Session, status int) {
		t.Helper()
		if _, resp, err := s.Data(ctx, urlsession.Get(srv.URL+"/f")); err != nil || resp.StatusCode != status {
			t.Fatalf("%v, %v", resp, err)
		}
	}
	space, err := urlsession.SpaceOf(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := open()
	asks(s, http.StatusUnauthorized)
	me := urlsession.Credential{User: "me", Password: secret, Persistence: urlsession.PersistencePermanent}
	fleeting := urlsession.Credential{User: "fleeting", Password: secret, Persistence: urlsession.PersistenceForSession}
	for _, c := range []urlsession.Credential{me, fleeting} {
		if err := s.CredentialStorage().Set(ctx, space, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(ctx); err != nil { // then the daemon has seen it
		t.Fatal(err)
	}
	asks(s, http.StatusOK)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	stop()

	s = open()
	defer s.Close()
	asks(s, http.StatusOK)
	if all := s.CredentialStorage().All(); len(all) != 1 || all[0].Credential.Password != secret {
		t.Errorf("another session has %v", all)
	}
	if err := s.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	asks(s, http.StatusUnauthorized)
	if all := s.CredentialStorage().All(); len(all) > 0 {
		t.Errorf("after Reset it has %v", all)
	}
	names, err := filepath.Glob(filepath.Join(c.Daemon.State, "sessions", "*", "*credentials*"))
	if err != nil || len(names) > 0 {
		t.Errorf("after Reset there are %v, %v", names, err)
	}
	keys, _ := filepath.Glob(filepath.Join(c.Daemon.State, "*.key"))
	if !strings.Contains(strings.Join(keys, " "), "credentials.key") {
		t.Errorf("the key is gone: %v", keys)
	}
}
