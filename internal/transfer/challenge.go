package transfer

import (
	"context"
	"errors"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// authenticating has the requests of ctx ask the Observer, and gives them the answers that are there already.
func (r *run) authenticating(ctx context.Context) context.Context {
	if r.Spec.Policy.Ask.Challenge {
		ctx = transport.WithAsker(ctx, r.challenge)
	}
	for _, a := range r.Answered {
		ctx = transport.WithAnswer(ctx, challengeOf(a.Challenge), answerOf(a.Answer))
	}
	return ctx
}

func (r *run) challenge(ctx context.Context, c credential.Challenge) (credential.Answer, error) {
	r.idle.hold()
	defer r.idle.release()
	asked := task.Challenge{Space: task.ProtectionSpace{
		Proxy: c.Space.Proxy, Scheme: c.Space.Scheme, Host: c.Space.Host, Port: c.Space.Port,
		Realm: c.Space.Realm, Method: string(c.Space.Method),
	}, Failures: c.Failures}
	if c.Proposed != nil {
		asked.User = c.Proposed.User
	}
	if c.Err != nil {
		asked.Message = c.Err.Error()
	}
	answer, err := r.Observer.Challenge(ctx, asked)
	if err != nil {
		r.observed = err
		return credential.Answer{}, err
	}
	return answerOf(answer), nil
}

// challengeOf is what c was made from.
func challengeOf(c task.Challenge) credential.Challenge {
	out := credential.Challenge{Space: credential.Space{
		Proxy: c.Space.Proxy, Scheme: c.Space.Scheme, Host: c.Space.Host, Port: c.Space.Port,
		Realm: c.Space.Realm, Method: credential.Method(c.Space.Method),
	}, Failures: c.Failures}
	if c.User != "" {
		out.Proposed = &credential.Credential{User: c.User}
	}
	if c.Message != "" {
		out.Err = errors.New(c.Message)
	}
	return out
}

func answerOf(a task.Answer) credential.Answer {
	var out credential.Answer
	switch a.Disposition {
	case task.UseCredential:
		out.Disposition = credential.Use
	case task.CancelTask:
		out.Disposition = credential.Cancel
	case task.RejectSpace:
		out.Disposition = credential.Reject
	}
	if c := a.Credential; c != nil {
		out.Credential = credential.Credential{
			User: c.User, Password: credential.NewSecret(c.Password), Token: credential.NewSecret(c.Token),
		}
		_ = out.Credential.Persistence.UnmarshalText([]byte(c.Persistence)) // what is none of them is for the one request
	}
	return out
}
