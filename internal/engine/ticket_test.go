package engine_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transfer"
)

func TestDecisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			from, _ := http.NewRequest("GET", "http://h/a?token=secret", nil)
			to, _ := http.NewRequest("GET", "http://h/b?token=secret", nil)
			next, err := a.Observer.Redirect(ctx, 302, from, to)
			if err != nil {
				return transfer.Result{}, err
			}
			if next.URL.Path != "/c" || next.Header.Get("X") != "1" {
				t.Errorf("goes on to %v %v", next.URL, next.Header)
			}
			return answer(200)(ctx, a)
		})
		id := create(t, e, get("http://h/a", func(s *task.Spec) { s.Policy.Ask = task.Ask{Redirect: true, Response: true} }))
		for ev, err := range e.Events(t.Context(), task.EventQuery{Task: id}) {
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := ev.MarshalJSON(); strings.Contains(string(b), "secret") {
				t.Errorf("a secret in %s", b)
			}
			switch d := ev.Detail.(type) {
			case task.Redirected:
				if d.Request.URL != "http://h/b?token=secret" {
					t.Errorf("asked about %s", d.Request.URL)
				}
				ok := e.Answer(t.Context(), id, d.Ticket, task.Decision{Request: &task.Request{URL: "http://h/c", Header: http.Header{"X": {"1"}}}})
				again := e.Answer(t.Context(), id, d.Ticket, task.Decision{})
				if ok != nil || !errors.Is(again, task.ResourceUnavailable) {
					t.Errorf("answers: %v, %v", ok, again)
				}
			case task.ResponseReceived:
				e.Answer(t.Context(), id, d.Ticket, task.Decision{Cancel: true})
			}
		}
		if rec := end(t, e, id); rec.Failure == nil || rec.Failure.Code != task.Cancelled {
			t.Errorf("ended with %v", rec.Failure.Err())
		}
	})
}

func TestProposedRequestIsTheListenersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			from, _ := http.NewRequest("GET", "http://h/a", nil)
			to, _ := http.NewRequest("GET", "http://h/b", nil)
			next, err := a.Observer.Redirect(ctx, 302, from, to)
			if err != nil {
				return transfer.Result{}, err
			}
			next.Header.Set("Cookie", "set on its way")
			return answer(200)(ctx, a)
		})
		for _, ev := range collect(t, e, create(t, e, get("http://h/a"))) {
			if d, ok := ev.Detail.(task.Redirected); ok && len(d.Request.Header) > 0 {
				t.Errorf("the proposal has changed: %v", d.Request.Header)
			}
		}
	})
}

func TestUnchangedRedirectKeepsItsHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, func(ctx context.Context, a *transfer.Attempt) (transfer.Result, error) {
			from, _ := http.NewRequest("GET", "http://h/a", nil)
			to, _ := http.NewRequest("GET", "http://h/b", nil)
			to.Host = "virtual"
			next, err := a.Observer.Redirect(ctx, 302, from, to)
			if err == nil && next.Host != "virtual" {
				t.Errorf("Host %q", next.Host)
			}
			return transfer.Result{}, err
		})
		id := create(t, e, get("http://h/a", func(s *task.Spec) { s.Policy.Ask.Redirect = true }))
		for ev, err := range e.Events(t.Context(), task.EventQuery{Task: id}) {
			if err != nil {
				t.Fatal(err)
			}
			if d, ok := ev.Detail.(task.Redirected); ok {
				e.Answer(t.Context(), id, d.Ticket, task.Decision{Request: d.Request})
			}
		}
	})
}
