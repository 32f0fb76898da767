package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/engine"
	"github.com/urlsession/urlsession/internal/store"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

// guarded is a server whose realms each take one password, asked for as the chain does: what the session has stored, then the
// answers of before, then whoever the task asks.
type guarded struct {
	mu     sync.Mutex
	stored map[string]string // by realm
	realm  func(*transfer.Attempt) []string
}

func spaceOf(realm string) task.ProtectionSpace {
	return task.ProtectionSpace{Scheme: "http", Host: "h", Port: 80, Realm: realm, Method: "Digest"}
}

func (g *guarded) store(realm, password string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stored == nil {
		g.stored = make(map[string]string)
	}
	g.stored[realm] = password
}

func (g *guarded) run(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
	realms := []string{"door"}
	if g.realm != nil {
		realms = g.realm(a)
	}
	for _, realm := range realms {
		if ok, err := g.enter(ctx, a, realm); err != nil {
			return transfer.Result{Unsent: false, Transactions: make([]task.Transaction, 1)}, err
		} else if !ok {
			return answer(http.StatusUnauthorized)(ctx, a)
		}
	}
	return answer(200)(ctx, a)
}

func (g *guarded) enter(ctx context.Context, a *transfer.Attempt, realm string) (bool, error) {
	g.mu.Lock()
	stored := g.stored[realm]
	g.mu.Unlock()
	if stored == "open "+realm {
		return true, nil
	}
	failures := 0
	for _, past := range a.Answered {
		if past.Challenge.Space != spaceOf(realm) {
			continue
		}
		if past.Answer.Disposition != task.UseCredential {
			return false, nil
		}
		if past.Answer.Credential.Password == "open "+realm {
			return true, nil
		}
		failures = past.Challenge.Failures + 1
	}
	for {
		if !a.Spec.Policy.Ask.Challenge {
			return false, nil
		}
		got, err := a.Observer.Challenge(ctx, task.Challenge{Space: spaceOf(realm), Failures: failures})
		switch {
		case err != nil:
			return false, fmt.Errorf("in the chain: %w", err)
		case got.Disposition != task.UseCredential:
			return false, nil
		case got.Credential.Password == "open "+realm:
			return true, nil
		}
		failures++
	}
}

func asks(s *task.Spec) { s.Policy.Ask.Challenge = true }

func use(password string) task.Decision {
	return task.Decision{Answer: &task.Answer{Disposition: task.UseCredential, Credential: &task.Credential{User: "u", Password: password}}}
}

func disposition(d task.Disposition) task.Decision {
	return task.Decision{Answer: &task.Answer{Disposition: d}}
}

// question is what a task asks now.
func question(t *testing.T, e *engine.Engine, id task.ID) *task.Wait {
	t.Helper()
	synctest.Wait()
	rec, err := e.Task(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	w := rec.Waiting
	if rec.State != task.Running || w == nil || w.Reason != task.WaitAuthentication || w.Ticket == "" || w.Challenge == nil || w.Challenge.Ticket != w.Ticket || w.Since.IsZero() {
		t.Fatalf("task %d does not ask: %s, %+v", id, rec.State, w)
	}
	return w
}

func reply(t *testing.T, e *engine.Engine, id task.ID, ticket string, d task.Decision) {
	t.Helper()
	if err := e.Answer(t.Context(), id, ticket, d); err != nil {
		t.Fatal(err)
	}
}

// Whoever runs the task, in process or in the daemon, it is answered alike.
func TestChallenge(t *testing.T) {
	for _, lasting := range []bool{false, true} {
		for name, c := range map[string]struct {
			answers []task.Decision
			code    task.Code
			status  int
		}{
			"used":            {[]task.Decision{use("open door")}, 0, 200},
			"wrong at first":  {[]task.Decision{use("ajar"), use("closed"), use("open door")}, 0, 200},
			"default":         {[]task.Decision{{}}, 0, 401},
			"rejected":        {[]task.Decision{disposition(task.RejectSpace)}, 0, 401},
			"cancelled":       {[]task.Decision{disposition(task.CancelTask)}, task.UserCancelledAuth, 0},
			"cancelled later": {[]task.Decision{use("ajar"), disposition(task.CancelTask)}, task.UserCancelledAuth, 0},
		} {
			t.Run(fmt.Sprintf("%s, lasting %v", name, lasting), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var e *engine.Engine
					if lasting {
						e = newDisk().boot(t, new(guarded).run).Engine
					} else {
						e = start(t, new(guarded).run)
					}
					id := create(t, e, get("http://h/", asks, method("POST")))
					for i, a := range c.answers {
						w := question(t, e, id)
						if w.Challenge.Failures != i || w.Challenge.Space != spaceOf("door") {
							t.Errorf("asked %+v after %d answers", w.Challenge, i)
						}
						reply(t, e, id, w.Ticket, a)
						if rec, _ := e.Task(t.Context(), id); rec.Waiting != nil && rec.Waiting.Reason == task.WaitAuthentication && rec.Waiting.Ticket == w.Ticket {
							t.Error("it waits for what was answered")
						}
						if again := e.Answer(t.Context(), id, w.Ticket, a); !errors.Is(again, task.ResourceUnavailable) {
							t.Errorf("a second answer: %v", again)
						}
					}
					rec := end(t, e, id)
					if c.code != 0 {
						if rec.Failure == nil || rec.Failure.Code != c.code {
							t.Errorf("ended with %v", rec.Failure.Err())
						}
					} else if rec.Failure != nil || rec.Response.Status != c.status {
						t.Errorf("ended with %v, %+v", rec.Failure.Err(), rec.Response)
					}
					if rec.Waiting != nil || rec.Answered != nil {
						t.Errorf("ended, it has %+v and %v", rec.Waiting, rec.Answered)
					}
					challenges := 0
					for _, ev := range collect(t, e, id) {
						switch d := ev.Detail.(type) {
						case task.Challenge:
							if challenges++; d.Ticket == "" {
								t.Error("an event without a ticket")
							}
						case task.Waiting:
							t.Errorf("an event %+v", d)
						}
					}
					if challenges != len(c.answers) {
						t.Errorf("%d challenges told, of %d", challenges, len(c.answers))
					}
				})
			})
		}
	}
}

// A task that does not ask is not asked for.
func TestUnansweredChallengeIsTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newDisk().boot(t, new(guarded).run)
		if rec := end(t, p.Engine, create(t, p.Engine, get("http://h/"))); rec.Failure != nil || rec.Response.Status != 401 {
			t.Errorf("ended with %v, %+v", rec.Failure.Err(), rec.Response)
		}
	})
}

// In process the slot stays the attempt's while it asks; suspended, cancelled or out of time, the attempt ends.
func TestChallengeInProcessEndsWithItsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, new(guarded).run, func(o *engine.Options) { o.MaxPerHost = 1 })
		id := create(t, e, get("http://h/", asks))
		other := create(t, e, get("http://h/"))
		first := question(t, e, id)
		if rec, _ := e.Task(t.Context(), other); rec.Waiting == nil || rec.Waiting.Reason != task.WaitHostLimit {
			t.Errorf("the other task: %+v", rec.Waiting)
		}
		e.Suspend(t.Context(), id)
		synctest.Wait()
		if rec, _ := e.Task(t.Context(), id); rec.State != task.Suspended || rec.Waiting != nil {
			t.Errorf("suspended it is %s, %+v", rec.State, rec.Waiting)
		}
		end(t, e, other)
		e.Resume(t.Context(), id)
		second := question(t, e, id)
		if first.Ticket == second.Ticket {
			t.Errorf("it asks by ticket %s again", second.Ticket)
		}
		if err := e.Answer(t.Context(), id, first.Ticket, use("open door")); !errors.Is(err, task.ResourceUnavailable) {
			t.Errorf("the first ticket: %v", err)
		}
		e.Cancel(t.Context(), id)
		if rec := end(t, e, id); rec.Failure == nil || rec.Failure.Code != task.Cancelled {
			t.Errorf("ended with %v", rec.Failure.Err())
		}
		late := create(t, e, get("http://h/", asks, timeout(time.Minute)))
		question(t, e, late)
		if rec := end(t, e, late); rec.Failure == nil || rec.Failure.Code != task.TimedOut {
			t.Errorf("ended with %v", rec.Failure.Err())
		}
	})
}

// In a session that outlives its process the task gives its slot away, and goes on by nothing but an answer: not by time, not
// by a network that changes, not by a new process, which has it in the store alone.
func TestParkedTaskOutlivesItsProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		var log attempts
		g := new(guarded)
		one := func(o *engineOptions) { o.MaxPerHost = 1 }
		p := d.boot(t, log.run(g.run), resident(1), one)
		id := create(t, p.Engine, get("http://h/", asks, timeout(0)))
		dated := create(t, p.Engine, get("http://h/", asks, timeout(49*time.Hour)))
		end(t, p.Engine, create(t, p.Engine, get("http://h/")))
		before := question(t, p.Engine, id)
		events := len(d.log(t, id))
		for range 2 {
			time.Sleep(24 * time.Hour)
			if n := p.InMemory(); n > 1 {
				t.Errorf("%d tasks are in memory", n)
			}
			p.crash()
			p = d.boot(t, log.run(g.run), resident(1), one)
			synctest.Wait()
			if n := p.InMemory(); n != 0 {
				t.Errorf("%d tasks are in memory at the start", n)
			}
		}
		if n := len(log.list()); n != 3 {
			t.Errorf("%d attempts were made of three tasks", n)
		}
		after := question(t, p.Engine, id)
		if after.Ticket != before.Ticket || !after.Since.Equal(before.Since) || len(d.log(t, id)) != events {
			t.Errorf("it asks %+v after %+v, with %d events more", after, before, len(d.log(t, id))-events)
		}
		reply(t, p.Engine, id, after.Ticket, use("open door"))
		p.crash() // at once: what was answered is not lost
		p = d.boot(t, log.run(g.run), resident(1), one)
		if rec := end(t, p.Engine, id); rec.Failure != nil || rec.Response.Status != 200 {
			t.Errorf("ended with %v, %+v", rec.Failure.Err(), rec.Response)
		}
		// The other waits to the end of its time, which does not stand.
		time.Sleep(24 * time.Hour)
		created, rec := d.record(t, dated).Created, d.record(t, dated)
		if rec.Failure == nil || rec.Failure.Code != task.TimedOut || rec.Ended.Sub(created) != 49*time.Hour {
			t.Errorf("ended with %v after %v", rec.Failure.Err(), rec.Ended.Sub(created))
		}
	})
}

// Many tasks that ask are no more in memory than suspended ones, and are found there by who asks for them.
func TestParkedTasksAreNotInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, room = 1000, 10
		d := newDisk()
		p := d.boot(t, new(guarded).run, resident(room))
		for i := range n {
			create(t, p.Engine, get("http://h/", asks, func(s *task.Spec) {
				if i%2 == 0 {
					s.Policy.ResourceTimeout = 0
				}
			}))
		}
		synctest.Wait()
		if got := p.InMemory(); got > room {
			t.Errorf("%d of %d tasks are in memory", got, p.Alive())
		}
		reply(t, p.Engine, n, question(t, p.Engine, n).Ticket, use("open door"))
		end(t, p.Engine, n)
		p.Cancel(t.Context(), 1)
		if rec := end(t, p.Engine, 1); rec.Failure == nil || rec.Failure.Code != task.Cancelled {
			t.Errorf("ended with %v", rec.Failure.Err())
		}
		p.Invalidate(t.Context())
		synctest.Wait()
		if n := p.Alive(); n != 0 {
			t.Errorf("%d tasks have not ended with their session", n)
		}
	})
}

// Suspended and resumed, or moved to another URL, the task asks anew, and its ticket of before is gone.
func TestParkedTaskAsksAnew(t *testing.T) {
	for name, change := range map[string]func(*process, task.ID){
		"resumed": func(p *process, id task.ID) {
			p.Suspend(context.Background(), id)
			p.Resume(context.Background(), id)
		},
		"moved": func(p *process, id task.ID) { p.ReplaceURL(context.Background(), id, "http://h/b") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newDisk().boot(t, new(guarded).run)
				id := create(t, p.Engine, get("http://h/", asks))
				first := question(t, p.Engine, id)
				change(p, id)
				second := question(t, p.Engine, id)
				if first.Ticket == second.Ticket {
					t.Errorf("it asks by ticket %s again", second.Ticket)
				}
				if err := p.Answer(t.Context(), id, first.Ticket, use("open door")); !errors.Is(err, task.ResourceUnavailable) {
					t.Errorf("the first ticket: %v", err)
				}
				reply(t, p.Engine, id, second.Ticket, use("open door"))
				end(t, p.Engine, id)
			})
		})
	}
}

// A task through two doors keeps the answer for the first while it asks for the second; one that was refused goes.
func TestAnswersOfSeveralSpaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		g := &guarded{realm: func(*transfer.Attempt) []string { return []string{"outer", "inner"} }}
		p := d.boot(t, g.run)
		id := create(t, p.Engine, get("http://h/", asks))
		for _, password := range []string{"no", "open outer", "no", "open inner"} {
			w := question(t, p.Engine, id)
			if n := len(d.record(t, id).Answered); n > 1 {
				t.Errorf("%d answers are kept while it asks of %s", n, w.Challenge.Space.Realm)
			}
			reply(t, p.Engine, id, w.Ticket, use(password))
		}
		if rec := end(t, p.Engine, id); rec.Failure != nil || rec.Response.Status != 200 || rec.Attempt != 5 {
			t.Errorf("attempt %d ended with %v, %+v", rec.Attempt, rec.Failure.Err(), rec.Response)
		}
		if d.record(t, id).Answered != nil {
			t.Error("the ended task's record has answers")
		}
	})
}

// What was said of one method stands while another is asked for.
func TestAnswersOfSeveralMethods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		space := func(method string) task.ProtectionSpace {
			return task.ProtectionSpace{Scheme: "http", Host: "h", Port: 80, Method: method}
		}
		d := newDisk()
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			for i, method := range []string{"Negotiate", "NTLM"} {
				if len(a.Answered) <= i || a.Answered[i].Challenge.Space != space(method) {
					_, err := a.Observer.Challenge(ctx, task.Challenge{Space: space(method)})
					return transfer.Result{}, err
				}
			}
			return answer(200)(ctx, a)
		})
		id := create(t, p.Engine, get("http://h/", asks))
		reply(t, p.Engine, id, question(t, p.Engine, id).Ticket, disposition(task.RejectSpace))
		reply(t, p.Engine, id, question(t, p.Engine, id).Ticket, use("open"))
		if rec := end(t, p.Engine, id); rec.Failure != nil || rec.Attempt != 3 {
			t.Errorf("attempt %d ended with %v", rec.Attempt, rec.Failure.Err())
		}
	})
}

// An answer is for the task, not for the one attempt: what breaks off after it goes on with it.
func TestAnswerLastsOverRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		g := new(guarded)
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			res, err := g.run(ctx, a)
			if err == nil && a.Number < 5 {
				err = lost(false)
			}
			return res, err
		})
		id := create(t, p.Engine, get("http://h/", asks, retries(-1)))
		reply(t, p.Engine, id, question(t, p.Engine, id).Ticket, use("open door"))
		if rec := end(t, p.Engine, id); rec.Failure != nil || rec.Attempt != 5 {
			t.Errorf("attempt %d ended with %v", rec.Attempt, rec.Failure.Err())
		}
	})
}

// What a task was answered is told to nobody who asks for the task.
func TestAnswersAreNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		g := new(guarded)
		p := d.boot(t, steps(g.run, hang), resident(1), func(o *engineOptions) { o.MaxPerHost = 1 })
		id := create(t, p.Engine, get("http://h/", asks))
		reply(t, p.Engine, id, question(t, p.Engine, id).Ticket, use("open door"))
		synctest.Wait()
		if len(d.record(t, id).Answered) != 1 {
			t.Fatal("the store has no answer: nothing was to be told")
		}
		look := func(e *engine.Engine) {
			t.Helper()
			if rec, err := e.Task(t.Context(), id); err != nil || rec.Answered != nil {
				t.Errorf("Task: %v, %v", rec.Answered, err)
			}
			for rec, err := range e.Tasks(t.Context()) {
				if err != nil || rec.Answered != nil {
					t.Errorf("Tasks: %v, %v", rec.Answered, err)
				}
			}
		}
		look(p.Engine) // in memory
		p.Suspend(t.Context(), id)
		p.Stop(t.Context())
		p = d.boot(t, hang)
		look(p.Engine) // in the store alone
	})
}

// A store that does not take the question is asked again, and the event comes once; one that does not take the answer says so,
// and the ticket stays.
func TestQuestionAndAnswerThatCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		var roomy atomic.Bool
		p := &process{beforeSave: func(*task.Record) error { return fullUnless(&roomy) }}
		d.start(t, p, new(guarded).run, resident(1))
		id := create(t, p.Engine, get("http://h/", asks))
		for range 400 { // more than wait for the store at a time
			create(t, p.Engine, get("http://h/", asks))
		}
		time.Sleep(time.Minute)
		if n := len(d.log(t, id)); n != 0 {
			t.Fatalf("%d events are stored", n)
		}
		roomy.Store(true)
		time.Sleep(2 * time.Second)
		w := question(t, p.Engine, id)
		question(t, p.Engine, 401)
		if n := p.InMemory(); n > 1 {
			t.Errorf("%d tasks are in memory", n)
		}
		roomy.Store(false)
		if err := p.Answer(t.Context(), id, w.Ticket, use("open door")); !errors.Is(err, task.CannotWriteFile) {
			t.Errorf("an answer that cannot be stored: %v", err)
		}
		roomy.Store(true)
		reply(t, p.Engine, id, question(t, p.Engine, id).Ticket, use("open door"))
		if got := names(collect(t, p.Engine, id)); got != "metrics challenge sessioneventscompleted responsereceived sessioncompleted" {
			t.Errorf("events %s", got)
		}
	})
}

func TestCancelAnswerThatCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		var roomy atomic.Bool
		roomy.Store(true)
		p := &process{beforeSave: func(*task.Record) error { return fullUnless(&roomy) }}
		d.start(t, p, new(guarded).run)
		id := create(t, p.Engine, get("http://h/", asks))
		w := question(t, p.Engine, id)
		roomy.Store(false)
		if err := p.Answer(t.Context(), id, w.Ticket, disposition(task.CancelTask)); !errors.Is(err, task.CannotWriteFile) {
			t.Errorf("a cancel that cannot be stored: %v", err)
		}
		roomy.Store(true)
		if rec := end(t, p.Engine, id); rec.Failure == nil || rec.Failure.Code != task.UserCancelledAuth {
			t.Errorf("ended with %v", rec.Failure.Err())
		}
	})
}

// A credential that is kept for the session has the other tasks of its space try it, those in the store alone too, and none of
// other spaces; their tickets end.
func TestStoredCredentialIsTriedByTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 300
		d := newDisk()
		var log attempts
		g := &guarded{realm: func(a *transfer.Attempt) []string {
			if a.ID%3 == 0 {
				return []string{"window"}
			}
			return []string{"door"}
		}}
		p := d.boot(t, log.run(g.run), resident(5))
		for range n {
			create(t, p.Engine, get("http://h/", asks))
		}
		ticket := question(t, p.Engine, 1).Ticket
		question(t, p.Engine, 3)
		p.crash()
		p = d.boot(t, log.run(g.run), resident(5))
		synctest.Wait()

		place := spaceOf("door")
		place.Method = "Basic"
		p.CredentialStored(place) // it is of no use
		synctest.Wait()
		if w := question(t, p.Engine, 1); w.Ticket == ticket {
			t.Error("it was not tried, or asks by its old ticket")
		}
		if made := len(log.list()); made != n+n*2/3 {
			t.Errorf("%d attempts", made)
		}
		g.store("door", "open door")
		p.CredentialStored(place)
		p.CredentialStored(place) // as one of them does once it was taken
		synctest.Wait()
		if alive := p.Alive(); alive != n/3 {
			t.Errorf("%d tasks have not ended", alive)
		}
		if made := len(log.list()); made != n+2*n*2/3 {
			t.Errorf("%d attempts", made)
		}
		question(t, p.Engine, 3)
		g.store("window", "open window")
		place.Realm = "" // all of them
		p.CredentialStored(place)
		synctest.Wait()
		if alive := p.Alive(); alive != 0 {
			t.Errorf("%d tasks have not ended", alive)
		}
	})
}

// One that was challenged before the credential was kept, and asks after, tries it too.
func TestStoredCredentialMeetsAnAttemptUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		g := new(guarded)
		p := d.boot(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			res, err := g.run(ctx, a)
			if err != nil {
				time.Sleep(time.Second) // it was challenged, and has not said so yet
			}
			return res, err
		})
		id := create(t, p.Engine, get("http://h/", asks))
		time.Sleep(time.Second / 2)
		g.store("door", "open door")
		p.CredentialStored(spaceOf("door"))
		if rec := end(t, p.Engine, id); rec.Failure != nil || rec.Response.Status != 200 || rec.Attempt != 2 {
			t.Errorf("attempt %d ended with %v, %+v", rec.Attempt, rec.Failure.Err(), rec.Response)
		}
	})
}

// listed says when the tasks that have not ended are listed.
type listed struct {
	*processStore
	pending chan struct{}
}

func (s listed) Pending(ctx context.Context, after task.ID, limit int) ([]store.Pending, error) {
	select {
	case s.pending <- struct{}{}:
	default:
	}
	return s.processStore.Pending(ctx, after, limit)
}

// So does one whose question is on its way to the store.
func TestStoredCredentialMeetsAQuestion(t *testing.T) {
	d := newDisk()
	g := new(guarded)
	asking, stored := make(chan struct{}, 1), make(chan struct{})
	p := &process{beforeSave: func(rec *task.Record) error {
		if rec.AwaitsAnswer() {
			asking <- struct{}{}
			<-stored
		}
		return nil
	}}
	pending := make(chan struct{}, 1)
	d.start(t, p, g.run, func(o *engineOptions) { o.Store = listed{&processStore{d.Store, p}, pending} })
	<-pending // by Open
	id := create(t, p.Engine, get("http://h/", asks))
	<-asking
	g.store("door", "open door")
	p.CredentialStored(spaceOf("door"))
	select {
	case <-pending: // the store does not have the question yet
	case <-time.After(100 * time.Millisecond):
	}
	close(stored)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if rec, err := p.Wait(ctx, id); err != nil || rec.Failure != nil || rec.Response.Status != 200 || rec.Attempt != 2 {
		t.Errorf("%v; attempt %d ended with %v, %+v", err, rec.Attempt, rec.Failure.Err(), rec.Response)
	}
}

// A place in the queue that the task has left behind gives it no attempt while it asks.
func TestParkedTaskHasNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		var log attempts
		g := new(guarded)
		p := d.boot(t, log.run(func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			time.Sleep(time.Second)
			return g.run(ctx, a)
		}), resident(1), func(o *engineOptions) { o.MaxPerHost = 1 })
		create(t, p.Engine, get("http://h/"))
		id := create(t, p.Engine, get("http://h/", asks))
		for range 5 {
			p.SetPriority(t.Context(), id, task.PriorityDefault) // which loads it
		}
		time.Sleep(time.Minute)
		question(t, p.Engine, id)
		if n := len(log.list()); n != 2 {
			t.Errorf("%d attempts of two tasks", n)
		}
	})
}

// A question that nobody waits for any more is not shown.
func TestQuestionThatIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if _, err := a.Observer.Challenge(short, task.Challenge{Space: spaceOf("door")}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it was given up with %v", err)
			}
			return hang(ctx, a)
		})
		id := create(t, e, get("http://h/", asks))
		question(t, e, id)
		time.Sleep(time.Minute)
		if rec, _ := e.Task(t.Context(), id); rec.Waiting != nil {
			t.Errorf("it waits for %+v", rec.Waiting)
		}
	})
}

// In process, and once the engine has stopped, it changes nothing.
func TestStoredCredentialElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, new(guarded).run)
		id := create(t, e, get("http://h/", asks))
		ticket := question(t, e, id).Ticket
		e.CredentialStored(spaceOf("door"))
		if w := question(t, e, id); w.Ticket != ticket {
			t.Errorf("it asks by %s after %s", w.Ticket, ticket)
		}
		e.Cancel(t.Context(), id)
		d := newDisk()
		p := d.boot(t, new(guarded).run)
		id = create(t, p.Engine, get("http://h/", asks))
		ticket = question(t, p.Engine, id).Ticket
		p.Stop(t.Context())
		p.CredentialStored(spaceOf("door"))
		if err := p.Answer(t.Context(), id, ticket, use("open door")); !errors.Is(err, task.DaemonLost) {
			t.Errorf("an answer to an engine that has stopped: %v", err)
		}
		if rec := d.record(t, id); rec.Waiting == nil || rec.Waiting.Ticket != ticket {
			t.Errorf("it has %+v", rec.Waiting)
		}
	})
}
