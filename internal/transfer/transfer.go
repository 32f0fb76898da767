// Package transfer is how one attempt of one task runs: a download into its part file and to its final name, a data
// task's body into memory, an upload. When a task runs, whether it runs again and who is told is package engine's.
//
// An attempt is one call of Run, in the caller's goroutine. It sends one request, and more of them where redirects,
// a resume that the server does not honour, or ranges shorter than asked for need them. A large download sends more at once,
// over further connections, as long as each of them makes it faster: spread.go conducts, ramp.go says how many, pieces.go
// which bytes, segment.go is one of them. An upload that the server has named goes on where it was cut: resumable.go conducts,
// uploadcareful.go asks first, uploadanswer.go judges, interop.go and tus.go are what is spoken. One in parts (multipart.go) sends
// those side by side (parallel.go) and completes them (completion.go).
package transfer

import (
	"context"
	"io"
	"net/http"
	"slices"

	"github.com/urlsession/urlsession/internal/task"
)

// Attempt is one run of one task.
type Attempt struct {
	ID     task.ID
	Number int        // from 1
	Spec   *task.Spec // not changed

	// Body opens the request's body from its start, where that is no file; nil: there is none. To open it again, for a
	// redirect, rewinds it, or is a task.BodyStreamExhausted.
	Body func() (io.ReadCloser, error)

	// Commit is what an earlier attempt of a download has told its Committer last, and whose outcome is not known; nil:
	// nothing. Where its rename was done, the download ends with that file.
	Commit *task.Commit

	// Upload is what an earlier attempt has told its Resumer last; nil: nothing that can be gone on from.
	Upload *task.UploadState

	// Answered are the answers to challenges of earlier attempts, at most one a protection space.
	Answered []task.Answered

	// RoundTripper is the chain without redirects and decoding.
	RoundTripper http.RoundTripper
	// Limits bound the bytes received, and apart from those the bytes sent, each together with the other attempts that have
	// it: the task's, its session's, the daemon's, in this order.
	Limits Limits
	// Connections are those beyond the first, which an attempt has; nil: a download, or an upload, has that alone.
	Connections Connections
	// Temporary is the folder of a download without a destination, clean and absolute, of which only this user may read:
	// see TemporaryTask. Empty: the system's.
	Temporary string
	Observer  Observer

	// Stop ends the context that Run is given, where the caller of Run has its function at hand; nil: Run makes a context of
	// its own below that.
	Stop context.CancelCauseFunc
}

// Observer is told, in order, what happens. Its methods are called by one goroutine at a time, but for Sent, which may
// be called beside the others. The idle timer stands still while one runs. What they are given is theirs until they
// return, but for a Response, which is theirs to keep.
type Observer interface {
	// Redirect is asked what a redirect is followed with: to, which may be changed, by default. A nil request refuses:
	// the redirect itself is the response. An error ends the attempt.
	Redirect(ctx context.Context, status int, from, to *http.Request) (*http.Request, error)
	// Challenge is asked for a credential, where Policy.Ask.Challenge is set. An error ends the attempt.
	Challenge(ctx context.Context, c task.Challenge) (task.Answer, error)
	// Response is told the final head, before its body is read. It comes again when a download has to start over in the
	// midst. An error ends the attempt and is what Run returns; what a download holds on disk stays as it is.
	Response(ctx context.Context, r *task.Response) error
	// Sent says how many bytes of the request's body have left. It starts over when the body is sent again. expected is
	// -1 while it is unknown.
	Sent(total, expected int64)
	// Received says how many bytes of the body are here, those of a resumed download's earlier attempts included.
	Received(total, expected int64)
	// Data hands over a piece of the body (Spec.Stream). The next is read when it returns.
	Data(ctx context.Context, p []byte) error
}

// Connections hands out what is left of a host's connections. Its methods may be called from any goroutine; no method
// blocks.
type Connections interface {
	// Take takes one more to the host of a URL, that of the response, where a redirect may have led: if that host has one
	// which no other task waits for. Each is given back before Run returns, and before one to another host is taken.
	Take(url string) bool
	Give()
	// Wanted receives when another task waits for what was taken: one is to be given back soon, and another time one more
	// for each time that it receives.
	Wanted() <-chan struct{}
}

// Committer is an Observer that is told of a download's last step before it is taken, so that it can be recorded: with
// that record an attempt after a kill knows its file again (Attempt.Commit). An error keeps the part file as it is, and
// ends the attempt.
type Committer interface {
	Committing(c *task.Commit) error
}

// Result is what an attempt brought. What is known is set beside an error too.
type Result struct {
	Response     *task.Response
	Path, Digest string // a download's file, and the digest that it was found to have; empty: none was given
	Body         []byte // data and upload, unless Spec.Stream
	Transactions []task.Transaction
	// Unsent says that no byte of a request has left, but for those that were refused for want of credentials (401, 407):
	// whatever ended the attempt, nothing of it can have been applied.
	Unsent bool
	// ResumeData is of a download that failed or was cancelled and holds bytes that can be gone on from.
	ResumeData *task.ResumeData
}

// Run runs one attempt to its end. ctx ends it before; what has arrived of a download is then on disk and recorded when
// Run returns.
//
// An error is a *task.Error, with Unsent set where no byte of the request had left or nothing of it was looked at, but for two: the Observer's own is
// returned as it is, and context.Cause(ctx) where ctx ended the attempt. After either Run may be called again.
func Run(ctx context.Context, a *Attempt) (Result, error) {
	stop := a.Stop
	if stop == nil {
		ctx, stop = context.WithCancelCause(ctx)
		defer stop(nil)
	}
	r := &run{Attempt: a}
	ctx = r.begin(ctx, stop)
	defer r.idle.stop()
	var err error
	if a.Spec.Kind == task.Download {
		err = r.download(ctx)
	} else {
		err = r.data(ctx)
	}
	if err == errIdle { // the Observer's, which has ended with its context
		err = r.idle.expired(r.op(), task.Redact(r.Spec.Request.URL))
	}
	r.result.Transactions = r.metrics.Transactions()
	r.result.Unsent = r.unsent() && len(r.further) == 0
	r.result.Transactions = append(r.result.Transactions, r.further...)
	if r.upload != nil {
		r.upload.conceal(r.result.Transactions)
	}
	if e, ok := err.(*task.Error); ok && e.Unsent && r.applied() {
		sent := *e
		sent.Unsent = false
		err = &sent
	}
	return r.result, err
}

// applied reports that an earlier request than the last one may have done something, as one that is answered by 303 has.
// GET, HEAD and OPTIONS do nothing, nor does what is refused, for want of a condition too (RFC 9110 §15.5.13), or passed on with
// its method (307, 308).
func (r *run) applied() bool {
	return slices.ContainsFunc(r.result.Transactions, func(x task.Transaction) bool {
		switch x.Status {
		case 0, http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
			http.StatusExpectationFailed, http.StatusPreconditionFailed:
			return false
		}
		return x.Method != http.MethodGet && x.Method != http.MethodHead && x.Method != http.MethodOptions
	})
}

// unsent is Result.Unsent: all that was sent was refused, but for the last, which may not have left. One that a redirect
// followed has been applied.
func (r *run) unsent() bool {
	list := r.result.Transactions
	for i, x := range list {
		refused := x.Status == http.StatusUnauthorized || x.Status == http.StatusProxyAuthRequired ||
			x.Method == http.MethodOptions && r.upload != nil // what the server takes was asked
		if !refused && (i < len(list)-1 || !r.metrics.Unsent()) {
			return false
		}
	}
	return true
}
