package engine

import (
	"context"
	"errors"
	"iter"
	"maps"
	"math"
	"slices"
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
		defer l.leave()
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

// begin finds out where to begin. On an error the iteration is over.
func (l *listener) begin(ctx context.Context) (err error) {
	e := l.e
	if err := l.enter(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			l.leave()
		}
	}()
	if l.q.Task != 0 {
		if l.run, err = e.attend(ctx, l.q.Task); err != nil {
			return err
		}
		if l.run != nil {
			l.changed = &l.run.changed
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
	return nil
}

func (l *listener) enter() error {
	e := l.e
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

func (l *listener) leave() {
	l.e.mu.Lock()
	if l.q.Own {
		l.e.owned = false
	}
	if !l.q.DurableOnly {
		l.e.watchers--
	}
	l.e.mu.Unlock()
	if l.q.Own {
		if last, err := l.e.store.Last(context.Background()); err == nil && last > l.after {
			l.e.tellUnattended()
		}
	}
	if l.run != nil {
		l.run.unattend()
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
	if l.q.Own && l.e.lasting != nil && l.replay > l.after {
		if !l.tell(0, task.BackgroundTransfer{SessionID: l.e.session}) {
			return nil
		}
	}
	var data <-chan piece
	if l.run != nil && !l.q.DurableOnly {
		data = l.run.data
	}
	for {
		wake, last := l.changed.wait(), l.ended()
		if err := l.durable(ctx, math.MaxUint64); err != nil {
			return over(err)
		}
		if last {
			return l.missed(ctx)
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
			// The attempt goes on meanwhile: what it stores from here on comes after the piece.
			if err := l.durable(ctx, p.after); err != nil {
				return over(err)
			}
			if !l.tell(l.q.Task, task.DataReceived{Data: p.data}) {
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

// ended says whether no event can follow those that the store has.
func (l *listener) ended() bool {
	if l.q.Task != 0 {
		return l.run == nil || l.run.hasEnded()
	}
	e := l.e
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.over
}

// missed is why the last event did not come: nil where the listener asked for those after it.
func (l *listener) missed(ctx context.Context) error {
	if l.q.Task == 0 {
		return nil
	}
	_, err := l.e.endOf(ctx, l.q.Task)
	return err
}

// durable yields what the store holds beyond l.after, up to a number. errLeft: the iteration is over.
func (l *listener) durable(ctx context.Context, to uint64) error {
	for {
		fixed, err := l.fixed(ctx)
		if err != nil {
			return err
		}
		evs, err := l.e.store.Events(ctx, l.after, l.q.Task, 64)
		if err != nil {
			return l.e.storeError("read events", err)
		}
		for _, ev := range evs {
			last := ev.Sequence
			if gap, ok := ev.Detail.(task.Gap); ok {
				last = gap.To
			}
			if last > to {
				return nil
			}
			if last > fixed {
				break // it came in between, and is read again
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
			case task.Gap: // the ends of some tasks are in it
				maps.DeleteFunc(l.told, func(id task.ID, _ *told) bool { return l.e.run(id) == nil })
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

// fixed is up to where events may be read: later ones may yet be replaced by newer.
func (l *listener) fixed(ctx context.Context) (uint64, error) {
	if l.e.lasting == nil {
		return math.MaxUint64, nil
	}
	last, err := l.e.store.Last(ctx)
	if err != nil {
		return 0, l.e.storeError("read events", err)
	}
	l.e.audience.tell(last)
	return last, nil
}

// goLive yields EventsCompleted.
func (l *listener) goLive() bool {
	l.live = true
	return l.tell(0, task.EventsCompleted{})
}

// before yields the progress that comes before a durable event, however short the time since the last: what was sent
// before the response, all of it before the end of an attempt. Of an attempt that another has followed meanwhile it is
// no longer known.
func (l *listener) before(ctx context.Context, ev *task.Event) bool {
	if l.q.DurableOnly {
		return true
	}
	switch ev.Detail.(type) {
	case task.ResponseReceived, task.WillRetry, task.DownloadCompleted, task.SessionCompleted:
	default:
		return true
	}
	kind, c, known := l.countsAt(ctx, ev)
	if !known {
		return true
	}
	if _, ok := ev.Detail.(task.ResponseReceived); ok {
		return l.tellSent(kind, ev.Task, c)
	}
	return l.tellCounts(kind, ev.Task, c)
}

// countsAt is the progress of the attempt that a task's event is of, if that is its newest.
func (l *listener) countsAt(ctx context.Context, ev *task.Event) (_ task.Kind, _ task.Counts, known bool) {
	e := l.e
	e.mu.Lock()
	r, d := e.runs[ev.Task], e.ended[ev.Task]
	m, late := e.lately.moved[ev.Task]
	e.mu.Unlock()
	if r != nil {
		p := r.progress.Load()
		return r.kind, p.counts(), ev.Sequence > p.after
	}
	switch ev.Detail.(type) {
	case task.DownloadCompleted, task.SessionCompleted:
	default:
		if d == nil || ev.Sequence <= d.after {
			return "", task.Counts{}, false
		}
	}
	if late {
		return m.kind, m.counts, true
	}
	rec, err := e.store.Load(ctx, ev.Task)
	return rec.Spec.Kind, rec.Counts, err == nil
}

// progress yields the newest progress of the tasks that moved and are due, and says whether any may move soon.
func (l *listener) progress() (moving bool, err error) {
	now := time.Now()
	for _, r := range l.active() {
		moving = true
		if t := l.told[r.id]; t != nil && now.Sub(t.at) < progressEvery {
			continue
		}
		c := r.counts()
		if r.behind.Load() || r.seq.Load() > l.after {
			continue // an event comes before this progress, and wakes the listener
		}
		if !l.tellCounts(r.kind, r.id, c) {
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
		if l.run != nil && l.run.active != 0 {
			return []*run{l.run}
		}
		return nil
	}
	return slices.Clone(e.active)
}

func (l *listener) tellCounts(kind task.Kind, id task.ID, c task.Counts) bool {
	if !l.tellSent(kind, id, c) {
		return false
	}
	t := l.toldOf(id)
	if kind != task.Download || c.Received == t.received {
		return true
	}
	written := since(t.received, c.Received)
	t.received, t.at = c.Received, time.Now()
	return l.tell(id, task.DownloadProgress{Written: written, Total: c.Received, Expected: max(0, c.ExpectedToReceive)})
}

func (l *listener) tellSent(kind task.Kind, id task.ID, c task.Counts) bool {
	t := l.toldOf(id)
	if c.Sent == t.sent {
		return true
	}
	sent := since(t.sent, c.Sent)
	t.sent, t.at = c.Sent, time.Now()
	return l.tell(id, task.UploadProgress{Sent: sent, Total: c.Sent, Expected: max(0, c.ExpectedToSend), Confirmed: c.Confirmed})
}

// since is how many bytes have moved since before; a body that is at less now has started over from 0.
func since(before, now int64) int64 {
	if now < before {
		return now
	}
	return now - before
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
