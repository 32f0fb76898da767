package transfer

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

const (
	// lookBusy is how often a spread is looked after while the ramp measures, lookIdle how often else.
	lookBusy = 10 * time.Millisecond
	lookIdle = 100 * time.Millisecond

	// mostFails is how many requests in a row a connection may lose while others go on. One that has brought forgiven
	// bytes before has lost none.
	mostFails = 3
	forgiven  = 1 << 20

	// mostTransactions is how many further requests are reported. A server that answers each with little needs many more.
	mostTransactions = 1000
)

// A spread is a file that comes over several connections: the download's own, with which it begins, and further ones
// as long as they help (ramp.go). What each brings follows from what is missing (pieces.go).
//
// The goroutine that runs the attempt conducts: it alone decides, starts segments and talks to the Observer. Each
// segment has a goroutine (segment.go), and where there are digests one follows the file's beginning (digest.go).
// None is left when spread returns. Locks are taken in this order, and none is held while another goroutine is waited
// for: gatherer.mu, then those of the part file and of the verifier; spread.mu alone, for a few comparisons.
type spread struct {
	d       *download
	resp    *http.Response // the download's own
	held    held           // what each response is held to
	ifRange string
	ctx     context.Context // of the further requests
	start   time.Time

	ended chan *segment // each once

	live    []*segment // that have not ended, in the order of their beginning
	slots   int        // connections that there are for segments: the attempt's own, and those that were taken
	ramp    ramp
	proved  bool          // one beside the first has done what it was to do
	closed  bool          // the server has refused one, or each has broken: no further ones
	own     time.Duration // how long the download's own request took to its first byte
	reply   time.Duration // how long the newest of all took
	looked  time.Duration
	usual   float64       // the mean rate of a connection; see expected
	patient time.Duration // how long a connection may stall now
	told    int64         // the Observer knows of so many bytes

	disturbed bool // a segment has ended since the last look

	mu     sync.Mutex
	pieces pieces
	moved  int64 // bytes that have come
}

// now is the time of a spread.
func (s *spread) now() time.Duration { return time.Since(s.start) }

// spreads reports whether further connections may join that of resp, which is accepted and goes on from what the part
// file has: by the rule by which it could be gone on from, and where what is missing is worth it.
func (d *download) spreads(resp *http.Response) bool {
	if d.Connections == nil || d.alone || d.Spec.Policy.Connections == 1 || d.foreign ||
		d.Spec.Request.Method != http.MethodGet || resp.Request == nil || resp.Uncompressed || coding(resp.Header) != "" {
		return false
	}
	total := d.part.Total()
	if total < spreadLeast || total-d.part.Written().Total() < spreadLeast || !d.part.Validator().Strong() && !d.proven() {
		return false
	}
	for _, v := range resp.Header.Values("Accept-Ranges") {
		if strings.EqualFold(strings.TrimSpace(v), "none") {
			return false
		}
	}
	return true
}

// spread brings what is missing, by resp, whose body is the file's bytes [from, end), and by further connections. whole is
// false, without an error, where no connection is left that the server lets ask for more.
func (d *download) spread(resp *http.Response, from, end int64) (whole bool, err error) {
	s := &spread{
		d: d, resp: resp, start: time.Now(), held: d.held(), slots: 1, patient: stallTime,
		ended: make(chan *segment), ramp: ramp{most: d.Spec.Policy.Connections}, told: -1,
	}
	if v, strong := s.held.validator.IfRange(); strong {
		s.ifRange = v
	}
	s.pieces = pieces{total: s.held.total, here: d.part.Written()}
	if sent := d.metrics.Transactions(); len(sent) > 0 {
		s.own = sent[len(sent)-1].FirstByte
	}
	s.reply = s.own
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithCancel(d.uncached())
	follow := d.digest.follow(s.ctx, d.part)
	defer func() {
		cancel()
		for _, g := range s.live {
			g.cancel()
		}
		var broken *segment
		for len(s.live) > 0 {
			g := <-s.ended
			s.remove(g)
			if g.how == failed || g.how == left {
				broken = g
			}
		}
		for ; s.slots > 1; s.slots-- {
			d.Connections.Give()
		}
		follow.end()
		if whole && broken != nil { // what it had gathered was to be the last
			whole, err = s.after(broken)
		}
	}()
	s.begin(from, end, spreadLeast, resp, 0)
	return s.conduct(follow)
}

// conduct runs until the file is whole.
func (s *spread) conduct(follow *follower) (whole bool, err error) {
	wanted := s.d.Connections.Wanted()
	timer := time.NewTimer(lookBusy)
	defer timer.Stop()
	s.tell()
	for {
		select {
		case g := <-s.ended:
			s.remove(g)
			if over, err := s.after(g); over || err != nil {
				return false, err
			}
			if s.isWhole() {
				s.tell()
				return true, nil
			}
			s.assign(g)
		case <-wanted:
			s.giveBack()
		case <-timer.C:
			s.look()
			s.tell()
			follow.wake()
			if s.isWhole() {
				return true, nil
			}
			if s.ramp.busy() || s.slots > len(s.live) { // one that is idle waits for a chance to help
				timer.Reset(lookBusy)
			} else {
				timer.Reset(lookIdle)
			}
		}
	}
}

// begin starts a segment, of which a rate is hoped for: with resp, or by asking.
func (s *spread) begin(from, limit int64, hoped float64, resp *http.Response, fails int) {
	g := &segment{resp: resp, asked: s.now(), fails: fails, sampled: from}
	ctx, cancel := context.WithCancel(s.ctx)
	g.cancel = cancel
	if resp != nil {
		g.cancel = func() {
			cancel()
			resp.Body.Close() // its request has the attempt's context
		}
	}
	s.mu.Lock()
	g.stretch = s.pieces.open(from, limit, hoped)
	s.mu.Unlock()
	s.live = append(s.live, g)
	go s.run(ctx, g)
}

// remove takes leave of a segment that has ended.
func (s *spread) remove(g *segment) {
	g.cancel()
	s.live = slices.DeleteFunc(s.live, func(l *segment) bool { return l == g })
	s.disturbed = true
	s.mu.Lock()
	s.pieces.close(g.stretch)
	s.mu.Unlock()
	if len(s.d.further) < mostTransactions {
		s.d.further = append(s.d.further, g.metrics.Transactions()...)
	}
}

// cut ends a segment. What it has not brought is others' at once.
func (s *spread) cut(g *segment) {
	g.cut = true
	s.mu.Lock()
	s.pieces.close(g.stretch)
	s.mu.Unlock()
	g.cancel()
}

// after says what becomes of the connection of a segment that has ended. over ends the spread without an error.
func (s *spread) after(g *segment) (over bool, err error) {
	switch {
	case g.how == left && g.panic == nil:
		runtime.Goexit()
	case g.how == left:
		panic(g.panic)
	case g.how == failed:
		return false, g.err
	case g.how == otherVersion:
		s.d.useless, s.d.alone = g.err.Error(), true
		return false, errStartOver
	case g.drop:
	case g.how == refused:
		s.closed = true
		if s.slots == 1 {
			s.d.alone = true
			return true, nil
		}
	case g.how == lost && !g.cut:
		if s.slots == 1 && !g.short || s.d.ctx.Err() != nil {
			return false, afterFirst(s.d.wireError(g.err))
		}
		g.fails++
		if g.at-g.start >= forgiven {
			g.fails = 1
		}
		if g.begun() && g.fails < mostFails {
			return false, nil
		}
		if s.slots == 1 { // its parts end too early, again and again: nothing but the whole can be had of this server
			s.d.useless, s.d.alone = g.err.Error(), true
			return false, errStartOver
		}
		s.ramp.fail(s.now())
		s.closed = s.closed || !s.proved && (g.begun() || s.resp.ProtoMajor > 1)
	default:
		g.fails = 0
		s.proved = s.proved || g.resp == nil && g.begun() && !g.cut
		return false, nil
	}
	s.drop()
	return false, nil
}

// afterFirst is an error of a further request, as the attempt's: its first one had left.
func afterFirst(err error) error {
	if e, ok := err.(*task.Error); ok && e.Unsent {
		sent := *e
		sent.Unsent = false
		return &sent
	}
	return err
}

// assign gives work to the connections that have none; after is a segment that has just left one, nil: there is none.
func (s *spread) assign(after *segment) {
	for len(s.live) < s.slots {
		hoped := s.expected()
		s.mu.Lock()
		from, limit, ok := s.pieces.next(hoped, s.reply)
		s.mu.Unlock()
		if !ok {
			return
		}
		fails := 0
		if after != nil {
			fails, after = after.fails, nil
		}
		s.begin(from, limit, hoped, nil, fails)
	}
}

// expected is the rate of a further connection, as far as can be known: the mean of those that there are, or have been not
// long ago: those that are left in the end may be the slow ones.
func (s *spread) expected() float64 {
	if s.usual == 0 {
		return spreadLeast
	}
	return max(1, s.usual)
}

// tell tells the Observer what is here.
func (s *spread) tell() {
	s.mu.Lock()
	here := s.pieces.here.Total()
	s.mu.Unlock()
	if here != s.told {
		s.told = here
		s.d.Observer.Received(here, s.held.total)
	}
}

// isWhole reports whether all is here, and each response that has brought its last byte has ended: it might go on.
func (s *spread) isWhole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pieces.whole() && !slices.ContainsFunc(s.live, func(g *segment) bool { return !g.cut && g.at == g.limit })
}
