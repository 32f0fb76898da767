package credential

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/urlsession/urlsession/internal/task"
)

// Exchange decides, for one request and one server (its origin, or a proxy), what is sent and what follows from a response.
// It does no networking. Its methods are called one after another. It never gives a credential to another origin: a
// redirect to one needs an Exchange of its own.
//
//	        ┌──────────────── Send ◀─────────────┐
//	        ▼                                    │
//	Authorize ─▶ (the request) ─▶ Next ─▶ Ask ─▶ Answer ─▶ Deliver, Fail
//	                               │  └▶ Refresh ─▶ ┘
//	                               └▶ Deliver, Fail
type Exchange struct {
	// Asks says that somebody answers Challenges: the Exchange then asks when it knows no credential, or the server has
	// refused it. Without, the server's refusal is the response. It is set before Next.
	Asks bool

	a      *Authenticator
	req    *http.Request
	origin Space       // for all realms and methods
	user   *Credential // the URL's; nil: it has none

	own      bool          // the request has an Authorization of its own: it is the caller's business
	sent     *try          // what the last request had
	taken    *try          // what the server has taken
	failures map[Space]int // credentials that were refused
	rejected []Space
	tried    []*try
	skip     []Method // that this server has offered without meaning it
	sends    int
	stale    int
	err      error // why the last try failed

	// Of the response that is being answered:
	choices []choice
	asked   *choice
	renewed int // tokens that were refreshed

	answered map[Space]Answer // which came when the Exchange that had asked was over
}

// try is a credential that is sent.
type try struct {
	space   Space
	cred    Credential
	from    source
	unasked bool // before this request was challenged
	utf8    bool
	digest  *digest
	proof   proof
	value   Secret // Basic's and Bearer's, once it was made
	began   bool   // NTLM: NEGOTIATE was sent, and CHALLENGE is awaited
}

// Begin is the Exchange with the origin of req. Its method, URL and body are as they are sent, and it is not changed meanwhile.
func (a *Authenticator) Begin(req *http.Request) *Exchange {
	return a.begin(Origin(req.URL), req, req.URL.User)
}

// BeginProxy is the Exchange with the proxy at u, for a request that is sent through it, CONNECT too.
func (a *Authenticator) BeginProxy(u *url.URL, req *http.Request) *Exchange {
	return a.begin(Proxy(u), req, u.User)
}

func (a *Authenticator) begin(origin Space, req *http.Request, user *url.Userinfo) *Exchange {
	e := &Exchange{a: a, req: req, origin: origin}
	e.own = req.Header.Get(e.Field()) != ""
	if user.String() != "" { // which is nil's
		password, given := user.Password()
		e.user = &Credential{User: user.Username(), Password: NewSecret(password)}
		if c, ok := e.netrc(user.Username()); ok && !given {
			e.user = &c
		}
	}
	return e
}

// Answered tells, before the request is sent, an answer that came when the Exchange that had asked was over: the task had been
// parked, or whoever ran it was started anew. A user and password for Basic and a token for Bearer are sent unasked then, so that
// no body is sent in vain, where it is the only one; all else counts once the server asks the same again. Cancel is not for here:
// the task has ended. It may be called for several spaces; those of other servers are left alone.
func (e *Exchange) Answered(c Challenge, a Answer) {
	if c.Space.origin() != e.origin {
		return
	}
	e.counts()[c.Space] = c.Failures
	switch a.Disposition {
	case Reject:
		e.rejected = append(e.rejected, c.Space)
	case Use, UseDefault:
		if e.answered == nil {
			e.answered = make(map[Space]Answer)
		}
		e.answered[c.Space] = a
	}
}

// Format writes whom the Exchange is with, and hides the rest from every verb: a request has secrets.
func (e *Exchange) Format(w fmt.State, _ rune) { io.WriteString(w, "exchange with "+e.origin.String()) }

// Field is the name of the field that Authorize's value is for: Authorization, or Proxy-Authorization.
func (e *Exchange) Field() string {
	if e.origin.Proxy {
		return "Proxy-Authorization"
	}
	return "Authorization"
}

// Authorize is what the request is to have in Field before it is sent for the first time, and where it is sent again for
// another server's sake; a zero Secret: nothing. It has a value for what was Answered, for a space that is known, and for
// userinfo in the URL, which goes as Basic.
func (e *Exchange) Authorize() Secret {
	if e.own {
		return Secret{}
	}
	t := &try{unasked: true}
	if e.taken != nil {
		if m := e.taken.space.Method; m == NTLM || m == Negotiate {
			return Secret{} // the connection has it
		}
		t = e.taken
		t.unasked = true
	} else if space, cred, ok := e.answersUnasked(); ok {
		t.space, t.cred, t.from, t.unasked = space, cred, fromAnswer, false
	} else if k := e.a.find(e.origin, e.req.URL); k != nil && (e.user == nil && k.from != fromURL || e.user != nil && e.user.Equal(k.cred)) {
		t.space, t.cred, t.from, t.digest, t.utf8, t.value = k.space, k.cred, k.from, k.digest, k.utf8, k.value
	} else if e.user == nil {
		return Secret{}
	} else {
		t.space, t.cred, t.from = e.basic(), *e.user, fromURL
	}
	value, err := e.value(t, Offer{})
	if err != nil {
		return Secret{}
	}
	e.sent = t
	return value
}

// User says as whom a connection may be known that the request is sent by for the first time: see Step.User. 0: as nobody.
func (e *Exchange) User() uint64 {
	if e.own || e.user != nil {
		return 0
	}
	return e.a.user(e.origin)
}

// answersUnasked is the answer that was given, if it can be sent before the server asks again. Of Basic it must not depend on
// the encoding that the server names.
func (e *Exchange) answersUnasked() (Space, Credential, bool) {
	if len(e.answered) != 1 {
		return Space{}, Credential{}, false
	}
	for space, a := range e.answered {
		c := a.Credential
		fits := a.Disposition == Use && c.fits(space.Method)
		switch space.Method {
		case Basic:
			return space, c, fits && norm.NFC.IsNormalString(c.User+c.Password.Reveal())
		case Bearer:
			return space, c, fits
		}
	}
	return Space{}, Credential{}, false
}

// basic is the space of userinfo that nobody has asked for.
func (e *Exchange) basic() Space {
	s := e.origin
	s.Method = Basic
	return s
}

// counts is failures, to be written.
func (e *Exchange) counts() map[Space]int {
	if e.failures == nil {
		e.failures = make(map[Space]int)
	}
	return e.failures
}

// value is what t puts into Field.
func (e *Exchange) value(t *try, o Offer) (_ Secret, err error) {
	switch t.space.Method {
	case Basic, Bearer:
		switch {
		case !t.value.IsZero():
		case t.space.Method == Basic:
			t.value, err = basic(t.cred, t.utf8)
		default:
			t.value, err = bearer(t.cred)
		}
		return t.value, err
	case NTLM, Negotiate:
		if t.began {
			return ntlmAuthenticate(t.space.Method, o.Token68, t.cred)
		}
		return ntlmNegotiate(t.space.Method)
	}
	p, err := t.digest.authorize(cmp.Or(e.req.Method, http.MethodGet), target(e.req), opener(e.req))
	t.proof = p
	return p.value, err
}

// target is the request target by which Digest names a resource: the path and query, also at a proxy, as browsers do.
func target(req *http.Request) string {
	if req.Method == http.MethodConnect {
		return cmp.Or(req.URL.Opaque, req.Host, req.URL.Host)
	}
	return req.URL.RequestURI()
}

// Next says what follows from resp, the answer to the request.
func (e *Exchange) Next(resp *http.Response) Step {
	if e.own || !e.origin.Proxy && resp.Request != nil && Origin(resp.Request.URL) != e.origin {
		return Step{} // not ours, or not our server: somebody has followed a redirect
	}
	refusal, field := http.StatusUnauthorized, "Www-Authenticate"
	if e.origin.Proxy {
		refusal, field = http.StatusProxyAuthRequired, "Proxy-Authenticate"
	}
	switch {
	case resp.StatusCode == http.StatusProxyAuthRequired && !e.origin.Proxy:
		return Step{} // it did not come as far as to the origin
	case resp.StatusCode != refusal:
		return e.accepted(resp)
	}
	sent := e.sent
	e.sent, e.taken = nil, nil
	e.choices = e.choose(ParseOffers(resp.Header[field]))
	if sent != nil {
		if step, ok := e.goOn(sent); ok {
			return step
		}
		e.refused(sent)
		if step, ok := e.renew(sent); ok {
			return step
		}
	}
	return e.try()
}

// accepted is Next of a response that is no refusal.
func (e *Exchange) accepted(resp *http.Response) Step {
	t := e.sent
	e.sent = nil
	if t == nil {
		return Step{}
	}
	if t.began { // the server did not ask after all: nothing was proven, and what it has taken had no body
		if e.hasBody() && resp.StatusCode < 400 {
			return e.send(nil, Secret{})
		}
		return Step{}
	}
	if t.digest != nil {
		field := "Authentication-Info"
		if e.origin.Proxy {
			field = "Proxy-Authentication-Info"
		}
		if err := t.digest.accepted(t.proof, resp.Header[field]); err != nil {
			e.a.unlearn(e.origin, t)
			return e.fail(task.BadServerResponse, err)
		}
	}
	e.taken = t
	if t.space != e.basic() {
		e.a.learn(e.origin, t, e.req.URL)
	}
	var step Step
	if t.space.Method == NTLM || t.space.Method == Negotiate {
		step.User = e.a.prove(e.origin, t)
	}
	if t.from == fromAnswer && !t.unasked && t.cred.Persistence != None && resp.StatusCode < 500 {
		step.Keep = &Stored{t.space, t.cred, true}
	}
	return step
}

// goOn is the next step of a scheme that is not through yet: NTLM's CHALLENGE, a nonce that is stale.
func (e *Exchange) goOn(sent *try) (Step, bool) {
	if sent.began {
		for _, c := range e.choices {
			if c.space.Method == sent.space.Method && isNTLM(c.offer) {
				value, err := e.value(sent, c.offer)
				if err != nil {
					e.err = err
					break
				}
				sent.began = false
				step := e.send(sent, value)
				step.HTTP1, step.SameConnection = true, true
				return step, true
			}
		}
		e.skip = append(e.skip, sent.space.Method) // Negotiate that is Kerberos alone, or no NTLM after all
		e.choices = slices.DeleteFunc(e.choices, func(c choice) bool { return c.space.Method == sent.space.Method })
		return Step{}, false
	}
	if sent.digest == nil {
		return Step{}, false
	}
	for _, c := range e.choices {
		// One that was sent unasked may have had a nonce that the server does not know any more, whatever it calls that.
		stale := strings.EqualFold(c.offer.Param("stale"), "true") || sent.unasked && c.offer.Param("nonce") != sent.proof.nonce
		if c.space == sent.space && stale && e.stale < maxStale {
			e.stale++
			step, err := e.start(c, sent.cred, sent.from)
			return step, err == nil
		}
	}
	return Step{}, false
}

// refused notes that the server did not take what was sent.
func (e *Exchange) refused(sent *try) {
	e.a.unlearn(e.origin, sent)
	if sent.began {
		return
	}
	if i := slices.IndexFunc(e.choices, func(c choice) bool { return c.space.Method == sent.space.Method }); i >= 0 && sent.space == e.basic() {
		sent.space = e.choices[i].space // now its realm is known
	}
	e.tried = append(e.tried, sent)
	e.counts()[sent.space]++
	e.err = fmt.Errorf("the server refuses %s", sent.who())
}

// renew asks for a new token in place of the one that was sent.
func (e *Exchange) renew(sent *try) (Step, bool) {
	if sent.space.Method != Bearer || e.a.policy.Refresh == nil || e.renewed >= maxRenewals {
		return Step{}, false
	}
	for i := range e.choices {
		if c := &e.choices[i]; c.space == sent.space {
			e.renewed, e.asked = e.renewed+1, c
			return Step{Action: Refresh, Challenge: &Challenge{c.space, &sent.cred, e.failures[c.space], e.err}}, true
		}
	}
	return Step{}, false
}

// Refresh goes on after a Step of that Action. Where no new token can be had, it goes on without.
func (e *Exchange) Refresh(ctx context.Context) Step {
	c := e.asked
	e.asked = nil
	var asked *Credential
	if c != nil {
		asked = e.last(c.space)
	}
	if asked == nil {
		return e.fail(task.AuthenticationRequired, errors.New("nothing was to be refreshed"))
	}
	cred, err := e.a.refresh(ctx, c.space, *asked)
	if ctx.Err() != nil {
		return e.fail(task.CodeOf(ctx.Err()), ctx.Err())
	}
	if err != nil {
		e.err = fmt.Errorf("the token could not be refreshed: %w", err)
		return e.try()
	}
	cred.Persistence = max(cred.Persistence, asked.Persistence)
	step, err := e.start(*c, cred, fromAnswer)
	if err != nil {
		return e.try()
	}
	return step
}

// try goes on with the strongest method that there is a credential for, or asks for one, or gives up.
func (e *Exchange) try() Step {
	for i := range e.choices {
		c := e.choices[i]
		cred, from, ok := e.candidate(c)
		if !ok || e.failures[c.space] >= e.a.policy.Tries {
			continue
		}
		if e.Asks && e.a.policy.AskFirst && from != fromURL && from != fromAnswer && !e.settled(c) {
			return e.ask(&e.choices[i], &cred)
		}
		if step, err := e.start(c, cred, from); err == nil {
			return step
		}
	}
	if e.Asks && len(e.choices) > 0 {
		// The server's strongest for users; a token's place is asked for where there is no other.
		i := max(0, slices.IndexFunc(e.choices, func(c choice) bool { return c.space.Method != Bearer }))
		c := &e.choices[i]
		e.inVain(*c)
		if e.failures[c.space] < e.a.policy.Tries && !e.settled(*c) {
			return e.ask(c, e.last(c.space))
		}
	}
	return Step{}
}

func (e *Exchange) ask(c *choice, proposed *Credential) Step {
	e.asked = c
	return Step{Action: Ask, Challenge: &Challenge{c.space, proposed, e.failures[c.space], e.err}}
}

// Answer goes on after a Step of the Action Ask.
func (e *Exchange) Answer(a Answer) Step {
	c := e.asked
	e.asked = nil
	if c == nil {
		return e.fail(task.AuthenticationRequired, errors.New("nothing was asked"))
	}
	switch a.Disposition {
	case Cancel:
		return e.fail(task.UserCancelledAuth, nil)
	case Reject:
		e.rejected = append(e.rejected, c.space)
		e.choices = slices.DeleteFunc(slices.Clone(e.choices), func(o choice) bool { return slices.Contains(e.rejected, o.space) })
		return e.try()
	case Use:
		if i := slices.IndexFunc(e.choices, func(o choice) bool { return a.Credential.fits(o.space.Method) }); i >= 0 && !a.Credential.fits(c.space.Method) {
			c = &e.choices[i] // a token where a password was asked for, and the server takes both
		}
		if !a.Credential.fits(c.space.Method) {
			return e.fail(task.AuthenticationRequired, fmt.Errorf("the credential that was given is none for %s", c.space.Method))
		}
		step, err := e.start(*c, a.Credential, fromAnswer)
		if err != nil {
			return e.fail(task.AuthenticationRequired, err)
		}
		return step
	}
	if cred, from, ok := e.candidate(*c); ok {
		if step, err := e.start(*c, cred, from); err == nil {
			return step
		}
	}
	return Step{}
}

// start sends cred by c's method.
func (e *Exchange) start(c choice, cred Credential, from source) (Step, error) {
	t := &try{space: c.space, cred: cred, from: from, utf8: wantsUTF8(c.offer)}
	if c.space.Method == Digest {
		t.digest = newDigest(c.offer, cred)
	}
	value, err := e.value(t, c.offer)
	if err != nil {
		e.err = err
		e.tried = append(e.tried, t)
		if from == fromAnswer {
			e.counts()[c.space]++ // or it would be asked for and given for ever
		}
		return Step{}, err
	}
	step := e.send(t, value)
	if c.space.Method == NTLM || c.space.Method == Negotiate {
		t.began = true
		step.HTTP1, step.NoBody = true, e.hasBody()
	}
	return step, nil
}

func (e *Exchange) hasBody() bool { return e.req.Body != nil && e.req.Body != http.NoBody }

func (e *Exchange) send(t *try, value Secret) Step {
	if e.sends++; e.sends > maxSends {
		return Step{}
	}
	if e.hasBody() && e.req.GetBody == nil {
		return e.fail(task.BodyStreamExhausted, errors.New("it wants to know who asks, and the request's body can be read only once"))
	}
	e.sent = t
	return Step{Action: Send, Field: e.Field(), Value: value}
}

// Lost goes on where a Step's SameConnection was closed: NTLM begins anew, which counts against Policy.Tries.
func (e *Exchange) Lost() Step {
	t := e.sent
	if t == nil {
		return e.fail(task.ConnectionLost, errors.New("the connection that was authenticated is gone"))
	}
	e.sent = nil
	for _, c := range e.choices {
		if c.space.Method == t.space.Method && e.failures[c.space]+1 < e.a.policy.Tries {
			e.counts()[c.space]++
			if step, err := e.start(c, t.cred, t.from); err == nil {
				return step
			}
		}
	}
	return e.fail(task.ConnectionLost, errors.New("the connection that is to be authenticated is closed each time"))
}

func (e *Exchange) fail(code task.Code, err error) Step {
	return Step{Action: Fail, Err: failure(e.origin, code, err)}
}
