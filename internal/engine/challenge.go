package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// Challenge asks as Response does: the attempt keeps its slot, and goes on at the answer.
func (o *observer) Challenge(ctx context.Context, c task.Challenge) (task.Answer, error) {
	r := o.r
	r.mu.Lock()
	if ctx.Err() != nil { // what follows the attempt is said already
		r.mu.Unlock()
		return task.Answer{}, context.Cause(ctx)
	}
	ticket, answer := r.ticket()
	c.Ticket = ticket
	r.rec.Waiting = waitForAnswer(&c)
	r.save(c)
	r.mu.Unlock()
	d, err := await(ctx, answer)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		if w := r.rec.Waiting; w != nil && w.Ticket == ticket {
			r.rec.Waiting = nil
		}
		return task.Answer{}, err
	case d.Answer == nil:
		return task.Answer{}, nil
	case d.Answer.Disposition == task.CancelTask:
		return task.Answer{}, r.userCancelledError(&c)
	}
	return *d.Answer, nil
}

func waitForAnswer(c *task.Challenge) *task.Wait {
	return &task.Wait{Reason: task.WaitAuthentication, Since: time.Now(), Ticket: c.Ticket, Challenge: c}
}

func (r *run) userCancelledError(c *task.Challenge) error {
	return &task.Error{Op: string(r.kind), URL: task.Redact(r.rec.CurrentURL()), Code: task.UserCancelledAuth,
		Err: fmt.Errorf("the answer to the challenge of %s was to cancel", c.Space.Host)}
}

// Challenge ends the attempt: an answer may take days, and come in another process. ask goes on.
func (c *committer) Challenge(ctx context.Context, asked task.Challenge) (task.Answer, error) {
	r := c.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return task.Answer{}, context.Cause(ctx)
	}
	r.challenge = &asked
	r.stop(errChallenged)
	return task.Answer{}, errChallenged
}

// ask has the task wait for an answer to the challenge that has ended its attempt, without a slot of its host and, where
// nobody needs it there, without a place in memory. An answer that the server has had is not given again. r.mu is held.
func (r *run) ask() {
	e, c := r.e, *r.challenge
	r.rec.Answered = slices.DeleteFunc(slices.Clone(r.rec.Answered), func(a task.Answered) bool { return a.Challenge.Space == c.Space })
	r.tries, r.full, r.rec.Next = 0, 0, time.Time{}
	e.mu.Lock()
	e.leaveNetwork(r)
	again := e.kept.since(placeOf(c.Space), r.keeps)
	if !again { // in one step with the look: useKept finds all that ask
		r.asking = true
		e.asking++
	}
	e.mu.Unlock()
	if again { // another task was answered meanwhile
		r.save()
		r.schedule()
		return
	}
	c.Ticket = r.ticketName()
	r.phase = waiting
	r.rec.Waiting = waitForAnswer(&c)
	r.storeQuestion(c)
	r.plan()
}

// storeQuestion stores that the task asks. A store that does not take it is asked again later, and the task stays in memory
// meanwhile. r.mu is held.
func (r *run) storeQuestion(details ...task.Detail) {
	e := r.e
	r.rec.Next = time.Time{}
	if r.save(details...) == nil {
		e.mu.Lock()
		e.leaveParking(r)
		e.mu.Unlock()
		e.tellUnattended()
		return
	}
	r.rec.Next = time.Now().Add(saveAgain)
	e.mu.Lock()
	e.park(r)
	e.mu.Unlock()
}

// stillAsks says whether a task that is woken goes on waiting for an answer. r.mu is held.
func (r *run) stillAsks() bool {
	if !r.rec.AwaitsAnswer() {
		return false
	}
	if r.dirty && !r.fenced {
		r.storeQuestion()
	}
	return true
}

// answered has a task that asks go on with an answer, which is stored first, or ends it. r.mu is held.
func (r *run) answered(d task.Decision) error {
	var a task.Answer
	if d.Answer != nil {
		a = *d.Answer
	}
	c := *r.rec.Waiting.Challenge
	if a.Disposition == task.CancelTask {
		r.complete(r.result, r.userCancelledError(&c))
		if r.dirty {
			return &task.Error{Op: "end task", Code: task.CannotWriteFile,
				Err: errors.New("the task's end could not be stored yet, which is tried again each second")}
		}
		return nil
	}
	return r.goOnWith(append(slices.Clone(r.rec.Answered), task.Answered{Challenge: c, Answer: a}))
}

// goOnWith ends the ticket of a task that asks, and queues it. r.mu is held.
func (r *run) goOnWith(answers []task.Answered) error {
	before := r.rec
	r.rec.Waiting, r.rec.Next, r.rec.Answered = nil, time.Time{}, answers
	if err := r.saveOr(before); err != nil {
		return err
	}
	r.schedule()
	return nil
}

// leaveAsking notes that a run does not wait for an answer. Engine.mu is held.
func (e *Engine) leaveAsking(r *run) {
	if r.asking {
		r.asking = false
		e.asking--
	}
}

// kept is what was kept of credentials beyond the tasks that had them answered. Engine.mu guards it.
type kept struct {
	n      uint64                          // times
	last   map[task.ProtectionSpace]uint64 // of each place, the number of the last time
	fresh  map[task.ProtectionSpace]bool   // places of which waiting tasks have not been told, or could not be
	behind bool                            // a goroutine is telling them, or will try again
}

// placeOf is a protection space for all methods, or a challenge's.
func placeOf(s task.ProtectionSpace) task.ProtectionSpace {
	s.Method = ""
	return s
}

// since says whether a credential of a place was kept after a number of times; one of an empty realm is of all realms.
func (k *kept) since(place task.ProtectionSpace, n uint64) bool {
	all := place
	all.Realm = ""
	return k.last[place] > n || k.last[all] > n
}

// CredentialStored says that a credential of a protection space is there from now on for all tasks of the session. Those that
// wait for an answer there, whatever the method, are queued again to try it, and their tickets end. An empty realm is all of
// them. It returns at once. In process it does nothing: there each attempt is asked for.
func (e *Engine) CredentialStored(space task.ProtectionSpace) {
	if e.lasting == nil {
		return
	}
	leave, err := e.enter("use credential")
	if err != nil {
		return // the tasks go on asking in the next process
	}
	place := placeOf(space)
	e.mu.Lock()
	defer e.mu.Unlock()
	k := &e.kept
	if k.last == nil {
		k.last, k.fresh = make(map[task.ProtectionSpace]uint64), make(map[task.ProtectionSpace]bool)
	}
	k.n++
	k.last[place] = k.n
	k.fresh[place] = true
	if k.behind {
		leave()
		return
	}
	k.behind = true
	go func() {
		defer leave()
		e.useKept()
	}()
}

// useKept queues the tasks that ask for what was kept, until nothing more was. Where the store does not take that, it is tried
// again later.
func (e *Engine) useKept() {
	for {
		e.mu.Lock()
		fresh := kept{last: make(map[task.ProtectionSpace]uint64)}
		for place := range e.kept.fresh {
			fresh.last[place] = 1
		}
		clear(e.kept.fresh)
		if len(fresh.last) == 0 || e.stopping || e.asking == 0 {
			e.kept.behind = false
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		if e.askNoMore(func(rec *task.Record) bool { return fresh.since(placeOf(rec.Waiting.Challenge.Space), 0) }) {
			continue
		}
		e.mu.Lock()
		for place := range fresh.last {
			e.kept.fresh[place] = true
		}
		e.mu.Unlock()
		e.later("use credential", e.useKept)
		return
	}
}

// useKnown queues the tasks of an earlier engine that ask for what is known by now: it may have ended before it told them.
func (e *Engine) useKnown(known func(*task.Record) bool) {
	e.mu.Lock()
	asking := e.asking > 0
	e.mu.Unlock()
	if asking && !e.askNoMore(known) {
		e.later("use credential", func() { e.useKnown(known) })
	}
}

// askNoMore queues those tasks that ask and which chooses: their tickets end. False says that the store did not take it of some,
// which go on asking.
func (e *Engine) askNoMore(which func(*task.Record) bool) bool {
	var refused atomic.Bool
	goOn := func(r *run) {
		if !r.gone && r.rec.AwaitsAnswer() && which(&r.rec) && r.goOnWith(r.rec.Answered) != nil && !r.fenced {
			refused.Store(true)
		}
	}
	// Those in memory first: one that has just asked may be about to be stored.
	runs := e.resident()
	e.together(len(runs), func(i int) {
		r := runs[i]
		r.mu.Lock()
		defer r.unlock()
		goOn(r)
	})
	for after := task.ID(0); !e.hasStopped(); {
		page, err := e.lasting.Pending(context.Background(), after, 1024)
		if err != nil || len(page) == 0 {
			break // what cannot be read goes on asking
		}
		after = page[len(page)-1].ID
		e.together(len(page), func(i int) {
			if !page[i].Asks {
				return
			}
			if rec, err := e.store.Load(context.Background(), page[i].ID); err != nil || !rec.AwaitsAnswer() || !which(&rec) {
				return
			}
			_ = e.change("use credential", page[i].ID, func(r *run) error { // as above
				goOn(r)
				return nil
			})
		})
	}
	return !refused.Load()
}
