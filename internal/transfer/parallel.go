package transfer

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/task"
)

const (
	// mostLost is how many sections in a row may fail, and none arrive: what ails them ails those that would follow.
	mostLost = 3
	// moreAfter is how often a further connection is asked for while sections wait for one.
	moreAfter = time.Second
)

// A section is a part of an upload's body that is sent by itself.
type section struct {
	number   int   // from 1
	from, to int64 // of the body
}

// A parallel sends sections of an upload's body side by side: over the attempt's own connection, and over as many further
// ones as are to be had. They are taken at once, and not step by step as those of a download: who cuts a body into
// sections wants them sent side by side, and what a connection gains is known when its section has ended. One that another
// task wants is given back when its section has ended.
//
// A section is sent once; what becomes of those that have failed is the next attempt's. The first such failure is the
// outcome, unless a worse one follows. One section's failure stops no other. After an answer that holds for all of them (429
// and 503, and each that is not worth another attempt), or several failures in a row, none begins any more. A changed source, and
// the end of the attempt's context, end all at once.
//
// The goroutine that runs the attempt conducts. Each section has a goroutine, and a run: with its own idle timer, metrics
// and context, so that what stalls ends alone. The attempt's idle timer stands still. None is left when transmit returns.
type parallel struct {
	*run
	size     int64     // of the body
	here     int64     // of it that the server has already
	sections []section // that it does not have, in the order in which they begin
	// target is the URL that a section goes to first.
	target func(section) string
	// bring brings one to the server, by a run of its own. It returns neither an answer nor an error once the server has it; an
	// answer says why it has not. It is called from several goroutines.
	bring func(ctx context.Context, r *run, s section) (*http.Response, error)

	all    context.Context // of the sections
	cancel context.CancelFunc
	ended  chan *beside // each once
	live   []*beside
	slots  int  // connections: the attempt's own, and those that were taken
	owed   int  // of them, are to be given back
	lost   int  // sections, in a row
	closed bool // no section begins any more
	worst  outcome

	asking sync.Mutex // held while the Observer is asked

	mu        sync.Mutex
	left      int64 // bytes of the body that have left, or were there
	confirmed int64 // that are there
}

// outcome is why a parallel did not bring all.
type outcome struct {
	gravity gravity
	resp    *http.Response
	err     error
}

// gravity orders outcomes.
type gravity int

const (
	none    gravity = iota
	ofOne           // section alone
	ofRate          // the server wants to be asked less
	ofAll           // the server takes none of them, or not so
	atOnce          // whatever is under way is of no use
	callers         // as atOnce, and it is the caller's own
)

// transmit sends the sections. It returns neither an answer nor an error once the server has all of them.
func (p *parallel) transmit() (resp *http.Response, err error) {
	p.idle.hold()
	defer p.idle.release()
	p.all, p.cancel = context.WithCancel(httpcache.WithoutCache(p.ctx))
	p.ended, p.slots, p.left, p.confirmed = make(chan *beside), 1, p.here, p.here
	defer func() {
		p.cancel()
		for len(p.live) > 0 {
			p.remove(<-p.ended)
		}
		for ; p.slots > 1; p.slots-- {
			p.Connections.Give()
		}
	}()
	if p.here > 0 {
		p.mu.Lock()
		p.tell()
		p.mu.Unlock()
	}
	return p.conduct()
}

// conduct runs until no section is left that may begin, and none is under way.
func (p *parallel) conduct() (*http.Response, error) {
	var wanted <-chan struct{}
	if p.Connections != nil {
		wanted = p.Connections.Wanted()
	}
	again := time.NewTicker(moreAfter)
	defer again.Stop()
	for p.assign(); len(p.live) > 0; p.assign() {
		select {
		case b := <-p.ended:
			p.remove(b)
			p.after(b)
		case <-wanted:
			p.owed++
		case <-again.C:
		}
	}
	if stopped := p.stopped(); stopped != nil && p.worst.gravity < callers {
		return nil, stopped
	}
	return p.worst.resp, p.worst.err
}

// assign begins sections as far as there are connections, and gives those back that have none, or are wanted.
func (p *parallel) assign() {
	more := func() bool { return len(p.sections) > 0 && !p.closed && p.all.Err() == nil }
	for ; p.owed > 0 && p.slots > 1 && p.slots > len(p.live); p.owed-- {
		p.drop()
	}
	if p.slots == 1 {
		p.owed = 0
	}
	for more() && (len(p.live) < p.slots || p.take()) {
		p.begin(p.sections[0])
		p.sections = p.sections[1:]
	}
	for !more() && p.slots > 1 && p.slots > len(p.live) {
		p.drop()
	}
}

// take takes a further connection for the next section, if one is to be had.
func (p *parallel) take() bool {
	most := p.Spec.Policy.Connections
	if p.Connections == nil || p.owed > 0 || most > 0 && p.slots >= most || !p.Connections.Take(p.target(p.sections[0])) {
		return false
	}
	p.slots++
	return true
}

func (p *parallel) drop() {
	p.slots--
	p.Connections.Give()
}

// begin starts a section. The attempt's own connection is that of the first of those under way which has no further one.
func (p *parallel) begin(s section) {
	b := &beside{section: s, p: p}
	b.further = slices.ContainsFunc(p.live, func(l *beside) bool { return !l.further })
	p.live = append(p.live, b)
	go b.run()
}

// remove takes leave of a section that has ended.
func (p *parallel) remove(b *beside) {
	p.live = slices.DeleteFunc(p.live, func(l *beside) bool { return l == b })
	if room := mostTransactions - len(p.further); room > 0 {
		list := b.attempt.metrics.Transactions()
		p.further = append(p.further, list[:min(room, len(list))]...)
	}
}

// after says what follows from a section that has ended.
func (p *parallel) after(b *beside) {
	if !b.whole {
		if b.panic == nil {
			runtime.Goexit()
		}
		panic(b.panic)
	}
	g := b.gravity()
	if g == none {
		p.lost = 0
		p.mu.Lock()
		p.confirmed += b.to - b.from
		p.leftTo(b, b.to)
		p.mu.Unlock()
		return
	}
	if p.all.Err() != nil { // all were ended
		return
	}
	if p.lost++; g > ofOne || p.lost == mostLost {
		p.closed = true
	}
	if g >= atOnce {
		p.cancel()
	}
	if g > p.worst.gravity {
		p.worst = outcome{g, b.resp, b.err}
	}
}

// gravity of how a section has ended.
func (b *beside) gravity() gravity {
	switch {
	case b.attempt.observed != nil:
		return callers
	case b.err != nil:
		return gravityOf(task.CodeOf(b.err))
	case b.resp == nil:
		return none
	}
	switch b.resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return ofRate
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return ofOne
	}
	return ofAll
}

// gravityOf an error: what the wire does to one section it need not do to another.
func gravityOf(code task.Code) gravity {
	switch code {
	case task.TimedOut, task.CannotConnect, task.ConnectionLost, task.DNSLookupFailed, task.NotConnected, task.CannotFindHost,
		task.SecureConnectionFailed:
		return ofOne
	case task.SourceChanged:
		return atOnce
	}
	return ofAll
}

// leftTo notes that a section's bytes up to one of the body have left. It may have been sent more than once. p.mu is held.
func (p *parallel) leftTo(b *beside, upto int64) {
	n := min(upto, b.to) - b.from
	if n > b.most {
		p.left += n - b.most
		b.most = n
	}
	p.tell()
}

// tell tells the Observer what has left: that the server has it, where it has all of that. p.mu is held.
func (p *parallel) tell() {
	if o, ok := p.Observer.(Resumer); ok && p.left == p.confirmed {
		o.Confirmed(p.left, p.size)
		return
	}
	p.Observer.Sent(p.left, p.size)
}
