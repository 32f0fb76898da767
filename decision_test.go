package urlsession

import (
	"context"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/urlsessiontest"
)

func TestRedirectsAreDecided(t *testing.T) {
	other := urlsessiontest.NewServer()
	defer other.Close()
	var asked []Redirect
	var decide func(*Redirect) *NewRequest
	s, srv := start(t, func(c *Configuration) {
		c.OnRedirect = func(_ context.Context, task *Task, r Redirect) *NewRequest {
			if st := status(t, task); st.Description != "mine" {
				t.Errorf("it was asked of task %+v", st)
			}
			asked = append(asked, r)
			return decide(&r)
		}
	})
	srv.Always("/r", urlsessiontest.Redirect(302, other.URL+"/f?key=value"))
	r := Post(srv.URL+"/r?key=hunter2", Text("x"))
	r.Description = "mine"
	r.Header = http.Header{"Authorization": {"Basic hunter2"}, "X-Kept": {"1"}}
	other.Publish("/f", urlsessiontest.Resource{Content: urlsessiontest.Bytes("followed")})
	other.Publish("/g", urlsessiontest.Resource{Content: urlsessiontest.Bytes("changed")})

	decide = func(r *Redirect) *NewRequest { return &r.Request }
	if got, _, err := s.Data(t.Context(), r); err != nil || string(got) != "followed" {
		t.Errorf("followed: %q, %v", got, err)
	}
	a := asked[0]
	if a.StatusCode != 302 || a.Request.URL != other.URL+"/f?key=value" || a.Request.Method != "GET" || strings.Contains(a.From, "hunter2") ||
		a.Request.Header.Get("Authorization") != "" || a.Request.Header.Get("X-Kept") != "1" {
		t.Errorf("%+v", a)
	}

	decide = func(r *Redirect) *NewRequest {
		r.Request.URL = other.URL + "/g"
		r.Request.Header.Set("Authorization", "Basic fresh")
		r.Request.Header.Del("X-Kept")
		return &r.Request
	}
	if got, resp, err := s.Data(t.Context(), r); err != nil || string(got) != "changed" || resp.URL != other.URL+"/g" {
		t.Errorf("changed: %q, %+v, %v", got, resp, err)
	}
	if h := other.RequestsTo("/g")[0].Header; h.Get("Authorization") != "Basic fresh" || h.Get("X-Kept") != "" {
		t.Errorf("changed: %v", h)
	}

	decide = func(*Redirect) *NewRequest { return &NewRequest{} }
	if got, _, err := s.Data(t.Context(), r); err != nil || string(got) != "followed" {
		t.Errorf("as proposed: %q, %v", got, err)
	}

	decide = func(*Redirect) *NewRequest { return nil }
	got, resp, err := s.Data(t.Context(), r)
	if err != nil || resp.StatusCode != 302 || resp.Header.Get("Location") != other.URL+"/f?key=value" {
		t.Errorf("refused: %q, %+v, %v", got, resp, err)
	}
	decide = func(r *Redirect) *NewRequest { return &NewRequest{Method: "GET", URL: "ftp://h/"} }
	if _, _, err = s.Data(t.Context(), r); err == nil {
		t.Error("a redirect to ftp was followed")
	}
}

// Where a decision leads a redirect within one origin to another one, what was for the first is not sent there, but what
// the decision itself adds.
func TestDecisionsDoNotLeakCredentials(t *testing.T) {
	proposed := &task.Request{Method: "GET", URL: "http://a.test/1", Header: http.Header{
		"Authorization": {"Basic secret"}, "Cookie": {"secret=1"}, "X-Mine": {"1"},
	}}
	for _, c := range []struct {
		next NewRequest
		want http.Header
	}{
		{NewRequest{}, proposed.Header},
		{NewRequest{URL: "http://a.test:80/2"}, proposed.Header},
		{NewRequest{URL: "http://b.test/2"}, http.Header{"X-Mine": {"1"}}},
		{NewRequest{URL: "http://sub.a.test/2", Header: proposed.Header}, http.Header{"X-Mine": {"1"}}},
		{NewRequest{URL: "http://b.test/2", Header: http.Header{"Authorization": {"fresh"}}}, http.Header{"Authorization": {"fresh"}}},
	} {
		if got := c.next.over(proposed); !maps.EqualFunc(got.Header, c.want, slices.Equal) {
			t.Errorf("%+v sends %v, want %v", c.next, got.Header, c.want)
		}
	}
	if proposed.Header.Get("Cookie") == "" {
		t.Error("the proposal was changed")
	}
}

func TestResponsesAreDecided(t *testing.T) {
	s, srv := start(t, func(c *Configuration) {
		c.OnResponse = func(_ context.Context, _ *Task, r *Response) Disposition {
			if r.Header.Get("Set-Cookie") == "" {
				t.Errorf("the header is not as it came: %v", r.Header)
			}
			if r.ContentLength > 1000 {
				return Cancel
			}
			return Allow
		}
	})
	srv.Always(urlsessiontest.Every, urlsessiontest.SetCookie("k=v"))
	srv.Publish("/small", urlsessiontest.Resource{Content: urlsessiontest.Body{Size: 1000}})
	srv.Publish("/large", urlsessiontest.Resource{Content: urlsessiontest.Body{Size: 1001}})
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if got, _, err := s.Data(t.Context(), Get(srv.URL+"/small")); err != nil || len(got) != 1000 {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			_, _, err := s.Data(t.Context(), Get(srv.URL+"/large"))
			wantCode(t, err, ErrCancelled)
		})
	}
	all.Wait()
	_, err := s.Download(t.Context(), Get(srv.URL+"/large"), dir+"/f")
	wantCode(t, err, ErrCancelled)
	if _, err := os.Stat(dir + "/f"); err == nil {
		t.Error("a file appeared")
	}
}

func TestTheContextOfADecisionEndsWithItsTask(t *testing.T) {
	entered := make(chan struct{})
	left := make(chan struct{})
	s, srv := start(t, func(c *Configuration) {
		c.OnResponse = func(ctx context.Context, task *Task, _ *Response) Disposition {
			close(entered)
			<-ctx.Done()
			close(left)
			return Allow
		}
	})
	task, err := s.DataTask(t.Context(), Get(srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := task.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-left
	_, err = task.Wait(t.Context())
	wantCode(t, err, ErrCancelled)
}
