package daemon

import (
	"context"
	"fmt"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/seal"
	"github.com/urlsession/urlsession/internal/task"
)

// credentials is the storage of a session. Its file is looked at when a server first wants to know who asks, and made with
// the first credential that is to last; one key of the state folder seals all. No keyring holds it: nobody may be there to
// unlock one.
func (ss *sessions) credentials(id string) *credential.Storage {
	file, key := control.SessionCredentials(ss.state, id)
	return credential.Later(file, credential.Options{
		Holders: []seal.Holder{seal.InFile(key)},
		Warn:    func(err error) { ss.log.Warn("credentials of a session", "session", id, "error", err) },
	})
}

// newAuthenticator is a chain's; storage is the session's, which a chain without credentials does not use.
func newAuthenticator(c *control.Chain, storage *credential.Storage) (*credential.Authenticator, error) {
	if len(c.Netrc) > control.MaxNetrc {
		return nil, fmt.Errorf("its .netrc has %d bytes; at most %d are taken", len(c.Netrc), control.MaxNetrc)
	}
	netrc, err := credential.ParseNetrc(c.Netrc)
	if err != nil {
		return nil, fmt.Errorf("its .netrc is none: %w", err)
	}
	if !c.Credentials {
		storage = nil
	}
	return credential.NewAuthenticator(storage, credential.Policy{Netrc: netrc}), nil
}

// keep stores a credential that a server has taken. That it cannot be written is no failure of the task.
func (s *session) keep(ctx context.Context, taken credential.Stored) error {
	err := s.credentials.Keep(ctx, taken)
	if err != nil {
		s.ss.log.Warn("a credential of a session is in memory alone", "session", s.id, "error", err)
	}
	return err
}

// taken keeps a credential, which tasks that wait for one of its space then try, unless it was there before.
func (s *session) taken(ctx context.Context, c credential.Stored) error {
	before, had := s.credentials.Default(c.Space)
	err := s.keep(ctx, c)
	if had && before.Equal(c.Credential) {
		return err
	}
	space := task.ProtectionSpace{
		Proxy: c.Space.Proxy, Scheme: c.Space.Scheme, Host: c.Space.Host, Port: c.Space.Port, Realm: c.Space.Realm, Method: string(c.Space.Method),
	}
	s.mu.Lock()
	e := s.Engine
	if e == nil { // it is being opened, and runs tasks already
		s.untold = append(s.untold, space)
	}
	s.mu.Unlock()
	if e != nil {
		e.CredentialStored(space)
	}
	return err
}

// begun has the session be e's, which is told of what was taken meanwhile.
func (s *session) begun(e *engine.Engine) {
	s.mu.Lock()
	s.Engine = e
	untold := s.untold
	s.untold = nil
	s.mu.Unlock()
	for _, space := range untold {
		e.CredentialStored(space)
	}
}

// knows is engine.Options.Known.
func (s *session) knows(rec *task.Record) bool {
	c := rec.Waiting.Challenge
	s.mu.Lock()
	chain, ok := s.kept.chain(rec.Spec.Configuration)
	s.mu.Unlock()
	if !ok || !chain.Credentials || c.Failures > 0 {
		return false
	}
	_, ok = s.credentials.Default(credential.Space{
		Proxy: c.Space.Proxy, Scheme: c.Space.Scheme, Host: c.Space.Host, Port: c.Space.Port, Realm: c.Space.Realm, Method: credential.Method(c.Space.Method),
	})
	return ok
}
