package transport

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/task"
)

// errand is a request that is sent until nobody wants to know any more who asks, or nothing new can be shown.
type errand struct {
	t      *Transport
	m      *Metrics
	req    *http.Request
	at     credential.Space // the origin
	origin party
	proxy  *party  // of plain http; nil: there is none
	tunnel *tunnel // of https; nil: there is none
	lease  *lease  // nil: any connection will do

	opened bool            // the body was read for an Exchange: the request's own may have ended with that
	step   credential.Step // what the next sending is for
	asker  *party          // who wants it
}

// party is who may want to know who asks.
type party struct {
	*credential.Exchange
	value  credential.Secret // of its field; zero: it is left out
	user   uint64            // as whom it knows the connection that is leased
	proved bool              // it was shown something that proves who that connection is
}

// authenticate sends req, and sends it again as long as a server or a proxy wants to know who asks and there is something
// new to show it. The body is opened anew each time. The error of an Asker is returned as it is.
func (t *Transport) authenticate(req *http.Request, m *Metrics) (*http.Response, error) {
	if t.unknown(req) {
		resp, err := t.send(req, m, false)
		if err == nil && resp.StatusCode != http.StatusUnauthorized {
			resp.Request = req
			return resp, nil
		}
		e := newErrand(t, m, req)
		e.meet()
		return e.follow(req, resp, err)
	}
	e := newErrand(t, m, req)
	if err := e.begin(); err != nil {
		closeBody(req)
		return nil, err
	}
	return e.follow(e.send())
}

// unknown reports whether req has nothing to show that is not in its header: nobody has asked the session yet, no answer came
// from an earlier attempt, and no proxy of HTTP is on the way. Then it is no errand before it is refused.
func (t *Transport) unknown(req *http.Request) bool {
	return req.URL.User == nil && t.opts.Authenticator.Blank() && !isHTTP(t.proxyFor(req.URL)) && req.Context().Value(answeredKey{}) == nil
}

func newErrand(t *Transport, m *Metrics, req *http.Request) *errand {
	return &errand{t: t, m: m, req: req, at: credential.Origin(req.URL)}
}

// send sends the request as it is next. Without a request nothing could be sent.
func (e *errand) send() (*http.Request, *http.Response, error) {
	out, own, err := e.outgoing()
	if err != nil {
		return nil, nil, err
	}
	resp, err := e.t.send(out, e.m, own)
	return out, resp, err
}

// follow goes on from what send has brought until the request has its answer.
func (e *errand) follow(out *http.Request, resp *http.Response, err error) (*http.Response, error) {
	for out != nil {
		if err == nil {
			resp.Request = e.req
			err = e.judge(resp)
		} else {
			err = e.mend(err)
		}
		if err == nil && e.step.Action == credential.Send {
			if resp != nil {
				stopSending(out)
				drain(resp, refusalLimit)
			}
			if e.step.HTTP1 && e.lease == nil {
				err = e.takeLease()
			}
			if err == nil {
				out, resp, err = e.send()
				continue
			}
		}
		if err != nil {
			if resp != nil {
				resp.Body.Close()
			}
			break
		}
		e.deliver(resp)
		return resp, nil
	}
	e.giveBack(users{})
	return nil, err
}

// prepare tells an Exchange what the context of its request has.
func prepare(ctx context.Context, x *credential.Exchange) {
	x.Asks = askerOf(ctx) != nil
	all, _ := ctx.Value(answeredKey{}).([]answered)
	for _, a := range all {
		x.Answered(a.challenge, a.answer)
	}
}

// begin finds what the request is to have before it is sent for the first time.
func (e *errand) begin() error {
	e.meet()
	for p := range e.parties {
		p.value = p.Authorize()
	}
	if e.users() == (users{}) {
		return nil
	}
	return e.takeLease()
}

// meet finds out who may want to know who asks.
func (e *errand) meet() {
	a := e.t.opts.Authenticator
	e.origin.Exchange = a.Begin(e.noting())
	if p := e.t.proxyFor(e.req.URL); isHTTP(p) {
		if e.req.URL.Scheme == "https" {
			e.tunnel = newTunnel(p, e.req)
		} else {
			e.proxy = &party{Exchange: a.BeginProxy(p, e.noting())}
		}
	}
	for p := range e.parties {
		prepare(e.req.Context(), p.Exchange)
	}
}

// noting is the request as an Exchange gets it, which opens the body where a proof is also of that (Digest's auth-int).
func (e *errand) noting() *http.Request {
	open := e.req.GetBody
	if open == nil {
		return e.req
	}
	out := e.req.WithContext(e.req.Context())
	out.GetBody = func() (io.ReadCloser, error) {
		e.opened = true
		return open()
	}
	return out
}

// users are as whom a connection of this request may be known.
func (e *errand) users() users {
	u := users{origin: e.origin.User()}
	if e.proxy != nil {
		u.proxy = e.proxy.User()
	}
	return u
}

// parties are those that a request comes by, the first one first.
func (e *errand) parties(yield func(*party) bool) {
	if e.proxy == nil || yield(e.proxy) {
		yield(&e.origin)
	}
}

// outgoing is the request as it is sent next, and whether its header is its own.
func (e *errand) outgoing() (out *http.Request, own bool, err error) {
	ctx := e.req.Context()
	if e.tunnel != nil {
		ctx = withTunnel(ctx, e.tunnel)
	}
	if e.lease != nil {
		e.lease.held.Store(e.step.SameConnection)
		ctx = withLease(httpcache.WithoutCache(ctx), e.lease) // its response is for whom the connection is, which no field says
	}
	out = e.req
	if ctx != out.Context() {
		out = out.WithContext(ctx)
	}
	for p := range e.parties {
		if !p.value.IsZero() {
			if !own {
				out, own = withHeader(out), true
			}
			out.Header.Set(p.Field(), p.value.Reveal())
		}
	}
	switch {
	case e.step.Action != credential.Send: // it is sent for the first time
		if !e.opened {
			return out, own, nil
		}
		closeBody(out)
	case e.step.NoBody:
		return withoutBody(out), true, nil
	}
	out, err = reopen(out)
	return out, own, err
}

// judge finds what follows from resp, as all parties have it.
func (e *errand) judge(resp *http.Response) error {
	e.asker = nil
	for p := range e.parties {
		step, err := e.resolve(p.Exchange, p.Next(resp), resp)
		if err != nil {
			return err
		}
		switch e.step = step; step.Action {
		case credential.Send:
			p.value = step.Value
			p.user, p.proved = 0, p.proved || step.SameConnection
			e.asker = p
			if p == &e.origin && e.proxy != nil { // which has let the last one pass
				e.proxy.value = e.proxy.Authorize()
			}
			return nil
		case credential.Fail:
			return refusalError(step.Err, resp.StatusCode)
		}
		if step.User != 0 {
			p.user = step.User
		}
		e.t.keep(resp.Request.Context(), step)
	}
	return nil
}

// mend goes on after an error that is about who asks, or how, and returns all others.
func (e *errand) mend(err error) error {
	if asks, ok := errors.AsType[*proxyAsks](err); ok {
		step, err := e.resolve(asks.exchange, asks.step, nil)
		switch {
		case err != nil:
			return err
		case step.Action == credential.Fail:
			return refusalError(step.Err, http.StatusProxyAuthRequired)
		case step.Action == credential.Deliver:
			return failure(e.req, proxyWantsCredentials(e.tunnel.proxy), true)
		}
		e.tunnel.next.Store(&turn{asks.exchange, step})
		e.step, e.asker = credential.Step{Action: credential.Send}, nil
		return nil
	}
	if e.lease == nil && says(err, "HTTP_1_1_REQUIRED") { // RFC 9113 §7: as IIS has it before NTLM
		e.step, e.asker = credential.Step{Action: credential.Send, HTTP1: true}, nil
		return nil
	}
	if errors.Is(err, errLost) && e.asker != nil {
		e.step = e.asker.Lost()
		if e.step.Action == credential.Fail {
			return unsentError(e.step.Err)
		}
		e.asker.value = e.step.Value
		return nil
	}
	return err
}

// resolve asks whom a step wants to be asked, until it is one to send or to end. resp, which may be nil, holds no connection
// meanwhile, unless that was proven to a proxy.
func (e *errand) resolve(x *credential.Exchange, step credential.Step, resp *http.Response) (credential.Step, error) {
	ctx := outside{e.req.Context()}
	for step.Action == credential.Ask || step.Action == credential.Refresh {
		if resp != nil {
			setAside(resp)
			if e.proxy == nil || !e.proxy.proved { // else the proxy would want to know it again
				e.giveBack(users{})
			}
		}
		if step.Action == credential.Refresh {
			e.m.queued()
			step = x.Refresh(ctx)
			e.m.moved()
			continue
		}
		answer, err := askerOf(e.req.Context())(ctx, *step.Challenge)
		if err != nil {
			return step, err
		}
		step = x.Answer(answer)
	}
	return step, nil
}

// keep stores what a server has taken.
func (t *Transport) keep(ctx context.Context, step credential.Step) {
	if step.Keep != nil && t.opts.Keep != nil {
		_ = t.opts.Keep(ctx, *step.Keep) // the response is there all the same
	}
}

// takeLease waits for a connection of the request's own.
func (e *errand) takeLease() (err error) {
	e.m.queued()
	defer e.m.moved()
	if e.lease, err = e.t.leases.take(e.req.Context(), e.at, e.users); err != nil {
		return failure(e.req, err, true)
	}
	e.origin.user = e.lease.users.origin
	if e.proxy != nil {
		e.proxy.user = e.lease.users.proxy
	}
	return nil
}

// giveBack ends the lease, if there is one, of a connection that is known as u.
func (e *errand) giveBack(u users) {
	if e.lease != nil {
		e.lease.users = u
		e.t.leases.give(e.at, e.lease)
		e.lease = nil
		for p := range e.parties {
			p.user, p.proved = 0, false
		}
	}
}

// deliver ends the lease with resp. Who has proven something for this request alone leaves the connection to nobody.
func (e *errand) deliver(resp *http.Response) {
	if e.lease == nil {
		return
	}
	known := users{origin: e.origin.user}
	private := e.origin.proved && e.origin.user == 0
	if e.proxy != nil {
		known.proxy = e.proxy.user
		private = private || e.proxy.proved && e.proxy.user == 0
	}
	_, upgraded := resp.Body.(io.Writer)
	if private || upgraded {
		known = users{}
	}
	if upgraded || resp.Body == http.NoBody {
		e.giveBack(known)
		return
	}
	resp.Body = &leased{ReadCloser: resp.Body, end: func() { e.giveBack(known) }}
}

// unsentError is a *task.Error of a request of which nothing was looked at.
func unsentError(err error) error {
	e, ok := errors.AsType[*task.Error](err)
	if ok {
		e.Unsent = true
	}
	return err
}
