package transport

import (
	"context"
	"net/http/httptrace"
	"slices"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/httpcache"
)

// Asker is asked for the credential of a request, where nothing that is known is taken. It may take its time. Its error ends
// the request, and is returned as it is.
type Asker func(context.Context, credential.Challenge) (credential.Answer, error)

type askerKey struct{}

type answeredKey struct{}

type answered struct {
	challenge credential.Challenge
	answer    credential.Answer
}

// WithAsker has the requests of ctx ask fn. Without, the refusal of a server is its response.
func WithAsker(ctx context.Context, fn Asker) context.Context {
	return context.WithValue(ctx, askerKey{}, fn)
}

// WithAnswer gives the requests of ctx the answer to a challenge that an earlier one had, beside those that they have: see
// credential.Exchange.Answered.
func WithAnswer(ctx context.Context, c credential.Challenge, a credential.Answer) context.Context {
	before, _ := ctx.Value(answeredKey{}).([]answered)
	return context.WithValue(ctx, answeredKey{}, append(slices.Clip(before), answered{c, a}))
}

func askerOf(ctx context.Context) Asker {
	fn, _ := ctx.Value(askerKey{}).(Asker)
	return fn
}

// outside is a request's context for whoever is asked on its behalf, and may send requests by it: it ends with the request, and
// has nothing of how that one is sent, cached, traced and answered.
type outside struct{ context.Context }

func (c outside) Value(key any) any {
	if _, ok := key.(httpcache.ContextKey); ok {
		return nil
	}
	switch v := c.Context.Value(key).(type) {
	case *httptrace.ClientTrace, *Metrics, *lease, *tunnel, Asker, []answered:
		return nil
	default:
		return v
	}
}
