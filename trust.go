package urlsession

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// handshakes asks OnChallenge what the making of a secure connection has to ask, of a session in process. Nil asks nothing.
type handshakes struct {
	fn  ChallengeFunc
	ctx context.Context // ends with the session
	end context.CancelFunc

	mu    sync.Mutex
	ended bool           // no call begins any more
	calls sync.WaitGroup // grows under mu
}

func newHandshakes(c *Configuration) *handshakes {
	if c.OnChallenge == nil || c.kind == kindBackground {
		return nil
	}
	h := &handshakes{fn: c.OnChallenge}
	h.ctx, h.end = context.WithCancel(context.Background())
	return h
}

var errEnded = &task.Error{Code: task.SessionInvalidated}

// close ends the calls under way, and returns when they have returned. What is asked later is refused.
func (h *handshakes) close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	h.end()
	h.calls.Wait()
}

// ask calls the function, with a context that ends with ctx, and with the session. Its error is for whom the connection was.
func (h *handshakes) ask(ctx context.Context, c Challenge) (ChallengeAnswer, error) {
	h.mu.Lock()
	if h.ended {
		h.mu.Unlock()
		return ChallengeAnswer{}, errEnded
	}
	h.calls.Add(1)
	h.mu.Unlock()
	defer h.calls.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.ctx, func() { cancel(errEnded) })()
	answer := h.fn(ctx, nil, c)
	switch {
	case ctx.Err() != nil: // what it says then, it may not have decided
		return answer, context.Cause(ctx)
	case answer.Disposition == CancelChallenge:
		return answer, &task.Error{Code: task.UserCancelledAuth, Err: fmt.Errorf("OnChallenge cancelled, asked by %s for %s", c.Space.address(), c.Space.Method)}
	}
	return answer, nil
}

// trust is transport.TLS.Trust.
func (h *handshakes) trust(ctx context.Context, peer credential.Space, chain []*x509.Certificate, found error) error {
	c := Challenge{Space: peerSpace(peer, AuthServerTrust), Chain: slices.Clone(chain)}
	if found != nil {
		c.Err = publicError("", transport.Classify("trust", "https://"+c.Space.address(), found))
	}
	answer, err := h.ask(ctx, c)
	if err != nil {
		return err
	}
	switch answer.Disposition {
	case UseCredential:
		return nil
	case RejectProtectionSpace:
		why := fmt.Sprintf("OnChallenge does not trust %s", c.Space.address())
		if found != nil {
			return &task.Error{Code: task.CertificateUntrusted, Err: fmt.Errorf("%s: %w", why, found)}
		}
		return &task.Error{Code: task.CertificateUntrusted, Err: errors.New(why)}
	}
	return found
}

// choose is transport.TLS.Choose.
func (h *handshakes) choose(ctx context.Context, peer credential.Space, asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c := Challenge{Space: peerSpace(peer, AuthClientCertificate), Certificate: asked}
	answer, err := h.ask(ctx, c)
	if err != nil {
		return nil, err
	}
	switch answer.Disposition {
	case UseCredential:
		if answer.Credential.Certificate != nil {
			return answer.Credential.Certificate, nil
		}
		return nil, &task.Error{Code: task.ClientCertRequired, Err: fmt.Errorf(
			"OnChallenge has answered %s, which asks for a client certificate, by a credential without one; set Credential.Certificate", c.Space.address())}
	case RejectProtectionSpace:
		return new(tls.Certificate), nil // none
	}
	return nil, nil
}

// peerSpace is a peer's as it is asked about.
func peerSpace(s credential.Space, m AuthMethod) ProtectionSpace {
	p := publicSpace(s)
	p.Method = m
	return p
}

func (s ProtectionSpace) address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// ask is the transport.Asker of RoundTripper's requests, which no task stands for.
func (s *Session) ask(ctx context.Context, c credential.Challenge) (credential.Answer, error) {
	asked := Challenge{Space: publicSpace(c.Space), PreviousFailures: c.Failures, Err: publicError("", c.Err)}
	if c.Proposed != nil {
		asked.ProposedUser = c.Proposed.User
	}
	answer := s.config.OnChallenge(ctx, nil, asked)
	return credential.Answer{Disposition: untasked[answer.Disposition], Credential: credentialOf(answer.Credential)}, nil
}

// untasked are the dispositions of a challenge that no task has; the others are the default.
var untasked = map[ChallengeDisposition]credential.Disposition{
	UseCredential: credential.Use, CancelChallenge: credential.Cancel, RejectProtectionSpace: credential.Reject,
}
