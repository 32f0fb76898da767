package engine

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/internal/task"
)

// Create is Service.Create. With Options.Spool the body has been read to its end, and closed, when Create returns.
func (e *Engine) Create(ctx context.Context, spec task.Spec, body io.Reader) (task.ID, error) {
	spooled := body != nil && e.spool != nil
	if spooled {
		if err := e.takes(&spec); err != nil { // before a long upload is read in vain
			return 0, err
		}
		if err := e.spoolBody(ctx, &spec, body); err != nil {
			return 0, err
		}
		body = nil
	}
	r := e.newRun(spec, body)
	r.mu.Lock()
	defer r.unlock()
	if err := e.create(ctx, r); err != nil {
		if spooled {
			e.dropSpool(&spec)
		}
		return 0, err
	}
	return r.id, nil
}

// CreateBatch makes many tasks in one transaction of the store: all of them, or none with an error. Their bodies are
// files, or they have none. The numbers are in the order of the specs.
func (e *Engine) CreateBatch(ctx context.Context, specs []task.Spec) ([]task.ID, error) {
	if len(specs) == 0 {
		return nil, nil
	}
	runs := make([]*run, len(specs))
	for i, spec := range specs {
		if b := spec.Request.Body; b != nil && b.Path == "" && b.Size != 0 {
			return nil, &task.Error{Op: "create tasks", URL: task.Redact(spec.Request.URL), Code: task.BodyStreamExhausted,
				Err: errors.New("a task of a batch has no body but a file; create it by itself")}
		}
		runs[i] = e.newRun(spec, nil)
		runs[i].mu.Lock()
	}
	defer func() {
		for _, r := range runs {
			r.unlock()
		}
	}()
	if err := e.create(ctx, runs...); err != nil {
		return nil, err
	}
	ids := make([]task.ID, len(runs))
	for i, r := range runs {
		ids[i] = r.id
	}
	return ids, nil
}

// newRun is of a task that is not stored yet.
func (e *Engine) newRun(spec task.Spec, body io.Reader) *run {
	now := time.Now()
	spec.Priority = cmp.Or(spec.Priority, task.PriorityDefault)
	r := &run{
		e: e, within: context.Background(), kind: spec.Kind, origin: originOf(spec.Request.URL), priority: spec.Priority, body: requestBody{from: body},
		rec: task.Record{Spec: spec, State: task.Running, Created: now, Since: now},
	}
	r.unsaved = r.few[:0]
	r.limit.Set(spec.RateLimit)
	r.first.begin(spec.Request.Body)
	r.progress.Store(&r.first)
	r.rec.Counts = r.counts()
	if spec.Stream {
		r.data = make(chan piece)
	}
	if spec.Download != nil {
		r.result.ResumeData = spec.Download.Resume // until an attempt has its own
	}
	if u := spec.Upload; u != nil && u.Resume != nil {
		c := *u
		r.rec.Upload, c.Resume = u.Resume, nil
		r.rec.Spec.Upload = &c
		r.first.sent.total.Store(r.rec.Upload.Offset)
		r.rec.Counts = r.counts()
	}
	if spec.Suspended {
		r.rec.State, r.rec.SuspendCount, r.rec.Since = task.Suspended, 1, time.Time{}
	}
	return r
}

// takes says why the session takes no more tasks; nil: it does.
func (e *Engine) takes(spec *task.Spec) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.takesLocked(spec)
}

func (e *Engine) takesLocked(spec *task.Spec) error {
	switch {
	case e.closed:
		return &task.Error{Op: "create task", URL: task.Redact(spec.Request.URL), Code: task.SessionInvalidated,
			Err: errors.New("the session takes no more tasks; make a new session")}
	case e.stopping:
		return &task.Error{Op: "create task", URL: task.Redact(spec.Request.URL), Code: task.DaemonLost,
			Err: errors.New("the process that runs the tasks is ending; try again")}
	}
	return nil
}

// create stores the tasks of new runs and lets them go on. Each run.mu is held.
func (e *Engine) create(ctx context.Context, runs ...*run) error {
	e.mu.Lock()
	if err := e.takesLocked(&runs[0].rec.Spec); err != nil {
		e.mu.Unlock()
		return err
	}
	e.creating++
	if e.lasting != nil { // see enter
		e.attempts.Add(1)
		defer e.attempts.Done()
	}
	e.mu.Unlock()

	recs := make([]*task.Record, len(runs))
	for i, r := range runs {
		recs[i] = &r.rec
		if d := r.rec.Spec.Download; d != nil && d.Resume != nil && e.lasting != nil {
			partial.Touch(d.Resume.Part) // see dropFiles: the history of the task that has left it may go before this one's turn
		}
	}
	err := e.store.Create(ctx, recs...)

	e.mu.Lock()
	e.creating--
	cancel := e.cancel
	if err == nil {
		e.alive += len(runs)
		for _, r := range runs {
			if r.id = r.rec.ID; e.runs[r.id] == nil && e.loading[r.id] == nil {
				e.runs[r.id] = r
			} else { // somebody who lists the session's tasks was faster
				r.gone = true
			}
		}
	}
	e.mu.Unlock()
	if err != nil {
		e.invalidateIfDone()
		e.tellUnattended() // who ended meanwhile left it to the task that is not to be
		return e.storeError("create task", err)
	}
	if len(runs) == 1 {
		runs[0].start(cancel)
		return nil
	}
	// What is written of each, as that it waits for its time, is written side by side: the store takes what comes at once
	// in one transaction.
	var writing sync.WaitGroup
	turns := make(chan struct{}, min(len(runs), writesAtOnce))
	for _, r := range runs {
		if cancel || !r.early() {
			r.start(cancel)
			continue
		}
		turns <- struct{}{}
		writing.Go(func() {
			defer func() { <-turns }()
			r.start(false)
		})
	}
	writing.Wait()
	return nil
}

// start lets a new run go on, or ends it with its session, which has been cancelled meanwhile. r.mu is held.
func (r *run) start(cancel bool) {
	switch {
	case r.gone:
	case cancel:
		r.cancelLocked()
	case r.rec.State == task.Running:
		r.schedule()
	}
}

// writesAtOnce bounds the goroutines that write for one batch.
const writesAtOnce = 256
