package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// run is a task that has not ended. Its state machine is schedule, attempt, settle and complete; docs/states.md draws
// it.
type run struct {
	e      *Engine
	id     task.ID
	kind   task.Kind
	origin string // of the request as created: whose connections it counts among
	data   chan []byte

	mu     sync.Mutex
	rec    task.Record // as stored
	phase  phase
	stop   context.CancelCauseFunc // of the attempt under way
	body   requestBody
	result transfer.Result // of the newest attempt
	next   time.Time       // the next attempt may not begin before
	// retries counts those of Policy.Retries that were used; tries, the attempts to connect since offlineSince.
	retries, tries int
	offlineSince   time.Time
	tickets        map[string]chan task.Decision
	asked          int // tickets made

	// Guarded by Engine.mu.
	priority task.Priority
	queue    int // place in its host's heap, from 1; 0: in none
	queuedAt time.Time
	agendum  int // place in the agenda, from 1; 0: not in it
	due      time.Time
	released bool

	sent, received counter
	changed        signal
}

// phase is what a run does, as against what its task's state says.
type phase int

const (
	idle       phase = iota // suspended
	queued                  // waits for its host
	waiting                 // in the agenda, until next
	attempting              // an attempt is under way, or was stopped and has not returned
	finished
)

// Causes that end an attempt before its time.
var (
	errSuspended = errors.New("the task was suspended")
	errCancelled = errors.New("the task was cancelled")
	errResource  = errors.New("the time for the whole resource is over")
)

// counter is a body's progress, written by an attempt and read by listeners.
type counter struct {
	total, expected atomic.Int64
	rate            meter
}

// schedule decides what a running task without an attempt does next. r.mu is held.
func (r *run) schedule() {
	now := time.Now()
	e := r.e
	switch {
	case r.rec.Spec.EarliestBegin.After(now) && r.rec.Attempt == 0:
		r.next = r.rec.Spec.EarliestBegin
		r.wait(&task.Wait{Reason: task.WaitSchedule, Since: now, Until: r.next})
	case r.next.After(now):
		r.phase = waiting
	default:
		r.phase = queued
		r.rec.Waiting = nil
		e.mu.Lock()
		r.queuedAt = now
		e.enqueue(r)
		e.mu.Unlock()
	}
	r.plan()
}

// wait parks a running task for a reason, which is stored and told. r.mu is held.
func (r *run) wait(w *task.Wait) {
	r.phase = waiting
	r.rec.Waiting = w
	r.save(task.Waiting{Reason: w.Reason, Detail: w.Detail, Until: w.Until})
}

// plan puts the run in the agenda for the next thing that time brings it: its next attempt, or its deadline. r.mu is
// held.
func (r *run) plan() {
	at := r.deadline()
	if r.phase == waiting && (at.IsZero() || r.next.Before(at)) {
		at = r.next
	}
	r.e.mu.Lock()
	r.e.agenda.set(r, at)
	r.e.mu.Unlock()
}

// deadline is when Policy.ResourceTimeout ends; zero: never, or the task is suspended. r.mu is held.
func (r *run) deadline() time.Time {
	limit := r.rec.Spec.Policy.ResourceTimeout
	if limit <= 0 || r.rec.Since.IsZero() {
		return time.Time{}
	}
	return r.rec.Since.Add(limit - r.rec.Active)
}

// wake is called when the time that plan set has come.
func (r *run) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rec.State == task.Completed || r.rec.State == task.Suspended {
		return
	}
	if d := r.deadline(); !d.IsZero() && !time.Now().Before(d) {
		if r.phase == attempting {
			r.stop(errResource)
		} else {
			r.complete(r.result, r.resourceError())
		}
		return
	}
	if r.phase == waiting {
		r.schedule()
		return
	}
	r.plan()
}

func (r *run) resourceError() error {
	err := &task.Error{Op: string(r.rec.Spec.Kind), URL: task.Redact(r.rec.CurrentURL()), Code: task.TimedOut,
		Err: fmt.Errorf("it did not end within the %v that the whole may take (timeout for resource)", r.rec.Spec.Policy.ResourceTimeout)}
	if w := r.rec.Waiting; w != nil && w.Error != nil {
		err.Err = fmt.Errorf("%w; last: %s", err.Err, w.Error.Text())
	}
	return err
}

// attempt runs one attempt, in a goroutine of its own, with a slot of its host.
func (r *run) attempt(h *host) {
	defer r.e.attempts.Done()
	r.mu.Lock()
	if r.phase != queued || !r.permitted() { // suspended or ended since the slot was given, or parked or ended just now
		r.mu.Unlock()
		r.e.release(h)
		return
	}
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	r.phase, r.stop = attempting, stop
	r.rec.Attempt++
	r.rec.Waiting = nil
	r.rec.URL = ""
	r.sent.total.Store(0)
	r.received.total.Store(0)
	r.received.expected.Store(-1)
	a := transfer.Attempt{
		ID: r.id, Number: r.rec.Attempt, Spec: &r.rec.Spec, RoundTripper: r.e.rt, Limit: r.e.limit,
		Observer: &observer{r: r, host: h},
	}
	if r.body.from != nil {
		a.Body = r.body.opener(ctx)
	}
	r.save()
	r.mu.Unlock()

	r.e.mu.Lock()
	r.e.active[r] = struct{}{}
	watched := r.e.watchers > 0
	r.e.mu.Unlock()
	if watched { // they look at its progress from now on
		r.changed.notify()
		r.e.changed.notify()
	}

	res, err := r.e.runTask(ctx, &a)

	r.e.mu.Lock()
	delete(r.e.active, r)
	r.e.mu.Unlock()
	r.e.release(h)
	r.settle(context.Cause(ctx), res, err)
}

// settle decides what follows an attempt.
func (r *run) settle(cause error, res transfer.Result, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop = nil
	r.result = res
	r.tickets = nil
	r.rec.Counts = r.counts()
	if len(res.Transactions) > 0 {
		r.save(task.Metrics{Attempt: r.rec.Attempt, Transactions: res.Transactions})
	}
	switch {
	case err == nil:
		r.complete(res, nil)
	case r.rec.State == task.Canceling:
		r.complete(res, r.cancelError())
	case r.rec.State == task.Suspended:
		r.phase = idle
		r.save()
	case errors.Is(cause, errSuspended): // and resumed since
		r.schedule()
	case errors.Is(cause, errResource):
		r.complete(res, r.resourceError())
	default:
		r.retry(res, err)
	}
}

// complete ends the task. r.mu is held.
func (r *run) complete(res transfer.Result, err error) {
	e := r.e
	e.mu.Lock()
	e.dequeue(r)
	e.agenda.set(r, time.Time{})
	e.leaveNetwork(r)
	e.mu.Unlock()

	now := time.Now()
	r.phase = finished
	r.rec.State, r.rec.Ended, r.rec.Waiting = task.Completed, now, nil
	if !r.rec.Since.IsZero() {
		r.rec.Active += now.Sub(r.rec.Since)
		r.rec.Since = time.Time{}
	}
	if res.Response != nil {
		r.rec.Response = res.Response
	}
	done := task.SessionCompleted{Success: err == nil}
	if r.rec.Response != nil {
		done.Status = r.rec.Response.Status
	}
	var details []task.Detail
	if err == nil {
		r.rec.Path, r.rec.Digest = res.Path, res.Digest
		if r.rec.Spec.Kind == task.Download {
			details = append(details, task.DownloadCompleted{Path: res.Path, Digest: res.Digest})
		}
		done.Text = responseText(res.Body)
	} else {
		f := task.FailureOf(err)
		r.rec.Failure, r.rec.ResumeData = f, res.ResumeData
		done.Code, done.Message, done.Failure = f.Code, f.Text(), f
		if f.Status != 0 {
			done.Status = f.Status
		}
	}
	seq := r.save(append(details, done)...)
	r.body.close()

	e.mu.Lock()
	e.keep(r, seq, res.Body)
	ids := e.forgettable()
	e.mu.Unlock()
	e.forgetTasks(ids)
	r.changed.notify()
	e.changed.notify()
	e.invalidateIfDone()
}

// responseText is a body as an event may carry it: text of at most 64 KiB.
func responseText(body []byte) string {
	if len(body) > 64<<10 || !utf8.Valid(body) {
		return ""
	}
	return string(body)
}

func (r *run) cancelError() error {
	return &task.Error{Op: string(r.rec.Spec.Kind), URL: task.Redact(r.rec.CurrentURL()), Code: task.Cancelled}
}

// suspendLocked, resumeLocked and cancelLocked are the task's methods; r.mu is held and the task has not ended.
func (r *run) suspendLocked() error {
	r.rec.SuspendCount++
	if r.rec.State != task.Running {
		return r.saveErr()
	}
	r.rec.State = task.Suspended
	r.rec.Active += time.Since(r.rec.Since)
	r.rec.Since = time.Time{}
	r.rec.Waiting = nil
	if r.phase == attempting {
		r.stop(errSuspended)
	} else {
		r.phase = idle
	}
	r.e.mu.Lock()
	r.e.dequeue(r)
	r.e.agenda.set(r, time.Time{})
	r.e.leaveNetwork(r)
	r.e.mu.Unlock()
	return r.saveErr()
}

func (r *run) resumeLocked() error {
	if r.rec.SuspendCount == 0 {
		return nil
	}
	r.rec.SuspendCount--
	if r.rec.SuspendCount > 0 || r.rec.State != task.Suspended {
		return r.saveErr()
	}
	r.rec.State = task.Running
	r.rec.Since = time.Now()
	err := r.saveErr()
	if r.phase == idle {
		r.schedule()
	} else {
		r.plan() // the stopped attempt has not returned; settle goes on from there
	}
	return err
}

func (r *run) cancelLocked() error {
	if r.rec.State == task.Canceling {
		return nil
	}
	r.rec.State = task.Canceling
	if r.phase == attempting {
		r.stop(errCancelled)
		return r.saveErr()
	}
	r.complete(r.result, r.cancelError())
	return nil
}

// counts are the progress that listeners have not been told by the record. r.mu is held.
func (r *run) counts() task.Counts {
	return task.Counts{
		Sent: r.sent.total.Load(), ExpectedToSend: r.sent.expected.Load(),
		Received: r.received.total.Load(), ExpectedToReceive: r.received.expected.Load(),
	}
}

// snapshot is the record with what changes by the moment. r.mu is held.
func (r *run) snapshot() task.Record {
	rec := r.rec
	if r.phase == attempting {
		rec.Counts = r.counts()
		rec.Counts.Rate = r.received.rate.now()
		if rec.Counts.Rate == 0 {
			rec.Counts.Rate = r.sent.rate.now()
		}
	}
	if r.phase == queued {
		rec.Waiting = r.e.hostWait(r)
	}
	return rec
}

// save stores the record with events and tells the listeners. r.mu is held.
func (r *run) save(details ...task.Detail) uint64 {
	seq, _ := r.e.store.Save(context.Background(), &r.rec, details...)
	if len(details) > 0 {
		r.changed.notify()
		r.e.changed.notify()
	}
	return seq
}

func (r *run) saveErr() error {
	_, err := r.e.store.Save(context.Background(), &r.rec)
	return err
}

// observer is what an attempt tells its run.
type observer struct {
	r    *run
	host *host
}

func (o *observer) Sent(total, expected int64) {
	o.r.sent.set(total, expected)
}

func (o *observer) Received(total, expected int64) {
	o.r.received.set(total, expected)
}

func (c *counter) set(total, expected int64) {
	c.expected.Store(expected)
	c.total.Store(total)
	c.rate.add(total)
}

func (o *observer) Response(ctx context.Context, resp *task.Response) error {
	r := o.r
	if strings.HasPrefix(resp.Proto, "HTTP/2") {
		r.e.multiplexes(o.host)
	}
	if err := r.statusError(resp); err != nil {
		return err
	}
	ask := r.rec.Spec.Policy.Ask.Response
	r.mu.Lock()
	r.rec.Response = resp
	detail := task.ResponseReceived{URL: task.Redact(resp.URL), Status: resp.Status,
		Header: task.RedactHeader(resp.Header), Expected: resp.ContentLength, Response: resp}
	if !ask {
		r.save(detail)
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

func (o *observer) Data(ctx context.Context, p []byte) error {
	select {
	case o.r.data <- slices.Clone(p):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (o *observer) Redirect(ctx context.Context, status int, from, to *http.Request) (*http.Request, error) {
	r := o.r
	detail := task.Redirected{Status: status, From: task.RedactURL(from.URL), To: task.RedactURL(to.URL),
		Request: &task.Request{Method: to.Method, URL: to.URL.String(), Header: to.Header}}
	r.mu.Lock()
	if !r.rec.Spec.Policy.Ask.Redirect {
		r.rec.URL = to.URL.String()
		r.save(detail)
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

// replaced is a redirect's request as the decision wants it.
func replaced(to *http.Request, d *task.Request) (*http.Request, error) {
	u, err := url.Parse(d.URL)
	if err != nil || u.Host == "" {
		return nil, &task.Error{Op: "follow redirect", URL: task.Redact(d.URL), Code: task.BadURL,
			Err: errors.New("the redirect decision names no absolute URL")}
	}
	next := to.Clone(to.Context())
	next.URL, next.Host = u, ""
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

// ticket makes a question that Answer answers. r.mu is held.
func (r *run) ticket() (string, <-chan task.Decision) {
	r.asked++
	name := strconv.Itoa(r.rec.Attempt) + "-" + strconv.Itoa(r.asked)
	answer := make(chan task.Decision, 1)
	if r.tickets == nil {
		r.tickets = make(map[string]chan task.Decision)
	}
	r.tickets[name] = answer
	return name, answer
}

func await(ctx context.Context, answer <-chan task.Decision) (task.Decision, error) {
	select {
	case d := <-answer:
		return d, nil
	case <-ctx.Done():
		return task.Decision{}, context.Cause(ctx)
	}
}

// Answer is Service.Answer.
func (e *Engine) Answer(_ context.Context, id task.ID, ticket string, d task.Decision) error {
	if r := e.run(id); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if answer, ok := r.tickets[ticket]; ok {
			delete(r.tickets, ticket)
			answer <- d
			return nil
		}
	}
	return &task.Error{Op: fmt.Sprintf("answer ticket %s of task %d", ticket, id), Code: task.ResourceUnavailable,
		Err: errors.New("no such ticket waits for an answer: it was answered, or its attempt has ended")}
}
