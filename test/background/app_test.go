package background

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/urlsession/urlsession"
)

// planVariable names the plan of the app.
const planVariable = "URLSESSION_TEST_PLAN"

// app is a process that has the daemon do its plan, and may be killed at any time. It makes the tasks that are not there
// yet, and writes down each event as the session's owner before it asks for the next, which acknowledges it. It ends well
// once all tasks have, and it has compared what its data tasks brought; and with its parent.
func app() error {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), appFor)
	defer cancel()
	var p plan
	if data, err := os.ReadFile(os.Getenv(planVariable)); err != nil {
		return err
	} else if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	a := &appRun{p: &p, ended: make(map[uint64]bool)}
	if err := a.openLog(); err != nil {
		return err
	}
	c := urlsession.Background(tortured)
	c.Daemon, c.Proxy = daemonOf(p.State), urlsession.NoProxy()
	var err error
	if a.s, err = urlsession.New(c); err != nil {
		return err
	}
	creating, created := context.WithCancelCause(ctx)
	go func() { created(cmp.Or(a.create(ctx), errCreated)) }()
	// The events are dealt with from the beginning on; and again once all tasks are made, for the end of the last one may have
	// come before.
	if err := a.listen(creating, nil); context.Cause(creating) != errCreated {
		return fmt.Errorf("create the tasks: %w; listen: %w", context.Cause(creating), err)
	} else if !errors.Is(err, urlsession.ErrCancelled) {
		return fmt.Errorf("listen while tasks are made: %w", err)
	}
	if err := a.listen(ctx, a.allEnded); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return a.compare(ctx)
}

var errCreated = errors.New("all tasks are made")

const (
	tortured = "com.example.torture"
	appFor   = 20 * time.Minute // no app lives longer
)

type appRun struct {
	p   *plan
	s   *urlsession.Session
	log *os.File

	made  map[uint64]int  // the job of a task; once all are made
	ended map[uint64]bool // the tasks whose last event was dealt with
}

// openLog learns what earlier processes have dealt with.
func (a *appRun) openLog() error {
	runs, err := readLog(a.p.Log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, run := range runs {
		for _, l := range run {
			if l.Name == "sessioncompleted" {
				a.ended[l.Task] = true
			}
		}
	}
	a.log, err = os.OpenFile(a.p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return err
}

// create makes the tasks that earlier processes have not made.
func (a *appRun) create(ctx context.Context) error {
	made, there := make(map[uint64]int), make(map[int]bool)
	for st, err := range a.s.Statuses(ctx, 0) {
		if err != nil {
			return fmt.Errorf("list the tasks: %w", err)
		}
		n, err := jobOf(st)
		if err != nil {
			return err
		}
		made[uint64(st.Identifier)], there[n] = n, true
	}
	batches := make(map[int][]job)
	var steps [][]job
	for _, j := range a.p.Jobs {
		switch {
		case j.Batch != 0:
			batches[j.Batch] = append(batches[j.Batch], j)
		case !there[j.Number]:
			steps = append(steps, []job{j})
		}
	}
	for n, jobs := range batches {
		held := 0
		for _, j := range jobs {
			if there[j.Number] {
				held++
			}
		}
		if held == 0 {
			steps = append(steps, jobs)
		} else if held != len(jobs) {
			return fmt.Errorf("%d of the %d tasks of batch %d are there", held, len(jobs), n)
		}
	}
	work := make(chan []job, len(steps))
	for _, s := range steps {
		work <- s
	}
	close(work)
	var group sync.WaitGroup
	errs := make([]error, 4)
	var mu sync.Mutex
	for i := range errs {
		group.Go(func() {
			for jobs := range work {
				select { // the kills find some to be made
				case <-time.After(rand.N(150 * time.Millisecond)):
				case <-ctx.Done():
					errs[i] = ctx.Err()
					return
				}
				tasks, err := a.make(ctx, jobs)
				if err != nil {
					errs[i] = fmt.Errorf("make the task of job %d: %w", jobs[0].Number, err)
					return
				}
				mu.Lock()
				for k, t := range tasks {
					made[uint64(t.Identifier())] = jobs[k].Number
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	a.made = made
	return errors.Join(errs...)
}

// make makes one job's task, or a batch's in one step.
func (a *appRun) make(ctx context.Context, jobs []job) ([]*urlsession.Task, error) {
	if jobs[0].Batch != 0 {
		downloads := make([]urlsession.Download, len(jobs))
		for i, j := range jobs {
			downloads[i] = urlsession.Download{Request: a.p.request(j), Destination: a.p.destination(j)}
		}
		return a.s.DownloadTasks(ctx, downloads)
	}
	j := jobs[0]
	r := a.p.request(j)
	var t *urlsession.Task
	var err error
	switch j.Kind {
	case urlsession.KindDownload:
		t, err = a.s.DownloadTask(ctx, r, a.p.destination(j))
	case urlsession.KindUpload:
		t, err = a.s.UploadTask(ctx, r)
	default:
		t, err = a.s.DataTask(ctx, r)
	}
	return []*urlsession.Task{t}, err
}

// listen deals with events until done, which is asked when a task has ended and when what was stored has been told.
func (a *appRun) listen(ctx context.Context, done func() bool) error {
	if _, err := a.log.WriteString("\n{\"start\":1}\n"); err != nil {
		return err
	}
	for ev, err := range a.s.Events(ctx) {
		if err != nil {
			return err
		}
		if ev.Sequence() > 0 || ev.Name() == "gap" {
			data, err := json.Marshal(ev)
			if err != nil {
				return err
			}
			if _, err := a.log.Write(append(data, '\n')); err != nil {
				return err
			}
		}
		switch ev.(type) {
		case urlsession.Completed:
			a.ended[uint64(ev.Task())] = true
		case urlsession.EventsCompleted:
		default:
			continue
		}
		if done != nil && done() {
			return nil
		}
	}
	return errors.New("the events have ended")
}

func (a *appRun) allEnded() bool {
	for id := range a.made {
		if !a.ended[id] {
			return false
		}
	}
	return true
}

// compare compares the bodies of data tasks.
func (a *appRun) compare(ctx context.Context) error {
	for id, n := range a.made {
		j := a.p.Jobs[n]
		if j.Kind != urlsession.KindData {
			continue
		}
		t, err := a.s.Task(ctx, urlsession.TaskID(id))
		if err != nil {
			return fmt.Errorf("task %d of job %d: %w", id, n, err)
		}
		body, err := t.Body(ctx)
		if err == nil {
			err = j.body().Check(bytes.NewReader(body))
		}
		if err != nil {
			return fmt.Errorf("body of task %d of job %d: %w", id, n, err)
		}
	}
	return nil
}
