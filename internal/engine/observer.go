package engine

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// observer is what an attempt tells its run.
type observer struct {
	r        *run
	host     *host
	progress *progress
}

// piece is a part of a streamed body on its way to a listener.
type piece struct {
	data  []byte
	after uint64 // number of the event that it follows
}

func (o *observer) Sent(total, expected int64) {
	if o.progress.confirmed.Load() {
		o.progress.confirmed.Store(false)
	}
	o.progress.sent.set(total, expected)
}

func (o *observer) Confirmed(total, expected int64) {
	o.progress.confirmed.Store(true)
	o.progress.sent.set(total, expected)
}

func (o *observer) Received(total, expected int64) { o.progress.received.set(total, expected) }

func (o *observer) Data(ctx context.Context, p []byte) error {
	select {
	case o.r.data <- piece{slices.Clone(p), o.r.seq.Load()}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (o *observer) Response(ctx context.Context, resp *task.Response) error {
	r := o.r
	if resp.Fetch != task.FetchCache && hasOrigin(resp.URL, o.host.key) { // not of where a redirect led
		r.e.multiplexes(o.host, strings.HasPrefix(resp.Proto, "HTTP/2"))
	}
	if err := r.statusError(resp); err != nil {
		return err
	}
	detail := task.ResponseReceived{URL: task.Redact(resp.URL), Status: resp.Status,
		Header: task.RedactHeader(resp.Header), Expected: resp.ContentLength, Response: resp}
	r.mu.Lock()
	r.rec.Response = resp
	if !r.rec.Spec.Policy.Ask.Response {
		r.note(detail)
		r.mu.Unlock()
		return nil
	}
	ticket, answer := r.ticket()
	detail.Ticket = ticket
	r.save(detail)
	r.mu.Unlock()
	d, err := await(ctx, answer)
	if err == nil && d.Cancel {
		r.e.Cancel(ctx, r.id)
		err = errCancelled
	}
	return err
}

func (o *observer) Redirect(ctx context.Context, status int, from, to *http.Request) (*http.Request, error) {
	r := o.r
	detail := task.Redirected{Status: status, From: task.RedactURL(from.URL), To: task.RedactURL(to.URL),
		Request: &task.Request{Method: to.Method, URL: to.URL.String(), Header: to.Header.Clone()}}
	r.mu.Lock()
	if !r.rec.Spec.Policy.Ask.Redirect {
		r.rec.URL = to.URL.String()
		r.note(detail)
		r.mu.Unlock()
		return to, nil
	}
	ticket, answer := r.ticket()
	detail.Ticket = ticket
	r.save(detail)
	r.mu.Unlock()
	d, err := await(ctx, answer)
	if err != nil || d.Request == nil {
		return nil, err
	}
	next, err := replaced(to, d.Request)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.rec.URL = next.URL.String()
	r.save()
	r.mu.Unlock()
	return next, nil
}

// noteWithin is how long an event may wait for a write that it can go with.
const noteWithin = 100 * time.Millisecond

// note stores an event of an attempt together with what follows it, or after a while: a small task whose store is a disk has
// one write less an event. No promise is broken by a kill before: the attempt is not recorded to have ended, another
// follows, and brings events of its own. r.mu is held.
func (r *run) note(d task.Detail) {
	if r.e.lasting == nil || r.rec.Spec.Stream { // pieces of a stream come after what is stored
		r.save(d)
		return
	}
	r.unsaved = append(r.unsaved, d)
	r.behind.Store(true)
	if r.noted == nil {
		r.noted = time.AfterFunc(noteWithin, r.saveNoted)
	} else {
		r.noted.Reset(noteWithin)
	}
}

func (r *run) saveNoted() {
	leave, err := r.e.enter("store events")
	if err != nil {
		return // the attempt is being stopped, and records them
	}
	defer leave()
	r.mu.Lock()
	defer r.unlock()
	if r.phase == attempting && r.behind.Load() {
		r.save()
	}
}

// replaced is a redirect's request as the decision wants it.
func replaced(to *http.Request, d *task.Request) (*http.Request, error) {
	u, err := url.Parse(d.URL)
	if err != nil || u.Host == "" {
		return nil, &task.Error{Op: "follow redirect", URL: task.Redact(d.URL), Code: task.BadURL,
			Err: errors.New("the redirect decision names no absolute URL")}
	}
	next := to.Clone(to.Context())
	if u.Host != to.URL.Host {
		next.Host = ""
	}
	next.URL = u
	if d.Method != "" && d.Method != next.Method {
		next.Method = d.Method
		if d.Method == http.MethodGet || d.Method == http.MethodHead {
			next.Body, next.GetBody, next.ContentLength = nil, nil, 0
		}
	}
	if d.Header != nil {
		next.Header = d.Header.Clone()
	}
	return next, nil
}

// committer is an observer for a session that outlives its process.
type committer struct{ observer }

// Committing stores the name that a download's file is about to take: a kill after the rename and before the task's end is
// stored must neither fetch it again nor find its own file in the way.
func (c *committer) Committing(commit *task.Commit) error {
	r := c.r
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rec.Commit = commit
	r.rec.Counts = r.counts()
	return r.save()
}
