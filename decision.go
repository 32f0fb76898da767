package urlsession

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/task"
)

// Redirect is what Configuration.OnRedirect decides.
type Redirect struct {
	// StatusCode is 301, 302, 303, 307 or 308.
	StatusCode int
	// From is the URL that answered, without userinfo and with its query replaced.
	From string
	// Request is what would be sent, by the rules that browsers follow too: 303 turns all but HEAD into a GET without a
	// body, and 301 and 302 so turn POST; else method and body are kept. The request's Authorization,
	// Proxy-Authorization and Cookie are gone where From is another origin. It is the function's own to change.
	Request NewRequest
}

// NewRequest is the request that follows a redirect. What is left at its zero value is as Redirect.Request proposes it.
type NewRequest struct {
	// Method turned into GET or HEAD leaves the body out.
	Method string
	// URL is absolute, http or https, and as it is: it may hold a secret.
	URL string
	// Header is the whole header; cookies of Configuration.CookieStorage are added later. Where URL was changed to another
	// origin, Authorization, Proxy-Authorization and Cookie are sent there only if they were changed too.
	Header http.Header
}

// Disposition is what Configuration.OnResponse decides.
type Disposition int

const (
	// Allow lets the task go on.
	Allow Disposition = iota
	// Cancel ends the task with ErrCancelled.
	Cancel
)

// decider calls a session's functions for the tasks that ask, and answers them.
type decider struct {
	s     *Session
	calls sync.WaitGroup
	// asked is the newest call of each task, until the task has ended. Only listen's goroutine uses it.
	asked map[task.ID]call

	mu        sync.Mutex
	questions []question
	asking    int // goroutines that take them
}

type call struct {
	ticket string
	end    context.CancelFunc
}

// listen calls and answers until the session's last event, or ctx ends, and until the calls have returned.
func (d *decider) listen(ctx context.Context) {
	defer d.calls.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c, ok := d.s.svc.(*control.Client); ok {
		d.attend(ctx, c)
		return
	}
	_ = d.hear(ctx, task.EventQuery{After: new(uint64), DurableOnly: true}) // an engine in process fails with ctx alone
}

// hear calls for what events ask, until the session's last one.
func (d *decider) hear(ctx context.Context, q task.EventQuery) error {
	for ev, err := range d.s.svc.Events(ctx, q) {
		if err != nil {
			return err
		}
		switch e := ev.Detail.(type) {
		case task.Redirected:
			if e.Ticket != "" {
				d.ask(ctx, ev.Task, e.Ticket, func(ctx context.Context) task.Decision { return d.redirect(ctx, ev.Task, e) })
			}
		case task.ResponseReceived:
			if e.Ticket != "" {
				d.ask(ctx, ev.Task, e.Ticket, func(ctx context.Context) task.Decision { return d.response(ctx, ev.Task, e) })
			}
		case task.Challenge:
			d.challenge(ctx, ev.Task, e)
		case task.SessionCompleted:
			d.stop(ev.Task)
		}
	}
	return nil
}

// begin is the context of a task's next call; the one before ends.
func (d *decider) begin(ctx context.Context, id task.ID, ticket string) context.Context {
	d.stop(id)
	ctx, cancel := context.WithCancel(ctx)
	d.asked[id] = call{ticket, cancel}
	return ctx
}

func (d *decider) ask(ctx context.Context, id task.ID, ticket string, decide func(context.Context) task.Decision) {
	ctx = d.begin(ctx, id, ticket)
	d.s.handles.Pin(id)
	d.calls.Go(func() {
		defer d.s.handles.Unpin(id)
		// The only error is that the answer is no longer wanted.
		_ = d.s.svc.Answer(ctx, id, ticket, decide(ctx))
	})
}

func (d *decider) stop(id task.ID) {
	if c, ok := d.asked[id]; ok {
		c.end()
		delete(d.asked, id)
	}
}

func (d *decider) redirect(ctx context.Context, id task.ID, e task.Redirected) task.Decision {
	proposed := e.Request
	if proposed == nil {
		proposed = &task.Request{URL: e.To}
	}
	next := d.s.config.OnRedirect(ctx, d.s.handles.handle(d.s, id), Redirect{
		StatusCode: e.Status, From: e.From,
		Request: NewRequest{Method: proposed.Method, URL: proposed.URL, Header: proposed.Header.Clone()},
	})
	if next == nil {
		return task.Decision{}
	}
	return task.Decision{Request: next.over(proposed)}
}

// over is the request that was decided on, in place of the one that was proposed.
func (n *NewRequest) over(proposed *task.Request) *task.Request {
	r := &task.Request{
		Method: cmp.Or(n.Method, proposed.Method), URL: cmp.Or(n.URL, proposed.URL), Header: n.Header.Clone(), Body: proposed.Body,
	}
	if n.Header == nil {
		r.Header = proposed.Header.Clone()
	}
	from, fromErr := url.Parse(proposed.URL)
	to, toErr := url.Parse(r.URL)
	if fromErr != nil || toErr != nil || !sameOrigin(from, to) {
		for _, name := range secretHeaders {
			if slices.Equal(r.Header[name], proposed.Header[name]) {
				delete(r.Header, name)
			}
		}
	}
	return r
}

func (d *decider) response(ctx context.Context, id task.ID, e task.ResponseReceived) task.Decision {
	head := responseHead(e.Response)
	if head == nil { // it came over a wire
		head = &Response{URL: e.URL, StatusCode: e.Status, Header: e.Header.Clone(), ContentLength: e.Expected}
	}
	answer := d.s.config.OnResponse(ctx, d.s.handles.handle(d.s, id), head)
	return task.Decision{Cancel: answer == Cancel}
}
