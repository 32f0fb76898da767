package control

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// ClientOptions say which session of which daemon.
type ClientOptions struct {
	// Socket is the path of the daemon's unix socket. It must be of a process of the same user.
	Socket string
	// DialContext connects in place of a net.Dialer; Socket is the address that it is given.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Session is the identifier.
	Session string
	// Configuration of the session in its form on the wire, JSON; for Open.
	Configuration []byte
	// Start has the daemon started; it is called when the socket does not answer, at most every 2 s, and need not wait
	// until it does. Nil: the daemon is not for this client to start.
	Start func(ctx context.Context) error
	// Patience is how long a call, or an event stream, goes on trying to reach a daemon that is away; the time that Start
	// takes does not count. 0: 10 s; negative: it is tried once.
	Patience time.Duration
	// Answer is how long a daemon that is connected to may be silent while something is awaited of it: that it takes more
	// of a body, that it answers, that it sends more of its answer. 0: 1 min. Event streams have heartbeats, and a bound
	// of their own.
	Answer time.Duration
}

const (
	defaultPatience = 10 * time.Second
	defaultAnswer   = time.Minute
)

// Client is the Service of a session in the daemon. Its methods may be called from any goroutine.
//
// A daemon that is away is waited for, and started where Options.Start can; when Patience is over, a call fails with
// DaemonLost, and so it does where the daemon is there and silent for longer than Answer. What a call asks is done once, also where the connection is lost before the answer has come: reading,
// cancelling, acknowledging and the like may be done twice without harm, and are sent again; a creation carries a key by
// which it is found again, if it was made. Suspend and Resume, which nest, are not sent again: they fail with DaemonLost,
// and the error says that they may have been applied.
type Client struct {
	session       string
	configuration []byte
	transport     *http.Transport
	dialer        *dialer
	patience      time.Duration
	answer        time.Duration
	claim         string        // ClaimHeader
	newestTask    atomic.Uint64 // the highest number that was seen: tasks that are made later have higher ones

	closed context.Context // ends by Close
	close  context.CancelFunc

	mu    sync.Mutex
	owner *acknowledger // of the iteration as owner that is under way; nil: there is none
}

var (
	_ Service     = (*Client)(nil)
	_ Batcher     = (*Client)(nil)
	_ Pager       = (*Client)(nil)
	_ URLReplacer = (*Client)(nil)
)

// NewClient makes a client. It does no I/O: the session must be there, or Open be called.
func NewClient(o ClientOptions) *Client {
	if o.DialContext == nil {
		o.DialContext = new(net.Dialer).DialContext
	}
	o.Patience = cmp.Or(o.Patience, defaultPatience)
	if o.Answer <= 0 {
		o.Answer = defaultAnswer
	}
	d := &dialer{socket: o.Socket, dial: o.DialContext, start: o.Start, starting: make(chan struct{}, 1)}
	closed, end := context.WithCancel(context.Background())
	return &Client{
		session: o.Session, configuration: o.Configuration, dialer: d, patience: o.Patience, answer: o.Answer, claim: rand.Text(),
		closed: closed, close: end,
		transport: &http.Transport{
			DialContext: d.connect, DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// Dial makes a client and opens its session.
func Dial(ctx context.Context, o ClientOptions) (*Client, error) {
	c := NewClient(o)
	if err := c.Open(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Open makes the session with the client's configuration, or attaches to the one that there is: the configuration then
// governs the tasks created from now on.
func (c *Client) Open(ctx context.Context) error {
	const op = "open session"
	if err := CheckIdentifier(c.session); err != nil {
		return &task.Error{Op: op, Code: task.Unknown, Err: err}
	}
	body := c.configuration
	if len(body) == 0 {
		body = []byte("{}")
	}
	return c.call(ctx, request{op: op, method: "PUT", path: sessionPath(c.session), body: body}, nil)
}

// Close ends the client, and nothing in the daemon: calls and loops under way fail with SessionInvalidated, and so do
// later ones. Only what a loop as owner has acknowledged is sent on, for finishFor at most. It may be called again.
func (c *Client) Close() {
	c.close()
	c.transport.CloseIdleConnections()
}

// ErrClosed is why a client that was closed does nothing.
var ErrClosed = errors.New("it was closed in this process; its tasks go on in the daemon")

// use is ctx, ended by Close too. The CancelFunc must be called.
func (c *Client) use(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if c.closed.Err() != nil {
		cancel(ErrClosed) // at once: AfterFunc calls in a goroutine
	}
	stop := context.AfterFunc(c.closed, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// request is one question to the daemon.
type request struct {
	op           string // for errors
	method, path string
	body         []byte        // JSON; nil: none
	once         bool          // it is not sent again where it may have been applied
	last         bool          // it is also asked of a client that was closed
	silence      time.Duration // how long nothing may come; 0: Client.answer

	stream    io.ReadCloser // in place of body
	mediaType string        // of stream
	header    [2]string     // one more field
}

// lost is a connection that broke when the question may have been read.
type lost struct{ err error }

func (l *lost) Error() string { return l.err.Error() }
func (l *lost) Unwrap() error { return l.err }

// call asks, as often as it takes, and decodes the answer into out, which may be nil. Its errors are *task.Error.
func (c *Client) call(ctx context.Context, r request, out any) error {
	if !r.last {
		var done context.CancelFunc
		ctx, done = c.use(ctx)
		defer done()
	}
	var o outage
	for {
		err := c.ask(ctx, r, out)
		if err == nil {
			return nil
		}
		_, mayBeApplied := errors.AsType[*lost](err)
		if _, away := errors.AsType[*unreachable](err); !away && !mayBeApplied {
			return err
		}
		if errors.Is(err, errSilent) {
			return c.fail(ctx, r.op, err)
		}
		if r.once && mayBeApplied {
			return &task.Error{Op: r.op, URL: c.dialer.socket, Code: task.DaemonLost,
				Err: fmt.Errorf("the connection broke before the answer came, so that it may have been applied; look at the task: %w", err)}
		}
		if err := o.wait(ctx, c.dialer, c.patience, err); err != nil {
			return c.fail(ctx, r.op, err)
		}
	}
}

// fail is the error of a call that was given up.
func (c *Client) fail(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return c.ended(ctx, op)
	}
	if _, ok := errors.AsType[*task.Error](err); ok && !errors.Is(err, errOver) {
		return err
	}
	return &task.Error{Op: op, URL: c.dialer.socket, Code: task.DaemonLost, Err: err}
}

// ended is the error of what the end of ctx has ended.
func (c *Client) ended(ctx context.Context, op string) error {
	cause := context.Cause(ctx)
	code := task.CodeOf(ctx.Err())
	if errors.Is(cause, ErrClosed) {
		code = task.SessionInvalidated
	}
	return &task.Error{Op: op, Code: code, Err: cause}
}

// maxAnswer is the most bytes of an answer that is held in memory.
const maxAnswer = 256 << 20

// ask asks once. Its error is ctx's or the daemon's, a *task.Error, or *unreachable or *lost.
func (c *Client) ask(ctx context.Context, r request, out any) error {
	resp, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.broken(ctx, r.op, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return &task.Error{Op: r.op, URL: c.dialer.socket, Code: task.CannotParseResponse, Err: fmt.Errorf("the daemon's answer: %w", err)}
	}
	return nil
}

// open asks once and returns a response whose status is of success, and whose body must be closed. Its error is as ask's.
func (c *Client) open(ctx context.Context, r request) (_ *http.Response, err error) {
	caller := ctx
	ctx, w := watch(ctx, cmp.Or(r.silence, c.answer))
	defer func() {
		if err != nil {
			w.end()
		}
	}()
	req, err := http.NewRequestWithContext(ctx, r.method, "http://"+Host+r.path, nil)
	if err != nil {
		return nil, &task.Error{Op: r.op, Code: task.Unknown, Err: err}
	}
	req.Header.Set(VersionHeader, strconv.Itoa(APIVersion))
	req.Header.Set(ClaimHeader, c.claim)
	req.Header.Set("User-Agent", "") // net/http's says nothing
	if r.header[0] != "" {
		req.Header.Set(r.header[0], r.header[1])
	}
	switch {
	case r.stream != nil:
		req.Body, req.ContentLength = sending{r.stream, w}, -1
		req.Header.Set("Content-Type", r.mediaType)
	case r.body != nil:
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(r.body)), int64(len(r.body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil }
		req.Header.Set("Content-Type", JSONMediaType)
	}
	w.await()
	resp, err := c.transport.RoundTrip(req)
	w.pause()
	if err != nil {
		return nil, c.broken(caller, r.op, w.reason(err))
	}
	resp.Body = &receiving{resp.Body, w}
	if err := c.check(r, resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// broken is the error of an exchange that did not come to its end.
func (c *Client) broken(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return c.fail(ctx, op, ctx.Err())
	}
	if _, ok := errors.AsType[*unreachable](err); ok {
		return err
	}
	if e, ok := errors.AsType[*task.Error](err); ok { // the peer is not ours, or the caller's body failed
		return e
	}
	return &lost{err}
}

// check is nil for a response of success from a daemon that speaks our version, or was asked to stop.
func (c *Client) check(r request, resp *http.Response) error {
	if v := resp.Header.Get(VersionHeader); v == "" || v != strconv.Itoa(APIVersion) && r.path != StopPath {
		why := fmt.Errorf("the daemon speaks version %q of the API and this program %d: stop the daemon, and one of this program's version will be started", v, APIVersion)
		if v == "" {
			why = errors.New("what listens there is no daemon of urlsession")
		}
		return &task.Error{Op: r.op, URL: c.dialer.socket, Code: task.NoSharedContainer, Err: why}
	}
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return c.failureIn(r.op, resp)
}

// failureIn is the error that a response of another status says; *unreachable, where the daemon is not ready or no more.
func (c *Client) failureIn(op string, resp *http.Response) error {
	var f task.Failure
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxJSON))
	if err == nil {
		err = json.Unmarshal(body, &f)
	}
	if err == nil && f.Code == 0 {
		err = errors.New("it names no error")
	}
	if err != nil {
		return &task.Error{Op: op, URL: c.dialer.socket, Code: task.CannotParseResponse,
			Err: fmt.Errorf("the daemon answered with status %d, and %w", resp.StatusCode, err)}
	}
	if f.Code == task.DaemonLost {
		return &unreachable{errors.New(f.Text())}
	}
	return f.Err()
}

// saw notes a task's number.
func (c *Client) saw(id task.ID) {
	for {
		n := c.newestTask.Load()
		if uint64(id) <= n || c.newestTask.CompareAndSwap(n, uint64(id)) {
			return
		}
	}
}
