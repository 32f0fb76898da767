package urlsession

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const hunter = "hunter2 is not for logs"

// locked is an origin whose paths want user "u" and a password, by Basic; /b beside /a of another realm.
func locked(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user == "u" && password == hunter {
			fmt.Fprint(w, "welcome")
			return
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", r.URL.Path))
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, "who is it?")
	}))
	t.Cleanup(srv.Close)
	return srv
}

func spaceAt(t *testing.T, srv *httptest.Server, realm string) ProtectionSpace {
	t.Helper()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	var port int
	fmt.Sscan(u.Port(), &port)
	return ProtectionSpace{Scheme: "http", Host: u.Hostname(), Port: port, Realm: realm, Method: AuthBasic}
}

func using(password string) ChallengeAnswer {
	return ChallengeAnswer{Disposition: UseCredential, Credential: Credential{User: "u", Password: password}}
}

func TestChallengesAreDecided(t *testing.T) {
	srv := locked(t)
	var mu sync.Mutex
	var asked []Challenge
	var decide func(Challenge) ChallengeAnswer
	s := offline(t, func(c *Configuration) {
		c.OnChallenge = func(ctx context.Context, task *Task, c Challenge) ChallengeAnswer {
			if task != nil {
				if st := status(t, task); st.Waiting == nil || st.Waiting.Reason != WaitAuthentication || st.Waiting.Ticket != c.Ticket || st.Waiting.Challenge.Space != c.Space {
					t.Errorf("asked of a task that waits for %+v", st.Waiting)
				}
			}
			mu.Lock()
			asked = append(asked, c)
			mu.Unlock()
			return decide(c)
		}
	})
	decide = func(c Challenge) ChallengeAnswer {
		if c.PreviousFailures == 0 {
			return using("no")
		}
		return using(hunter)
	}
	body, _, err := s.Data(within(t), Get(srv.URL+"/a"))
	if err != nil || string(body) != "welcome" {
		t.Errorf("%q, %v", body, err)
	}
	if len(asked) != 2 {
		t.Fatalf("asked %d times", len(asked))
	}
	if a := asked[0]; a.Space != spaceAt(t, srv, "/a") || a.Err != nil || a.ProposedUser != "" || a.Ticket == "" {
		t.Errorf("asked at first %+v", a)
	}
	if a := asked[1]; a.PreviousFailures != 1 || a.Err == nil || a.ProposedUser != "u" || a.Ticket == asked[0].Ticket {
		t.Errorf("asked at last %+v", a)
	}

	for name, c := range map[string]struct {
		answer ChallengeAnswer
		code   Code
		status int
	}{
		"default":     {ChallengeAnswer{}, 0, 401},
		"rejected":    {ChallengeAnswer{Disposition: RejectProtectionSpace}, 0, 401},
		"cancelled":   {ChallengeAnswer{Disposition: CancelChallenge}, ErrUserCancelledAuth, 0},
		"certificate": {ChallengeAnswer{Disposition: UseCredential, Credential: Credential{Certificate: new(tls.Certificate)}}, ErrAuthenticationRequired, 0},
	} {
		decide = func(Challenge) ChallengeAnswer { return c.answer }
		_, resp, err := s.Data(within(t), Get(srv.URL+"/"+name))
		if c.code != 0 {
			wantCode(t, err, c.code)
		} else if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s: %+v, %v", name, resp, err)
		}
	}
}

// challengeOfTask is the newest event of its kind that the task has, once it has so many.
func challengeOfTask(t *testing.T, task *Task, nth int) Challenged {
	t.Helper()
	for ev, err := range task.Events(within(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := ev.(Challenged); ok {
			if nth--; nth == 0 {
				return c
			}
		}
	}
	t.Fatal("the task has ended without asking")
	return Challenged{}
}

func TestChallengeIsAnsweredLater(t *testing.T) {
	srv := locked(t)
	d := startDaemon(t)
	d.lasting = true
	var called atomic.Int32
	later := func(c *Configuration) {
		c.OnChallenge = func(context.Context, *Task, Challenge) ChallengeAnswer {
			called.Add(1)
			return ChallengeAnswer{Disposition: AnswerLater}
		}
	}
	for name, s := range map[string]*Session{"in process": offline(t, later), "in the background": d.attach(t, later)} {
		called.Store(0)
		task, err := s.DataTask(within(t), Get(srv.URL+"/a"))
		if err != nil {
			t.Fatal(err)
		}
		c := challengeOfTask(t, task, 1)
		if c.Space != spaceAt(t, srv, "/a") || c.Err != nil || c.Ticket == "" {
			t.Errorf("%s: %+v", name, c)
		}
		if b, err := json.Marshal(c); err != nil || !strings.Contains(string(b), `"event":"challenge"`) || !strings.Contains(string(b), `"protectionSpace":{"scheme":"http"`) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
		for what, a := range map[string]ChallengeAnswer{
			"later":       {Disposition: AnswerLater},
			"nothing":     {Disposition: UseCredential},
			"certificate": {Disposition: UseCredential, Credential: Credential{User: "u", Certificate: new(tls.Certificate)}},
			"both":        {Disposition: UseCredential, Credential: Credential{Password: hunter, Token: hunter}},
			"persistence": {Disposition: UseCredential, Credential: Credential{Password: hunter, Persistence: 9}},
			"disposition": {Disposition: 99},
		} {
			if err := task.Answer(within(t), c.Ticket, a); !errors.Is(err, ErrUnknown) || strings.Contains(err.Error(), hunter) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		wantCode(t, task.Answer(within(t), "9-9", using(hunter)), ErrResourceUnavailable)
		if err := task.Answer(within(t), c.Ticket, using("no")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again := challengeOfTask(t, task, 2)
		if again.PreviousFailures != 1 || again.ProposedUser != "u" || again.Err == nil || strings.Contains(again.Err.Error(), "no") && strings.Contains(again.Err.Error(), `"no"`) {
			t.Errorf("%s: %+v", name, again)
		}
		wantCode(t, task.Answer(within(t), c.Ticket, using(hunter)), ErrResourceUnavailable)
		if err := task.Answer(within(t), "", using(hunter)); err != nil { // what is asked now
			t.Fatalf("%s: %v", name, err)
		}
		if resp, err := task.Wait(within(t)); err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: %+v, %v", name, resp, err)
		}
		wantCode(t, task.Answer(within(t), "", using(hunter)), ErrResourceUnavailable)
		if n := called.Load(); n > 2 {
			t.Errorf("%s: the function was called %d times for two tickets", name, n)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A function that is attached later answers what was asked before, events of which were acknowledged, and what is asked then;
// each ticket once, over a daemon that is killed, and beside another app.
func TestAttachedFunctionAnswersWhatIsOpen(t *testing.T) {
	srv := locked(t)
	d := startDaemon(t)
	d.lasting = true
	first := d.attach(t, func(c *Configuration) {
		c.OnChallenge = func(context.Context, *Task, Challenge) ChallengeAnswer {
			return ChallengeAnswer{Disposition: AnswerLater}
		}
	})
	const n = 40
	tasks := make([]*Task, n)
	for i := range tasks {
		var err error
		if tasks[i], err = first.DataTask(within(t), Get(fmt.Sprint(srv.URL, "/", i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, task := range tasks {
		c := challengeOfTask(t, task, 1)
		if err := first.Acknowledge(within(t), c.Sequence()); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	d.kill()
	d.next(t)

	var mu sync.Mutex
	calls := make(map[string]int)
	answer := func(app string) func(*Configuration) {
		return func(c *Configuration) {
			c.OnChallenge = func(_ context.Context, task *Task, c Challenge) ChallengeAnswer {
				mu.Lock()
				defer mu.Unlock()
				calls[fmt.Sprint(app, task.Identifier(), " ", c.Ticket)]++
				if c.PreviousFailures == 0 {
					return using("no")
				}
				return using(hunter)
			}
		}
	}
	second, third := d.attach(t, answer("second")), d.attach(t, answer("third"))
	for _, task := range tasks {
		found, err := second.Task(within(t), task.Identifier())
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := found.Wait(within(t)); err != nil || resp.StatusCode != 200 {
			t.Errorf("task %d: %+v, %v", task.Identifier(), resp, err)
		}
	}
	if body, _, err := third.Data(within(t), Get(srv.URL+"/new")); err != nil || string(body) != "welcome" {
		t.Errorf("%q, %v", body, err)
	}
	mu.Lock()
	defer mu.Unlock()
	for ticket, times := range calls {
		if times != 1 {
			t.Errorf("%s: called %d times", ticket, times)
		}
	}
	for _, s := range []*Session{second, third} {
		if info, err := s.Info(within(t)); err != nil || info.Owned {
			t.Errorf("%+v, %v", info, err)
		}
	}
}

// The call ends with the task, and Close waits for it.
func TestChallengeCallEndsWithItsTask(t *testing.T) {
	srv := locked(t)
	entered, left := make(chan struct{}, 2), make(chan struct{}, 2)
	s := offline(t, func(c *Configuration) {
		c.OnChallenge = func(ctx context.Context, _ *Task, _ Challenge) ChallengeAnswer {
			entered <- struct{}{}
			select {
			case <-ctx.Done():
			case <-time.After(patience):
				t.Error("the call goes on")
			}
			left <- struct{}{}
			return using(hunter)
		}
	})
	task, err := s.DataTask(within(t), Get(srv.URL+"/a"))
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := task.Cancel(within(t)); err != nil {
		t.Fatal(err)
	}
	_, err = task.Wait(within(t))
	wantCode(t, err, ErrCancelled)
	<-left
	if _, err = s.DataTask(within(t), Get(srv.URL+"/b")); err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-left:
	default:
		t.Error("Close returned before the call")
	}
}

func TestBackgroundRefusesTokenRefresh(t *testing.T) {
	c := Background("com.example.sync")
	c.OnTokenRefresh = func(context.Context, ProtectionSpace, Credential) (Credential, error) { return Credential{}, nil }
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "OnTokenRefresh") {
		t.Errorf("got %v", err)
	}
}
