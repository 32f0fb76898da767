package control

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/urlsession/urlsession/internal/task"
)

// Create is Service.Create. It returns once the daemon holds the task and all of body, which is then closed, if it is an
// io.Closer: nobody reads it later. Where the connection breaks, the task is looked for by its key, and made anew only if
// it is not there; for that body must be rewound, as for a retry.
func (c *Client) Create(ctx context.Context, spec task.Spec, body io.Reader) (task.ID, error) {
	const op = "create task"
	if spec.Stream {
		return 0, &task.Error{Op: op, URL: task.Redact(spec.Request.URL), Code: task.Unknown,
			Err: errors.New("the daemon keeps a response's body; only a session in this process can stream it")}
	}
	if spec.Key == "" {
		spec.Key = rand.Text()
	}
	line, err := spec.AppendJSON(nil)
	if err == nil && len(line) > MaxSpec {
		err = fmt.Errorf("it is of %d bytes without its body; at most %d are taken", len(line), MaxSpec)
	}
	if err != nil {
		return 0, &task.Error{Op: op, URL: task.Redact(spec.Request.URL), Code: task.Unknown, Err: err}
	}
	r := request{op: op, method: http.MethodPost, path: sessionPath(c.session, "tasks"), body: line}
	var upload *upload
	if b := spec.Request.Body; b != nil && b.Path == "" {
		upload = newUpload(line, body)
		r.mediaType = TaskMediaType
	}
	var made Created
	err = c.create(ctx, r, spec.Key, upload, &made, func(ids []task.ID) bool {
		if len(ids) == 1 {
			made.Task = ids[0]
		}
		return len(ids) == 1
	})
	if err == nil && made.Task == 0 {
		err = &task.Error{Op: op, URL: c.dialer.socket, Code: task.CannotParseResponse, Err: errors.New("the daemon made a task and named no number")}
	}
	if err != nil {
		return 0, err
	}
	if closer, ok := body.(io.Closer); ok && upload != nil {
		closer.Close()
	}
	c.saw(made.Task)
	return made.Task, nil
}

// CreateBatch is Batcher.CreateBatch, of at most MaxBatch tasks. Their keys are made of one.
func (c *Client) CreateBatch(ctx context.Context, specs []task.Spec) ([]task.ID, error) {
	const op = "create tasks"
	if len(specs) == 0 {
		return nil, nil
	}
	refuse := func(why error) error { return &task.Error{Op: op, Code: task.Unknown, Err: why} }
	if len(specs) > MaxBatch {
		return nil, refuse(fmt.Errorf("%d tasks at once; at most %d are taken", len(specs), MaxBatch))
	}
	batch := Batch{Key: rand.Text(), Tasks: specs}
	body, err := batch.encode()
	if err == nil && len(body) > MaxBytes {
		err = fmt.Errorf("%d bytes of tasks at once; at most %d are taken", len(body), MaxBytes)
	}
	if err != nil {
		return nil, refuse(err)
	}
	var made CreatedBatch
	r := request{op: op, method: http.MethodPost, path: sessionPath(c.session, "batches"), body: body}
	err = c.create(ctx, r, batch.Key, nil, &made, func(ids []task.ID) bool {
		made.Tasks = ids
		return len(ids) == len(specs)
	})
	if err != nil {
		return nil, err
	}
	if len(made.Tasks) != len(specs) {
		return nil, &task.Error{Op: op, URL: c.dialer.socket, Code: task.CannotParseResponse,
			Err: fmt.Errorf("the daemon made %d tasks of %d", len(made.Tasks), len(specs))}
	}
	for _, id := range made.Tasks {
		c.saw(id)
	}
	return made.Tasks, nil
}

// create asks for tasks until they are there, once. found takes the numbers of those that have the key, and says whether
// they are all.
func (c *Client) create(ctx context.Context, r request, key string, u *upload, out any, found func([]task.ID) bool) error {
	ctx, done := c.use(ctx)
	defer done()
	var o outage
	newest := task.ID(c.newestTask.Load())
	for {
		if u != nil {
			stream, err := u.begin()
			if err != nil {
				return err
			}
			r.stream = stream
			// The transport waits for a read that is under way, and the body may be silent for ever.
			stop := context.AfterFunc(ctx, func() { stream.Close() })
			defer stop()
		}
		err := c.ask(ctx, r, out)
		if u != nil {
			u.settle(ctx)
			if failed := u.failure(); err != nil && failed != nil && ctx.Err() == nil {
				return failed
			}
		}
		if err == nil {
			return nil
		}
		_, mayBeMade := errors.AsType[*lost](err)
		if _, away := errors.AsType[*unreachable](err); !away && !mayBeMade {
			return err
		}
		if errors.Is(err, errSilent) {
			return c.fail(ctx, r.op, err)
		}
		if err := o.wait(ctx, c.dialer, c.patience, err); err != nil {
			return c.fail(ctx, r.op, err)
		}
		if !mayBeMade {
			continue
		}
		var made CreatedBatch
		query := url.Values{"key": {key}, "after": {fmt.Sprint(newest)}}
		err = c.call(ctx, request{op: r.op, method: http.MethodGet, path: sessionPath(c.session, "created") + "?" + query.Encode()}, &made)
		if err != nil {
			return err
		}
		if found(made.Tasks) {
			return nil
		}
	}
}
