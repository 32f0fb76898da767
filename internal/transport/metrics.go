package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/httpcache"
	"github.com/urlsession/urlsession/internal/task"
)

// Activity is told what a request does before its body moves; an idle timer is built on it. Its methods are called from
// any goroutine, must not block, and may still be called shortly after RoundTrip has returned.
//
// Between Queued and the next Moved a request waits for a connection because its host's are all in use
// (Options.MaxConnsPerHost), or for a token that is being refreshed: nothing can arrive or leave, so an idle timer must
// stand still. Every sending begins with Queued; where a connection is free, Moved follows at once.
type Activity interface {
	Queued()
	// Moved: a name was resolved, a connection begun, made, secured or taken over, the head sent, a 1xx or the response's
	// first byte received.
	Moved()
}

// maxInformational is how many 1xx responses one request may get, and maxProgress how many more of 104: a long upload gets
// one a progress report, of 100 GiB one a MiB.
const (
	maxInformational = 1000
	maxProgress      = 100_000
)

// mostTransactions is how many sendings of requests are kept after the first: the newest half, and of those before the oldest. An
// upload in pieces has as many requests as its server wants, and an event that no listener would take.
const mostTransactions = 1000

// Metrics collects a task.Transaction for every sending of a request below the context that Trace made, of very many the first and
// the last. It is safe for concurrent use, but expects one request at a time.
type Metrics struct {
	activity Activity
	trace    httptrace.ClientTrace
	ctx      traced

	mu    sync.Mutex
	named *url.URL // whose text is name; see Name
	name  string
	first transaction
	more  []*transaction // after the first
	tx    *transaction   // the newest; nil: there is none
}

// transaction is a task.Transaction under way, its strings not made yet. Metrics.mu guards it.
type transaction struct {
	url    *url.URL
	method string
	status int
	proto  string
	remote string
	start  time.Time
	fetch  task.FetchType

	dns, connect, tls, firstByte, end time.Duration
	dnsAt, connectAt, tlsAt           time.Duration // since start

	reused        bool
	uploads       bool // it has a body
	informational int
	progress      int // of 104
	connState
	body tracedBody
}

// connState is what an error's code depends on.
type connState struct {
	gotConn         bool // a connection was found or made
	conn            *conn
	wroteHead       bool // the request's head had been written, at least once
	h2              bool
	handshakeFailed bool
	certRequested   bool // the server asked for a client certificate
	certSent        bool
}

// cut reports that the server's bytes ended while more were wanted: net/http takes what came for malformed then.
func (s *connState) cut() bool { return s.conn != nil && s.conn.cut.Load() }

// traced is a context with Metrics.
type traced struct {
	context.Context
	m     *Metrics
	alone bool // it has no deadline
	bare  bool // and, for now, no other values
}

func (t *traced) Value(key any) any {
	if _, ok := key.(httpcache.ReporterKey); ok {
		return t.m
	}
	if t.bare {
		return nil
	}
	return t.Context.Value(key)
}

func (t *traced) Deadline() (time.Time, bool) {
	if t.alone {
		return time.Time{}, false
	}
	return t.Context.Deadline()
}

// Trace makes a context whose requests are collected, and tell activity, which may be nil. It keeps an httptrace that
// ctx has.
func Trace(ctx context.Context, activity Activity) (context.Context, *Metrics) {
	m := new(Metrics)
	m.begin(ctx, activity)
	return httptrace.WithClientTrace(&m.ctx, &m.trace), m
}

// TraceAlone is Trace for a zero Metrics and a context of which only the end counts: no httptrace of it is kept, and its
// deadline is not looked at before it has come.
func (m *Metrics) TraceAlone(ctx context.Context, activity Activity) context.Context {
	m.begin(ctx, activity)
	m.ctx.alone, m.ctx.bare = true, true // an httptrace that is hidden now stays so behind ours
	traced := httptrace.WithClientTrace(&m.ctx, &m.trace)
	m.ctx.bare = false
	return traced
}

func (m *Metrics) begin(ctx context.Context, activity Activity) {
	m.activity, m.ctx = activity, traced{Context: ctx, m: m}
	m.trace = httptrace.ClientTrace{
		GotConn:              m.gotConn,
		TLSHandshakeStart:    m.tlsStart,
		TLSHandshakeDone:     m.tlsDone,
		WroteHeaders:         m.wroteHeaders,
		Got1xxResponse:       m.got1xx,
		GotFirstResponseByte: m.gotFirstByte,
	}
	if activity != nil {
		m.trace.GetConn = m.getConn
	}
}

func metricsOf(ctx context.Context) *Metrics {
	m, _ := httpcache.ReporterOf(ctx).(*Metrics)
	return m
}

// Transactions are the requests so far, in order, of which some in the midst may be left out; one whose body is still read has no End.
func (m *Metrics) Transactions() []task.Transaction {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tx == nil {
		return nil
	}
	list := make([]task.Transaction, 1, 1+len(m.more))
	list[0] = m.public(&m.first)
	for _, x := range m.more {
		list = append(list, m.public(x))
	}
	return list
}

// Name says how a URL reads, so that a transaction of it need not find out. u is not changed from then on.
func (m *Metrics) Name(u *url.URL, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.named, m.name = u, text
}

func (m *Metrics) public(x *transaction) task.Transaction {
	text := ""
	if x.url == m.named {
		text = task.Redact(m.name)
	} else {
		text = task.RedactURL(x.url)
	}
	return task.Transaction{
		URL: text, Method: x.method, Status: x.status, Proto: x.proto, Remote: x.remote, Reused: x.reused, Fetch: x.fetch,
		Start: x.start, DNS: x.dns, Connect: x.connect, TLS: x.tls, FirstByte: x.firstByte, End: x.end,
	}
}

// Unsent reports that the last request's head had not been written, over no connection that net/http tried. The
// task.Error of a request that got no response says it more exactly.
func (m *Metrics) Unsent() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tx == nil || !m.tx.wroteHead
}

func (m *Metrics) request(req *http.Request) *transaction {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := &m.first
	if m.tx != nil {
		x = new(transaction)
		if len(m.more) == mostTransactions {
			m.more = slices.Delete(m.more, mostTransactions/2, mostTransactions/2+1)
		}
		m.more = append(m.more, x)
	}
	x.url, x.method, x.start = req.URL, methodOf(req), time.Now()
	x.uploads = req.Body != nil && req.Body != http.NoBody
	m.tx = x
	return x
}

// failed ends a transaction that got no response.
func (m *Metrics) failed(x *transaction) connState {
	m.mu.Lock()
	defer m.mu.Unlock()
	x.end = time.Since(x.start)
	return x.connState
}

// refused notes the status of a proxy that has not let a request pass.
func (m *Metrics) refused(x *transaction, status int) {
	m.mu.Lock()
	x.status = status
	m.mu.Unlock()
}

// response notes resp, and wraps its body to see its end.
func (m *Metrics) response(x *transaction, resp *http.Response) {
	m.mu.Lock()
	x.status, x.proto = resp.StatusCode, resp.Proto
	m.mu.Unlock()
	if _, upgraded := resp.Body.(io.Writer); upgraded {
		return
	}
	if resp.Body == http.NoBody {
		m.ended(x)
		return
	}
	x.body = tracedBody{ReadCloser: resp.Body, m: m, x: x}
	resp.Body = &x.body
}

func (m *Metrics) ended(x *transaction) {
	m.mu.Lock()
	if x.end == 0 {
		x.end = time.Since(x.start)
	}
	m.mu.Unlock()
}

// tracedBody stamps a transaction's end: its body's, or where reading it was given up.
type tracedBody struct {
	io.ReadCloser
	m *Metrics
	x *transaction
}

func (b *tracedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.m.ended(b.x)
		if err != io.EOF && codeOf(err) == task.CannotParseResponse && b.x.cut() {
			err = fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
		}
	}
	return n, err
}

func (b *tracedBody) Close() error {
	b.m.ended(b.x)
	return b.ReadCloser.Close()
}

// note changes the newest transaction. A dial that outlives the request that began it, which net/http allows, is not
// the next one's: conn says that f is about making a connection, which counts only while the transaction has none.
func (m *Metrics) note(conn bool, f func(x *transaction)) {
	m.mu.Lock()
	if x := m.tx; x != nil && !(conn && x.gotConn) {
		f(x)
	}
	m.mu.Unlock()
	m.moved()
}

func (m *Metrics) moved() {
	if m.activity != nil {
		m.activity.Moved()
	}
}

func (m *Metrics) queued() {
	if m.activity != nil {
		m.activity.Queued()
	}
}

func (m *Metrics) getConn(string) { m.queued() }

func (m *Metrics) gotConn(info httptrace.GotConnInfo) {
	c := base(info.Conn)
	if c != nil {
		c.know(info.Conn)
		if info.Reused && !c.h2 {
			c.awaitClean()
		}
	}
	m.note(false, func(x *transaction) {
		x.gotConn, x.reused, x.conn = true, info.Reused, c
		if c != nil {
			x.h2, x.remote = c.h2, c.remote
		}
	})
}

// base is our connection under as much TLS as there is: through an https proxy it is twofold.
func base(c net.Conn) *conn {
	for {
		switch inner := c.(type) {
		case *conn:
			return inner
		case *tls.Conn:
			c = inner.NetConn()
		default:
			return nil
		}
	}
}

func (m *Metrics) tlsStart() { m.note(true, func(x *transaction) { x.tlsAt = time.Since(x.start) }) }

func (m *Metrics) tlsDone(_ tls.ConnectionState, err error) {
	m.note(true, func(x *transaction) {
		x.tls += time.Since(x.start) - x.tlsAt // a proxy's, and the origin's
		x.handshakeFailed = err != nil
	})
}

func (m *Metrics) certificateRequested(sent bool) {
	m.note(true, func(x *transaction) { x.certRequested, x.certSent = true, sent })
}

func (m *Metrics) wroteHeaders() { m.note(false, func(x *transaction) { x.wroteHead = true }) }

func (m *Metrics) got1xx(status int, _ textproto.MIMEHeader) (err error) {
	m.note(false, func(x *transaction) {
		count, most := &x.informational, maxInformational
		if status == 104 && x.uploads {
			count, most = &x.progress, maxProgress
		}
		if *count++; *count > most {
			err = fmt.Errorf("%w: more than %d informational (1xx) responses to one request", task.BadServerResponse, most)
		}
	})
	return err
}

func (m *Metrics) gotFirstByte() {
	m.note(false, func(x *transaction) { x.firstByte = time.Since(x.start) })
}

// dialing makes the context of a dial, which tells of names and connections. Only dials pay for these hooks.
func (m *Metrics) dialing(ctx context.Context) context.Context {
	m.moved() // a slot of the host was free
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { m.note(true, func(x *transaction) { x.dnsAt = time.Since(x.start) }) },
		DNSDone: func(httptrace.DNSDoneInfo) {
			m.note(true, func(x *transaction) { x.dns = time.Since(x.start) - x.dnsAt })
		},
		ConnectStart: func(string, string) {
			m.note(true, func(x *transaction) {
				if x.connectAt == 0 { // addresses are tried in turn, and two at once
					x.connectAt = max(1, time.Since(x.start))
				}
			})
		},
		ConnectDone: func(string, string, error) {
			m.note(true, func(x *transaction) { x.connect = time.Since(x.start) - x.connectAt })
		},
	})
}
