package urlsession

import (
	"context"
	"errors"
	"fmt"

	"github.com/urlsession/urlsession/internal/task"
)

// Answer answers what the task asks by a ticket, from Challenge.Ticket, Wait.Ticket or the event Challenged; an empty one is
// what it asks now. In the background it may come days after, from whatever process, and is kept once Answer has returned nil: an
// attempt follows that tries it. Where no such ticket waits, since it was answered, or the task has ended or asks anew, it is
// ErrResourceUnavailable. AnswerLater is refused, and so are certificates, which answer no challenge that has a ticket.
func (t *Task) Answer(ctx context.Context, ticket string, a ChallengeAnswer) error {
	const op = "answer challenge of task"
	decision, err := a.decision()
	if err != nil {
		return &Error{Op: op, Code: ErrUnknown, Err: err}
	}
	if ticket == "" {
		rec, err := t.s.svc.Task(ctx, t.id)
		if err != nil {
			return publicError(op, err)
		}
		if rec.Waiting == nil || rec.Waiting.Challenge == nil {
			return &Error{Op: op, URL: task.Redact(rec.Spec.Request.URL), Code: ErrResourceUnavailable, Err: errors.New("the task waits for no answer")}
		}
		ticket = rec.Waiting.Ticket
	}
	return publicError(op, t.s.svc.Answer(ctx, t.id, ticket, decision))
}

var dispositions = map[ChallengeDisposition]task.Disposition{
	UseDefaultHandling: task.UseDefault, UseCredential: task.UseCredential, CancelChallenge: task.CancelTask, RejectProtectionSpace: task.RejectSpace,
}

// decision is the answer as it answers a ticket. Its error says why it cannot.
func (a ChallengeAnswer) decision() (task.Decision, error) {
	d, ok := dispositions[a.Disposition]
	if !ok {
		return task.Decision{}, fmt.Errorf("the disposition %d answers nothing; use UseDefaultHandling, UseCredential, CancelChallenge or RejectProtectionSpace", a.Disposition)
	}
	answer := &task.Answer{Disposition: d}
	if d != task.UseCredential {
		return task.Decision{Answer: answer}, nil
	}
	c := a.Credential
	answer.Credential = &task.Credential{User: c.User, Password: c.Password, Token: c.Token, Persistence: credentialOf(c).Persistence.String()}
	var err error
	switch {
	case c.Certificate != nil:
		err = errors.New("a certificate is no answer to it: it is asked for by TLS, not by HTTP (set Configuration.ClientCertificates)")
	case c.User == "" && c.Password == "" && c.Token == "":
		err = errors.New("its credential is empty; give a user and password, or a token")
	case c.Token != "" && c.Password != "":
		err = errors.New("its credential has both a password and a token; give the one that the method takes")
	case c.Persistence < PersistenceNone || c.Persistence > PersistencePermanent:
		err = fmt.Errorf("the persistence %d is none of the constants", c.Persistence)
	}
	return task.Decision{Answer: answer}, err
}

// challengeOf is a challenge as the function is asked.
func challengeOf(c *task.Challenge) Challenge {
	out := Challenge{Space: ProtectionSpace{
		Proxy: c.Space.Proxy, Scheme: c.Space.Scheme, Host: c.Space.Host, Port: c.Space.Port, Realm: c.Space.Realm, Method: AuthMethod(c.Space.Method),
	}, ProposedUser: c.User, PreviousFailures: c.Failures, Ticket: c.Ticket}
	if c.Message != "" {
		out.Err = errors.New(c.Message)
	}
	return out
}
