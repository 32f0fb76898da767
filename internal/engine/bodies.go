package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// Bodies keeps the bodies of responses of data and upload tasks until they are forgotten. Its methods may be called from
// any goroutine.
type Bodies interface {
	// Put keeps a body, in place of an older one; it is durable when Put returns nil.
	Put(id task.ID, body []byte) error
	// Open is fs.ErrNotExist where there is none.
	Open(id task.ID) (io.ReadCloser, error)
	// Remove removes one; to have none is no error.
	Remove(id task.ID) error
	// List names all, so that orphans are found.
	List() ([]task.ID, error)
}

// Spool keeps the bodies of requests that came beside their specs until the tasks end. Its methods may be called from any
// goroutine.
type Spool interface {
	// Keep reads a body to its end into a file, which is durable when Keep returns it. ctx bounds the reading.
	Keep(ctx context.Context, body io.Reader) (task.Body, error)
	// Remove removes the file at a path that Keep has returned; to have none is no error.
	Remove(path string) error
	// List names all files, so that orphans are found.
	List() ([]string, error)
}

// spoolBody makes a body that came beside spec a file.
func (e *Engine) spoolBody(ctx context.Context, spec *task.Spec, body io.Reader) error {
	if c, ok := body.(io.Closer); ok {
		defer c.Close()
	}
	kept, err := e.spool.Keep(ctx, body)
	if err != nil {
		return e.storeError("keep request body", err)
	}
	kept.Spooled = true
	failure := &task.Error{Op: "keep request body", URL: task.Redact(spec.Request.URL)}
	if b := spec.Request.Body; b != nil && b.Size >= 0 && b.Size != kept.Size {
		failure.Code, failure.Err = task.BodyStreamExhausted, errors.New("the body was not of the size that was said")
	} else if err := enoughParts(spec, kept.Size); err != nil {
		failure.Code, failure.Err = task.Unknown, err
	}
	if failure.Err != nil {
		_ = e.spool.Remove(kept.Path) // or it is collected as an orphan
		return failure
	}
	spec.Request.Body = &kept
	return nil
}

// dropSpool removes the copy of a request's body when its task has ended.
func (e *Engine) dropSpool(spec *task.Spec) {
	if b := spec.Request.Body; e.spool != nil && b != nil && b.Spooled {
		_ = e.spool.Remove(b.Path) // or it is collected as an orphan
	}
}

// bodyLost says whether the request's body was a reader of an earlier process. r.mu is held.
func (r *run) bodyLost() bool {
	b := r.rec.Spec.Request.Body
	return b != nil && b.Path == "" && b.Size != 0 && r.body.from == nil
}

// keepBody makes the body of the response durable, before the end of its task is. r.mu is held.
func (r *run) keepBody() error {
	if r.e.bodies == nil || len(r.result.Body) == 0 || r.rec.Failure != nil {
		return nil
	}
	if err := r.e.bodies.Put(r.id, r.result.Body); err != nil {
		return err
	}
	r.result.Body = nil
	return nil
}

// keptBody is Body where Options.Bodies has them.
func (e *Engine) keptBody(ctx context.Context, id task.ID) (io.ReadCloser, error) {
	rec, err := e.store.Load(ctx, id)
	if err != nil {
		return nil, e.storeError("read body of task", err)
	}
	switch {
	case rec.State != task.Completed:
		return nil, noBody(errors.New("the task has not ended"))
	case rec.Failure != nil:
		return nil, noBody(errors.New("the task has failed, and has no body"))
	case rec.Spec.Kind == task.Download:
		return nil, noBody(errors.New("the task is a download: its body is a file"))
	}
	body, err := e.bodies.Open(id)
	if errors.Is(err, fs.ErrNotExist) {
		if rec.Counts.Received == 0 {
			return io.NopCloser(bytes.NewReader(nil)), nil // an empty one is not kept
		}
		return nil, noBody(errors.New("it is not kept any more"))
	}
	if err != nil {
		return nil, e.storeError("read body of task", err)
	}
	return body, nil
}

// dropFiles removes what a download has left that has ended: of one without a destination all, of one that did not succeed
// its part file, unless somebody has gone on from that since. What cannot be removed stays.
func (e *Engine) dropFiles(id task.ID) {
	rec, err := e.store.Load(context.Background(), id)
	switch {
	case err != nil || rec.State != task.Completed || rec.Spec.Kind != task.Download:
	case rec.Spec.Download == nil || rec.Spec.Download.Path == "":
		_ = transfer.RemoveTemporary(e.temporary, id, rec.Path)
	case rec.Failure != nil && rec.ResumeData != nil:
		_ = partial.Expire(rec.ResumeData.Part, rec.Ended)
	}
}

// orphans are files that a kill may have left without a task, as they were before any was made.
type orphans struct {
	bodies    []task.ID
	spool     []string
	temporary []string // names of files in Options.Temporary
}

func (e *Engine) listOrphans() (o orphans, err error) {
	if e.bodies != nil {
		if o.bodies, err = e.bodies.List(); err != nil {
			return o, e.storeError("list bodies", err)
		}
	}
	if e.spool != nil {
		if o.spool, err = e.spool.List(); err != nil {
			return o, e.storeError("list request bodies", err)
		}
	}
	if e.temporary != "" {
		entries, err := os.ReadDir(e.temporary)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return o, e.storeError("list temporary files", err)
		}
		for _, entry := range entries {
			o.temporary = append(o.temporary, entry.Name())
		}
	}
	return o, nil
}

// collect removes those that no task names. What it cannot find out or remove stays until the next time.
func (e *Engine) collect(o orphans) {
	ctx := context.Background()
	for _, id := range o.bodies {
		if e.hasStopped() {
			return
		}
		if _, err := e.store.Load(ctx, id); isUnknown(err) {
			_ = e.bodies.Remove(id)
		}
	}
	for _, name := range o.temporary {
		if e.hasStopped() {
			return
		}
		id := transfer.TemporaryTask(name)
		if id == 0 {
			continue // none of ours
		}
		if _, err := e.store.Load(ctx, id); isUnknown(err) {
			_ = os.Remove(filepath.Join(e.temporary, name))
		}
	}
	if len(o.spool) == 0 {
		return
	}
	named := make(map[string]bool)
	for after := task.ID(0); ; {
		page, err := e.lasting.Pending(ctx, after, 1024)
		if err != nil {
			return
		}
		if len(page) == 0 {
			break
		}
		for _, p := range page {
			rec, err := e.store.Load(ctx, p.ID)
			if err != nil && !isUnknown(err) || e.hasStopped() {
				return
			}
			if b := rec.Spec.Request.Body; b != nil && b.Spooled {
				named[b.Path] = true
			}
			after = p.ID
		}
	}
	for _, path := range o.spool {
		if !named[path] {
			_ = e.spool.Remove(path)
		}
	}
}
