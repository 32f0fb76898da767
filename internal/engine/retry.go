package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// Full-jitter exponential back-off: the n-th retry waits a random time below min(backoffMax, backoffBase<<n), or as long
// as the server's Retry-After says where that is longer.
const (
	backoffBase = time.Second
	backoffMax  = 5 * time.Minute
)

func backoff(n int) time.Duration {
	ceiling := backoffMax
	if n < 16 {
		ceiling = min(backoffMax, backoffBase<<n)
	}
	return rand.N(ceiling)
}

// statusError is an answer that is worth another attempt (contract §6).
type statusError struct {
	status int
	after  time.Duration // Retry-After
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.status, http.StatusText(e.status))
}

func retryable(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// statusError decides about a response: nil delivers it, an error ends the attempt, and retry follows. A Retry-After
// holds its whole host back. What the cache answers it would answer again.
func (r *run) statusError(resp *task.Response) error {
	if !retryable(resp.Status) || resp.Fetch == task.FetchCache {
		return nil
	}
	now := time.Now()
	after := retryAfter(resp.Header, now)
	r.mu.Lock()
	defer r.mu.Unlock()
	err := &task.Error{Op: string(r.rec.Spec.Kind), URL: task.Redact(resp.URL), Code: task.BadServerResponse, Status: resp.Status,
		Err: &statusError{resp.Status, after}}
	d := r.rec.Deadline()
	if !r.retriesLeft() || !r.mayResend(err) || !d.IsZero() && now.Add(after).After(d) {
		return nil
	}
	if after > 0 {
		r.e.holdHost(originOf(resp.URL), now.Add(after))
	}
	return err
}

// retryAfter reads Retry-After (RFC 9110 §10.2.3), seconds or a date; 0 where there is none that can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

func (r *run) retriesLeft() bool {
	n := r.rec.Spec.Policy.Retries
	return n < 0 || r.rec.Retries < n
}

// mayResend says whether the request may be sent again although it may have been applied: its method is idempotent
// (RFC 9110 §9.2.2), or nothing of it had left, or the server said that it did nothing, or the caller vouches for it. An
// upload that can be gone on from is not sent again.
func (r *run) mayResend(err *task.Error) bool {
	if r.body.from != nil && !r.body.rewinds() && r.body.consumed() {
		return false
	}
	if r.rec.Spec.Stream && r.progress.Load().received.total.Load() > 0 {
		return false // its listener has the first bytes already
	}
	return r.resendable() || r.rec.Upload != nil || err.Unsent ||
		err.Status == http.StatusTooManyRequests || err.Status == http.StatusServiceUnavailable
}

// resendable says whether the request may be sent again whatever became of it.
func (r *run) resendable() bool { return r.rec.Spec.Resendable() }

// interruptible says whether an attempt may be stopped in the midst, and another follow.
func (r *run) interruptible() bool { return r.resendable() || r.rec.Upload != nil }

// wire says whether an error is of the network rather than of what was asked. A host name that does not exist is one
// only to a task that retries until its deadline: to a person who waits it is a typing error. A TLS handshake that is cut
// off is one, as by a server that restarts; one that is answered by an alert, or by no TLS, is not.
func wire(err *task.Error, patient bool) bool {
	switch err.Code {
	case task.TimedOut, task.CannotConnect, task.ConnectionLost, task.DNSLookupFailed, task.NotConnected:
		return true
	case task.CannotFindHost:
		return patient
	case task.SecureConnectionFailed:
		return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
			errors.Is(err, syscall.EPIPE)
	}
	return false
}

// retry decides what follows a failed attempt of a running task: a wait for connectivity, another attempt, or the end.
// r.mu is held.
func (r *run) retry(res transfer.Result, cause error) {
	p := &r.rec.Spec.Policy
	err, ok := errors.AsType[*task.Error](cause)
	if !ok {
		r.complete(res, cause)
		return
	}
	if p.WaitsForConnectivity && err.Unsent && wire(err, true) && r.mayResend(err) {
		r.awaitNetwork(task.FailureOf(err))
		return
	}
	r.tries = 0
	r.e.mu.Lock()
	r.e.leaveNetwork(r)
	r.e.mu.Unlock()
	if p.WaitsForSpace && noSpace(cause) && r.mayResend(err) {
		r.awaitSpace(err)
		return
	}
	r.full = 0
	status, isStatus := errors.AsType[*statusError](cause)
	if !r.retriesLeft() || !isStatus && !wire(err, p.Retries < 0) {
		r.complete(res, cause)
		return
	}
	if !isStatus && !r.mayResend(err) {
		if !r.resendable() {
			cause = r.appliedError(err, cause)
		}
		r.complete(res, cause)
		return
	}
	delay := backoff(r.rec.Retries)
	if isStatus {
		delay = max(delay, status.after)
	}
	r.rec.Retries++
	now := time.Now()
	r.rec.Next = now.Add(delay)
	r.failure = task.FailureOf(err)
	r.phase = waiting
	r.rec.Waiting = &task.Wait{Reason: task.WaitRetry, Since: now, Until: r.rec.Next, Error: r.failure}
	if r.save(task.WillRetry{Attempt: r.rec.Attempt, At: r.rec.Next, Code: err.Code, Message: r.failure.Text(), Status: err.Status}) != nil {
		r.e.mu.Lock()
		r.e.park(r) // it stays in memory until the store takes it
		r.e.mu.Unlock()
	}
	r.plan()
}

// appliedError is the end of a request that must not be sent twice and may have been applied.
func (r *run) appliedError(err *task.Error, cause error) error {
	return &task.Error{Op: err.Op, URL: err.URL, Code: task.ConnectionLost,
		Err: fmt.Errorf("the %s may have been applied, so it is not sent again (allow that with RetryUnsafe or an Idempotency-Key): %w",
			r.rec.Spec.Request.Method, cause)}
}

// networkPoll bounds how long a task that waits for connectivity goes without trying, whatever the machine says.
const networkPoll = 30 * time.Second

// awaitNetwork parks the task until the network changes or a while has passed. It is told once a wait. r.mu is held.
func (r *run) awaitNetwork(why *task.Failure) {
	now := time.Now()
	if r.tries == 0 {
		r.offlineSince = now
	}
	r.rec.Next = now.Add(min(networkPoll, time.Second<<min(r.tries, 5)))
	r.tries++
	w := &task.Wait{Reason: task.WaitConnectivity, Since: r.offlineSince, Error: why}
	if r.tries == 1 {
		r.wait(w)
	} else {
		r.phase, r.rec.Waiting = waiting, w
		r.unsaved = slices.DeleteFunc(r.unsaved, func(d task.Detail) bool { return d.EventName() == (task.Metrics{}).EventName() })
		if !r.resendable() { // begin has stored that it is under way, which a kill would leave so
			r.save()
		}
	}
	r.e.mu.Lock()
	r.e.watchNetwork(r)
	r.e.park(r)
	r.e.mu.Unlock()
	r.plan()
}

// permitted says whether the task may use the network, and the disk has room for it; if not, it is parked or has ended.
// r.mu is held.
func (r *run) permitted() bool {
	p := &r.rec.Spec.Policy
	if p.WaitsForSpace && r.kind == task.Download && !r.hasRoom() {
		r.awaitSpace(nil)
		return false
	}
	if r.e.network == nil || p.AllowsExpensive && p.AllowsConstrained {
		return true
	}
	expensive, constrained := r.e.network.Metered()
	var what string
	switch {
	case expensive && !p.AllowsExpensive:
		what = "metered"
	case constrained && !p.AllowsConstrained:
		what = "constrained"
	default:
		return true
	}
	err := &task.Error{Op: string(r.rec.Spec.Kind), URL: task.Redact(r.rec.Spec.Request.URL), Code: task.DataNotAllowed, Unsent: true,
		Err: fmt.Errorf("the network is %s, and the configuration does not allow that", what)}
	if p.WaitsForConnectivity {
		r.awaitNetwork(task.FailureOf(err))
	} else {
		r.complete(r.result, err)
	}
	return false
}

// watchNetwork notes that a run waits for the network; the first one starts the watch, the last one that leaves ends
// it. Engine.mu is held.
func (e *Engine) watchNetwork(r *run) {
	if e.network == nil {
		return
	}
	e.offline[r] = struct{}{}
	if e.unwatch != nil || e.stopping {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.unwatch = cancel
	e.attempts.Go(func() {
		changes := e.network.Changes(ctx)
		for {
			select {
			case <-ctx.Done():
				return
			case _, ok := <-changes:
				if !ok {
					return
				}
				if e.network.Online() {
					e.tryNetwork()
				}
			}
		}
	})
}

// leaveNetwork notes that a run does not wait for the network. Engine.mu is held.
func (e *Engine) leaveNetwork(r *run) {
	delete(e.offline, r)
	if len(e.offline) == 0 && e.unwatch != nil {
		e.unwatch()
		e.unwatch = nil
	}
}

// stopWatches ends the watches of the network and of power. Engine.mu is held.
func (e *Engine) stopWatches() {
	if e.unwatch != nil {
		e.unwatch()
		e.unwatch = nil
	}
	if d := &e.discretion; d.unwatch != nil {
		d.unwatch()
		d.unwatch = nil
	}
}

// tryNetwork lets every run that waits for the network try at once.
func (e *Engine) tryNetwork() {
	e.mu.Lock()
	runs := make([]*run, 0, len(e.offline))
	for r := range e.offline {
		runs = append(runs, r)
	}
	e.mu.Unlock()
	for _, r := range runs {
		r.mu.Lock()
		if r.phase == waiting && r.rec.Waiting.Reason == task.WaitConnectivity {
			r.rec.Next = time.Time{}
			r.schedule()
		}
		r.unlock()
	}
}
