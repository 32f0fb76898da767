package control

import (
	"context"
	"net/http"

	"github.com/urlsession/urlsession/internal/task"
)

// Info is what the daemon tells of the session.
func (c *Client) Info(ctx context.Context) (SessionInfo, error) {
	var info SessionInfo
	err := c.call(ctx, request{op: "look up session", method: http.MethodGet, path: sessionPath(c.session)}, &info)
	return info, err
}

// Sessions are those of the daemon, all of them.
func (c *Client) Sessions(ctx context.Context) ([]SessionInfo, error) {
	var list SessionList
	err := c.call(ctx, request{op: "list sessions", method: http.MethodGet, path: "/v1/sessions"}, &list)
	return list.Sessions, err
}

// Status is the daemon's.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, request{op: "ask the daemon's status", method: http.MethodGet, path: "/v1/status"}, &s)
	return s, err
}

// SetDaemonRateLimit bounds the bytes a second of all sessions of the daemon together, each way, until its schedule or its
// settings say otherwise; 0: no limit.
func (c *Client) SetDaemonRateLimit(ctx context.Context, bytesPerSecond int64) error {
	return c.send(ctx, request{op: "set the daemon's rate limit", method: http.MethodPut, path: "/v1/rate-limit"}, RateLimitChange{bytesPerSecond})
}

// Reload has the daemon read its settings anew. An error that is none of the connection says what is wrong with them.
func (c *Client) Reload(ctx context.Context) error {
	return c.call(ctx, request{op: "reload the daemon's settings", method: http.MethodPost, path: "/v1/reload"}, nil)
}

// Stop has the daemon stop in order, also one of another version: its tasks go on when it is started again. It returns when
// the daemon has taken notice.
func (c *Client) Stop(ctx context.Context) error {
	return c.call(ctx, request{op: "stop the daemon", method: http.MethodPost, path: StopPath}, nil)
}

// Finish is Service.Finish, Invalidate Service.Invalidate.
func (c *Client) Finish(ctx context.Context) error { return c.post(ctx, "finish session", "finish") }
func (c *Client) Invalidate(ctx context.Context) error {
	return c.post(ctx, "invalidate session", "invalidate")
}

// Flush is Service.Flush, Reset Service.Reset.
func (c *Client) Flush(ctx context.Context) error { return c.post(ctx, "flush session", "flush") }
func (c *Client) Reset(ctx context.Context) error { return c.post(ctx, "reset session", "reset") }

func (c *Client) post(ctx context.Context, op, element string) error {
	return c.call(ctx, request{op: op, method: http.MethodPost, path: sessionPath(c.session, element)}, nil)
}

// Acknowledge is Service.Acknowledge. Within this client's loop over the events as their owner it returns at once, and
// the newest number follows, so that a fast reader does not wait for the disk at each event; a failure is the error of
// one of the next calls. When the loop is left, all is sent. An app that is killed may get again what it acknowledged
// last.
func (c *Client) Acknowledge(ctx context.Context, sequence uint64) error {
	c.mu.Lock()
	owner := c.owner
	c.mu.Unlock()
	if owner != nil {
		if taken, err := owner.acknowledge(sequence); taken {
			return err
		}
	}
	ctx, done := c.use(ctx)
	defer done()
	return c.acknowledge(ctx, sequence)
}

// acknowledge is sent also when the client was closed meanwhile: what the loop as owner has acknowledged still counts.
func (c *Client) acknowledge(ctx context.Context, sequence uint64) error {
	return c.send(ctx, request{op: "acknowledge events", method: http.MethodPut, path: sessionPath(c.session, "acknowledged"), last: true}, Acknowledgement{sequence})
}

// send is a call with a body in JSON and without an answer.
func (c *Client) send(ctx context.Context, r request, v any) (err error) {
	if r.body, err = encode(v); err != nil {
		return &task.Error{Op: r.op, Code: task.Unknown, Err: err}
	}
	return c.call(ctx, r, nil)
}
