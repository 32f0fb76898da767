package transfer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
)

// mostRefusal is how much is kept, in bytes, of the body of an answer that refuses a section.
const mostRefusal = 64 << 10

// beside is one section of a parallel on its way, and the Observer of its attempt.
type beside struct {
	section
	p       *parallel
	further bool // by a connection beyond the attempt's own
	attempt run
	most    int64 // of its bytes, that have left; parallel.mu

	// Set before it is sent to parallel.ended.
	resp  *http.Response
	err   error
	whole bool // bring has returned
	panic any
}

// run is the section's goroutine.
func (b *beside) run() {
	defer func() {
		b.panic = recover()
		b.p.ended <- b
	}()
	a := *b.p.Attempt
	a.Observer = b
	b.attempt.Attempt = &a
	r := &b.attempt
	ctx, stop := context.WithCancelCause(b.p.all)
	defer stop(nil)
	ctx = r.begin(ctx, stop)
	defer r.idle.stop()
	if b.further {
		// Also where the host's protocol is not known yet: to find out would take as long as a section. One of HTTP/1.1 has its kept
		// connections in two places then, of which each section uses those of its kind again.
		ctx = transport.Apart(ctx)
	}
	b.resp, b.err = b.p.bring(ctx, r, b.section)
	if b.err == nil && b.resp != nil {
		b.err = keep(r, b.resp)
	}
	if b.err == errIdle {
		b.err = r.idle.expired(r.op(), task.Redact(r.Spec.Request.URL))
	}
	if e, ok := b.err.(*task.Error); ok {
		named := *e
		named.Err = fmt.Errorf("part %d of the upload: %w", b.number, e.Err)
		b.err = &named
	}
	b.whole = true
}

// kept is the body of an answer, in memory.
type kept struct {
	bytes.Reader
	all []byte
}

func (*kept) Close() error { return nil }

// keep reads the body of an answer into memory, so that its connection is free, unless it is there.
func keep(r *run, resp *http.Response) error {
	if _, ok := resp.Body.(*kept); ok {
		return nil
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(io.LimitReader(alive{r, resp.Body}, mostRefusal))
	if err != nil {
		return r.wireError(err)
	}
	hold(resp, all)
	return nil
}

// hold makes all the body of an answer.
func hold(resp *http.Response, all []byte) {
	b := &kept{all: all}
	b.Reset(all)
	resp.Body, resp.ContentLength = b, int64(len(all))
}

// alive is the body of an answer, whose bytes are life.
type alive struct {
	run  *run
	body io.Reader
}

func (a alive) Read(p []byte) (int, error) { return a.run.read(a.run.ctx, a.body, p) }

// Sent is told by the goroutine that sends.
func (b *beside) Sent(total, _ int64) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	b.p.leftTo(b, total)
}

// Redirect follows with method and body, and asks nobody: where a section goes is not where the task does.
func (b *beside) Redirect(_ context.Context, status int, _, to *http.Request) (*http.Request, error) {
	if status != http.StatusTemporaryRedirect && status != http.StatusPermanentRedirect {
		return nil, nil
	}
	return to, nil
}

// Challenge asks the Observer of the attempt, which is asked by one section at a time.
func (b *beside) Challenge(ctx context.Context, c task.Challenge) (task.Answer, error) {
	b.p.asking.Lock()
	defer b.p.asking.Unlock()
	if ctx.Err() != nil {
		return task.Answer{}, context.Cause(ctx)
	}
	return b.p.Observer.Challenge(ctx, c)
}

// No section tells more.
func (b *beside) Response(context.Context, *task.Response) error { return nil }
func (b *beside) Received(_, _ int64)                            {}
func (b *beside) Data(context.Context, []byte) error             { return nil }
