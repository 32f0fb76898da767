package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/urlsession/urlsession/internal/task"
)

// Task is Service.Task.
func (c *Client) Task(ctx context.Context, id task.ID) (task.Record, error) {
	var rec task.Record
	err := c.call(ctx, request{op: "look up task", method: http.MethodGet, path: taskPath(c.session, id)}, &rec)
	return rec, err
}

// Tasks is Service.Tasks.
func (c *Client) Tasks(ctx context.Context) iter.Seq2[task.Record, error] {
	return c.TasksAfter(ctx, 0)
}

// TasksAfter is Pager.TasksAfter.
func (c *Client) TasksAfter(ctx context.Context, after task.ID) iter.Seq2[task.Record, error] {
	return func(yield func(task.Record, error) bool) {
		for {
			var page TaskList
			path := fmt.Sprintf("%s?after=%d&limit=256", sessionPath(c.session, "tasks"), after)
			err := c.call(ctx, request{op: "list tasks", method: http.MethodGet, path: path}, &page)
			if err == nil && page.Next != 0 && page.Next <= after {
				err = &task.Error{Op: "list tasks", URL: c.dialer.socket, Code: task.CannotParseResponse,
					Err: errors.New("the daemon's next page begins before this one")}
			}
			if err != nil {
				yield(task.Record{}, err)
				return
			}
			for _, rec := range page.Tasks {
				if c.saw(rec.ID); !yield(rec, nil) {
					return
				}
			}
			if page.Next == 0 {
				return
			}
			after = page.Next
		}
	}
}

// Suspend is Service.Suspend, Resume Service.Resume. They nest, and so are not sent again where they may have been
// applied.
func (c *Client) Suspend(ctx context.Context, id task.ID) error {
	return c.call(ctx, request{op: "suspend task", method: http.MethodPost, path: taskPath(c.session, id, "suspend"), once: true}, nil)
}

func (c *Client) Resume(ctx context.Context, id task.ID) error {
	return c.call(ctx, request{op: "resume task", method: http.MethodPost, path: taskPath(c.session, id, "resume"), once: true}, nil)
}

// Cancel is Service.Cancel.
func (c *Client) Cancel(ctx context.Context, id task.ID) error {
	return c.call(ctx, request{op: "cancel task", method: http.MethodPost, path: taskPath(c.session, id, "cancel")}, nil)
}

// CancelForResumeData is Service.CancelForResumeData.
func (c *Client) CancelForResumeData(ctx context.Context, id task.ID) error {
	return c.call(ctx, request{op: "cancel task for resume data", method: http.MethodPost, path: taskPath(c.session, id, "cancel-for-resume-data")}, nil)
}

// SetPriority is Service.SetPriority.
func (c *Client) SetPriority(ctx context.Context, id task.ID, p task.Priority) error {
	return c.send(ctx, request{op: "set priority of task", method: http.MethodPut, path: taskPath(c.session, id, "priority")}, PriorityChange{p})
}

// SetRateLimit is Service.SetRateLimit.
func (c *Client) SetRateLimit(ctx context.Context, id task.ID, bytesPerSecond int64) error {
	r := request{op: "set rate limit of session", method: http.MethodPut, path: sessionPath(c.session, "rate-limit")}
	if id != 0 {
		r.op, r.path = "set rate limit of task", taskPath(c.session, id, "rate-limit")
	}
	return c.send(ctx, r, RateLimitChange{bytesPerSecond})
}

// ReplaceURL is URLReplacer.ReplaceURL.
func (c *Client) ReplaceURL(ctx context.Context, id task.ID, url string) error {
	return c.send(ctx, request{op: "replace URL of task", method: http.MethodPut, path: taskPath(c.session, id, "url")}, URLChange{url})
}

// Answer is Service.Answer. Where the connection was lost, so that it is sent again, ResourceUnavailable may also mean
// that the first was taken.
func (c *Client) Answer(ctx context.Context, id task.ID, ticket string, d task.Decision) error {
	r := request{op: fmt.Sprintf("answer ticket %s of task %d", ticket, id), method: http.MethodPost, path: taskPath(c.session, id, "answers")}
	return c.send(ctx, r, TicketAnswer{ticket, d})
}

// Release is Service.Release. It does nothing: what one app has no more use for, another one, or the command, may look
// at, and the daemon keeps it until its retention ends.
func (c *Client) Release(task.ID) {}

// Body is Service.Body. A connection that is lost while it is read is DaemonLost.
func (c *Client) Body(ctx context.Context, id task.ID) (io.ReadCloser, error) {
	const op = "read body of task"
	ctx, done := c.use(ctx)
	var o outage
	for {
		resp, err := c.open(ctx, request{op: op, method: http.MethodGet, path: taskPath(c.session, id, "body")})
		if err == nil {
			return &body{c: c, ctx: ctx, done: done, ReadCloser: resp.Body}, nil
		}
		if _, ok := errors.AsType[*task.Error](err); !ok && !errors.Is(err, errSilent) {
			if err = o.wait(ctx, c.dialer, c.patience, err); err == nil {
				continue
			}
		}
		err = c.fail(ctx, op, err)
		done()
		return nil, err
	}
}

// body is a response's body on its way from the daemon.
type body struct {
	c    *Client
	ctx  context.Context
	done context.CancelFunc
	io.ReadCloser
}

func (b *body) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = b.c.fail(b.ctx, "read body of task", err)
	}
	return n, err
}
