package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/transport"
)

// A segment is one request of a spread, and the goroutine that brings its bytes.
type segment struct {
	*stretch // spread.mu; at is written by the segment's goroutine alone

	resp   *http.Response // the download's own, with which the spread began; nil: it is asked for
	cancel func()         // ends it from any goroutine
	asked  time.Duration  // when; like all times of a spread, since its beginning
	fails  int            // requests before it that were lost, in a row

	metrics transport.Metrics
	gather  gatherer

	// spread.mu
	began time.Duration // when its first byte came
	last  time.Duration // when its newest did
	paced bool          // it waits for a limit
	ready time.Duration // when it has waited for one last

	// The conductor's.
	sampled  int64         // at, when rate was measured last
	moment   time.Duration // when the last moment began that least was measured over
	momentAt int64         // at, then
	lately   float64       // what it brought in that moment, in bytes a second
	cut      bool          // it was ended by us
	drop     bool          // its connection is given back

	// Set before it is sent to spread.ended.
	how   ending
	err   error
	short bool // of lost: all of the message is here, and less than it says
	panic any
}

// ending is how a segment ended.
type ending int

const (
	left         ending = iota // by a panic, or runtime.Goexit, of what it called
	done                       // its bytes are here, or of no use any more
	lost                       // the connection failed, or the body ended too early
	refused                    // the server does not answer as it was asked to
	otherVersion               // its bytes are of another file than those that are here
	failed                     // the disk
)

// run is the segment's goroutine.
func (s *spread) run(ctx context.Context, g *segment) {
	defer func() {
		g.panic = recover()
		s.ended <- g
	}()
	g.how, g.err = s.bring(ctx, g)
}

// bring asks for the segment's bytes, unless they are there, and writes them to the part file.
func (s *spread) bring(ctx context.Context, g *segment) (ending, error) {
	resp := g.resp
	if resp == nil {
		var how ending
		var err error
		if resp, how, err = s.ask(ctx, g); err != nil {
			return how, err
		}
	}
	defer resp.Body.Close()
	buf := takeBuffer(g.limit - g.start)
	defer buf.free()
	g.gather.begin(s.d, buf.b, g.start)
	defer g.gather.end()
	for {
		n, err := s.read(ctx, g, resp.Body, g.gather.room())
		keep, on := s.brought(g, n)
		atEnd := g.at == g.limit
		if failure := g.gather.added(keep, err != nil || !on || atEnd); failure != nil {
			return failed, failure
		}
		switch {
		case atEnd && n > keep:
			return otherVersion, fmt.Errorf("its part of the file goes on after byte %d, where it was to end", g.limit)
		case !on, atEnd && err != nil:
			return done, nil
		case errors.Is(err, io.EOF):
			g.short = delimited(resp)
			return lost, fmt.Errorf("the body ends at byte %d, and %d were promised: %w", g.at, g.limit, io.ErrUnexpectedEOF)
		case err != nil:
			return lost, err
		}
	}
}

// delimited reports whether a body's end is said in the message: what is cut off on the way is no end then.
func delimited(resp *http.Response) bool {
	return resp.ContentLength >= 0 || len(resp.TransferEncoding) > 0 || resp.ProtoMajor > 1
}

// turn is from how long a wait for a limit on it is one, and not how long the taking takes.
const turn = time.Millisecond

// read is run.read of a segment's body, and notes for how long the segment waits for a limit, and not for its server.
func (s *spread) read(ctx context.Context, g *segment, body io.Reader, p []byte) (int, error) {
	if s.d.Limits.rates() == 0 {
		return s.d.read(ctx, body, p)
	}
	began := s.now()
	s.mu.Lock()
	g.paced = true
	s.mu.Unlock()
	taken, err := s.d.run.take(ctx, received, len(p))
	s.mu.Lock()
	g.paced = false
	if now := s.now(); now-began >= turn {
		g.ready = now
	}
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return s.d.readTaken(body, p[:taken])
}

// brought notes n bytes that a segment has brought; see pieces.brought.
func (s *spread) brought(g *segment, n int) (keep int, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 {
		g.last = s.now()
		if !g.begun() {
			g.began = g.last
		}
		s.moved += int64(n)
	}
	return s.pieces.brought(g.stretch, n)
}

// ask sends the request for a segment, to where the download's own response came from, and judges its response.
//
// Nobody is asked about it: what needs an answer, as a redirect or a challenge does, is a refusal.
func (s *spread) ask(ctx context.Context, g *segment) (*http.Response, ending, error) {
	ctx = g.metrics.TraceAlone(ctx, nil)
	if s.resp.ProtoMajor > 1 {
		ctx = transport.Apart(ctx) // another stream would share what holds the first one back
	}
	q := question{from: g.start, to: g.limit, ifRange: s.ifRange}
	req := s.resp.Request.Clone(ctx)
	q.set(req.Header)
	resp, err := s.d.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, lost, err
	}
	span, why := judgeSegment(q, s.held, resp)
	if why == "" {
		s.mu.Lock()
		g.limit = span.end
		s.mu.Unlock()
		return resp, done, nil
	}
	resp.Body.Close()
	how := refused
	if isOtherVersion(s.held, resp) {
		how = otherVersion
	}
	return nil, how, errors.New(why)
}

// judgeSegment says why a response is not a part of the file that is held; empty: it is, the range that is returned.
func judgeSegment(q question, h held, resp *http.Response) (c contentRange, why string) {
	if resp.StatusCode != http.StatusPartialContent {
		return c, "asked for a part of the file, it answered " + statusText(resp)
	}
	if resp.Uncompressed || coding(resp.Header) != "" { // the first response was not
		return c, "its part of the file is coded, or was decoded on the way"
	}
	return judgeRange(q, h, resp)
}

// isOtherVersion reports whether a response to a range says that the file has become another: by its validator, or its
// length. A status of an error says nothing of the file.
func isOtherVersion(h held, resp *http.Response) bool {
	if resp.StatusCode != http.StatusPartialContent && resp.StatusCode != http.StatusOK {
		return false
	}
	if c, ok := parseContentRange(resp.Header.Get("Content-Range")); ok && c.total >= 0 && c.total != h.total {
		return true
	}
	sent := partial.FromHeader(resp.Header)
	return !h.validator.Matches(sent) && contradicts(h.validator, sent)
}

// sample measures the segment's rate, as an average that forgets half of the past every quarter second, and the least of it
// and the last moment's. Called with spread.mu.
func (g *segment) sample(now, since, moment time.Duration) {
	bytes, silent := g.at-g.sampled, now-max(g.last, g.asked)
	g.sampled = g.at
	switch {
	case silent >= stallTime:
		g.rate = 0
	case !g.begun():
	case g.rate < 0:
		if age := now - g.began; age >= momentLeast {
			g.rate = float64(g.at-g.start) / age.Seconds()
			g.lately, g.moment, g.momentAt = g.rate, now, g.at
		}
	default:
		weight := 1 - math.Exp2(-since.Seconds()*4)
		g.rate += weight * (float64(bytes)/since.Seconds() - g.rate)
		if age := now - g.moment; age >= moment {
			g.lately, g.moment, g.momentAt = float64(g.at-g.momentAt)/age.Seconds(), now, g.at
		}
	}
	switch {
	case silent >= moment:
		g.least = 0
	case g.rate >= 0:
		g.least = min(g.rate, g.lately)
	}
}

// uncached is ctx of a request whose response no cache has or keeps, and which asks nobody.
func (d *download) uncached() context.Context { return httpcache.WithoutCache(d.ctx) }
