package engine

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// progressEvery is the shortest time between two progress events of one task to one listener.
const progressEvery = 100 * time.Millisecond

// Events is Service.Events.
func (e *Engine) Events(ctx context.Context, q task.EventQuery) iter.Seq2[task.Event, error] {
	return func(yield func(task.Event, error) bool) {
		l := listener{e: e, q: q, yield: yield, changed: &e.changed}
		if err := l.begin(ctx); err != nil {
			yield(task.Event{}, err)
			return
		}
		defer l.end()
		if err := l.listen(ctx); err != nil {
			yield(task.Event{}, err)
		}
	}
}

// listener is one iteration of Events. Its yield returns false when the caller has left the loop.
type listener struct {
	e     *Engine
	q     task.EventQuery
	yield func(task.Event, error) bool

	run     *run    // of q.Task, if it has not ended when the listener began
	changed *signal // the task's or the session's
	after   uint64  // the number of the last durable event that was looked at
	replay  uint64  // what was stored when the listener began goes up to here
	live    bool    // EventsCompleted was yielded
	told    map[task.ID]*told
}

// told is the progress of a task that a listener has been told.
type told struct {
	sent, received int64
	at             time.Time
}

var errLeft = errors.New("the caller has left the loop")

func (l *listener) begin(ctx context.Context) (err error) {
	e := l.e
	if l.q.Task != 0 {
		if l.run = e.run(l.q.Task); l.run != nil {
			l.changed = &l.run.changed
		} else if _, err := e.store.Load(ctx, l.q.Task); err != nil {
			return e.storeError("listen to task", err)
		}
	} else if l.after, err = e.store.Acknowledged(ctx); err != nil {
		return e.storeError("listen to session", err)
	}
	if l.q.After != nil {
		l.after = *l.q.After
	}
	if l.replay, err = e.store.Last(ctx); err != nil {
		return e.storeError("listen to session", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.q.Own {
		if e.owned {
			return &task.Error{Op: "listen to session as its owner", Code: task.SessionInUse,
				Err: errors.New("another loop over the session's events is under way; listen to its tasks instead")}
		}
		e.owned = true
	}
	if !l.q.DurableOnly {
		e.watchers++
	}
	return nil
}

func (l *listener) end() {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	if l.q.Own {
		l.e.owned = false
	}
	if !l.q.DurableOnly {
		l.e.watchers--
	}
}

// listen yields events until the last one, the caller leaves (nil for both), or an error.
func (l *listener) listen(ctx context.Context) error {
	var tick *time.Timer
	defer func() {
		if tick != nil {
			tick.Stop()
		}
	}()
	var data <-chan []byte
	if l.run != nil && !l.q.DurableOnly {
		data = l.run.data
	}
	for {
		wake := l.changed.wait()
		if err := l.durable(ctx); err != nil {
			return over(err)
		}
		var next <-chan time.Time
		if !l.q.DurableOnly {
			moving, err := l.progress()
			if err != nil {
				return over(err)
			}
			if moving {
				if tick == nil {
					tick = time.NewTimer(progressEvery)
				} else {
					tick.Reset(progressEvery)
				}
				next = tick.C
			}
		}
		select {
		case <-wake:
		case <-next:
		case p := <-data:
			if err := l.durable(ctx); err != nil { // what is told of the response comes first
				return over(err)
			}
			if !l.tell(l.q.Task, task.DataReceived{Data: p}) {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func over(err error) error {
	if err == errLeft {
		return nil
	}
	return err
}

// durable yields what the store holds beyond l.after. errLeft: the iteration is over.
func (l *listener) durable(ctx context.Context) error {
	for {
		evs, err := l.e.store.Events(ctx, l.after, l.q.Task, 64)
		if err != nil {
			return l.e.storeError("read events", err)
		}
		for _, ev := range evs {
			last := ev.Sequence
			if gap, ok := ev.Detail.(task.Gap); ok {
				last = gap.To
			}
			if !l.live && last > l.replay && !l.goLive() {
				return errLeft
			}
			l.after = last
			if !l.before(ctx, &ev) || !l.yield(ev, nil) {
				return errLeft
			}
			switch ev.Detail.(type) {
			case task.SessionCompleted:
				if delete(l.told, ev.Task); l.q.Task != 0 {
					return errLeft
				}
			case task.Invalidated:
				return errLeft
			}
		}
		if len(evs) == 0 {
			break
		}
	}
	if !l.live && !l.goLive() {
		return errLeft
	}
	return nil
}

// goLive yields EventsCompleted.
func (l *listener) goLive() bool {
	l.live = true
	return l.tell(0, task.EventsCompleted{})
}

// before yields the progress that comes before a durable event, however short the time since the last: what was sent
// before the response, all of it before the end of an attempt.
func (l *listener) before(ctx context.Context, ev *task.Event) bool {
	if l.q.DurableOnly {
		return true
	}
	switch ev.Detail.(type) {
	case task.ResponseReceived:
		if r := l.runOf(ev.Task); l.live && r != nil {
			return l.tellSent(r.kind, ev.Task, r.counts())
		}
	case task.WillRetry:
		if r := l.runOf(ev.Task); l.live && r != nil {
			return l.tellCounts(r.kind, ev.Task, r.counts())
		}
	case task.DownloadCompleted, task.SessionCompleted:
		if rec, err := l.e.store.Load(ctx, ev.Task); err == nil {
			return l.tellCounts(rec.Spec.Kind, ev.Task, rec.Counts)
		}
	}
	return true
}

func (l *listener) runOf(id task.ID) *run {
	if l.run != nil {
		return l.run
	}
	return l.e.run(id)
}

// progress yields the newest progress of the tasks that moved and are due, and says whether any may move soon.
func (l *listener) progress() (moving bool, err error) {
	now := time.Now()
	for _, r := range l.active() {
		moving = true
		if t := l.told[r.id]; t != nil && now.Sub(t.at) < progressEvery {
			continue
		}
		if !l.tellCounts(r.kind, r.id, r.counts()) {
			return false, errLeft
		}
	}
	return moving, nil
}

// active are the runs of the query that have an attempt under way.
func (l *listener) active() []*run {
	e := l.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.q.Task != 0 {
		if _, ok := e.active[l.run]; ok {
			return []*run{l.run}
		}
		return nil
	}
	runs := make([]*run, 0, len(e.active))
	for r := range e.active {
		runs = append(runs, r)
	}
	return runs
}

func (l *listener) tellCounts(kind task.Kind, id task.ID, c task.Counts) bool {
	if !l.tellSent(kind, id, c) {
		return false
	}
	t := l.toldOf(id)
	if kind != task.Download || c.Received == t.received {
		return true
	}
	written := max(0, c.Received-t.received)
	t.received, t.at = c.Received, time.Now()
	return l.tell(id, task.DownloadProgress{Written: written, Total: c.Received, Expected: max(0, c.ExpectedToReceive)})
}

func (l *listener) tellSent(kind task.Kind, id task.ID, c task.Counts) bool {
	t := l.toldOf(id)
	if c.Sent == t.sent {
		return true
	}
	sent := max(0, c.Sent-t.sent)
	t.sent, t.at = c.Sent, time.Now()
	return l.tell(id, task.UploadProgress{Sent: sent, Total: c.Sent, Expected: max(0, c.ExpectedToSend)})
}

func (l *listener) toldOf(id task.ID) *told {
	t := l.told[id]
	if t == nil {
		if l.told == nil {
			l.told = make(map[task.ID]*told)
		}
		t = new(told)
		l.told[id] = t
	}
	return t
}

// tell yields a live event.
func (l *listener) tell(id task.ID, d task.Detail) bool {
	return l.yield(task.Event{Session: l.e.session, Task: id, Time: time.Now(), Detail: d}, nil)
}
