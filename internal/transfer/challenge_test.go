package transfer

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"slices"
	"testing"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/credential/credentialtest"
	"github.com/urlsession/urlsession/internal/task"
	"github.com/urlsession/urlsession/internal/transport"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// guarded is a server that echoes what is sent by whoever knows alice's password, and a task of a kind for it.
func guarded(t *testing.T, kind task.Kind) (*credentialtest.Server, *Attempt, *[]credential.Stored) {
	t.Helper()
	srv := credentialtest.NewServer(credentialtest.Basic("alice", "p"), nil)
	srv.Start()
	t.Cleanup(srv.Close)
	var kept []credential.Stored
	rt := newTransport(t, transport.Options{
		Authenticator: credential.NewAuthenticator(nil, credential.Policy{}),
		Keep:          func(_ context.Context, s credential.Stored) error { kept = append(kept, s); return nil },
	})
	a := newDownload(t, rt, srv.URL+"/", filepath.Join(t.TempDir(), "f"))
	if a.Spec.Kind = kind; kind != task.Download {
		a.Spec.Download = nil
		a.Spec.Request.Method = "POST"
	}
	a.Spec.Policy.Ask.Challenge = true
	return srv, a, &kept
}

func use(password string) task.Answer {
	return task.Answer{Disposition: task.UseCredential, Credential: &task.Credential{User: "alice", Password: password, Persistence: "session"}}
}

// An upload that is challenged asks, says anew what has left, and sends its body whole.
func TestChallenge(t *testing.T) {
	body := urlsessiontest.Body{Seed: 3, Size: 100_000}
	for _, kind := range []task.Kind{task.Data, task.Upload, task.Download} {
		srv, a, kept := guarded(t, kind)
		if kind == task.Upload {
			fromFile(t, a, body)
		}
		o := a.Observer.(*observer)
		var asked []task.Challenge
		var sent []int64
		o.onChallenge = func(c task.Challenge) (task.Answer, error) {
			asked = append(asked, c)
			o.mu.Lock()
			sent = append(sent, o.sent)
			o.sent = -1
			o.mu.Unlock()
			return use([]string{"wrong", "p"}[len(asked)-1]), nil
		}
		res, err := Run(t.Context(), a)
		if err != nil || res.Response.Status != 200 {
			t.Fatalf("%s: %+v, %v", kind, res.Response, err)
		}
		if len(asked) != 2 || asked[0] != (task.Challenge{Space: asked[0].Space}) || asked[0].Space.Realm != "gate" ||
			asked[0].Space.Method != "Basic" || asked[0].Space.Scheme != "http" || asked[0].Space.Host != "127.0.0.1" || asked[0].Space.Port == 0 {
			t.Fatalf("%s: asked %+v", kind, asked)
		}
		if c := asked[1]; c.User != "alice" || c.Failures != 1 || c.Message == "" {
			t.Errorf("%s: then %+v", kind, c)
		}
		if len(*kept) != 1 || (*kept)[0].Credential.Persistence != credential.Session {
			t.Errorf("%s: kept %v", kind, *kept)
		}
		if kind == task.Upload && (!slices.Equal(sent, []int64{body.Size, body.Size}) || o.sent != body.Size || string(res.Body) != string(body.Bytes())) {
			t.Errorf("sent %v, then %d; the server has got %d bytes", sent, o.sent, len(res.Body))
		}
		if n := len(srv.Seen()); n != 3 || len(res.Transactions) != 3 || res.Unsent {
			t.Errorf("%s: %d requests, %d transactions, unsent %v", kind, n, len(res.Transactions), res.Unsent)
		}
	}
}

// What ends an attempt that was refused has applied nothing; the Observer's own error is the attempt's.
func TestChallengeEnds(t *testing.T) {
	parked := errors.New("parked")
	coded := &task.Error{Code: task.Cancelled}
	for name, c := range map[string]struct {
		answer task.Answer
		err    error
		code   task.Code
		status int
	}{
		"its own error":      {err: parked},
		"an error of a task": {err: coded},
		"cancel":             {answer: task.Answer{Disposition: task.CancelTask}, code: task.UserCancelledAuth},
		"no credential":      {answer: task.Answer{Disposition: task.UseCredential}, code: task.AuthenticationRequired},
		"default":            {status: 401},
		"reject":             {answer: task.Answer{Disposition: task.RejectSpace}, status: 401},
	} {
		_, a, _ := guarded(t, task.Upload)
		fromFile(t, a, urlsessiontest.Body{Seed: 3, Size: 1000})
		a.Observer.(*observer).onChallenge = func(task.Challenge) (task.Answer, error) { return c.answer, c.err }
		res, err := Run(t.Context(), a)
		switch {
		case c.err != nil && err != c.err, c.code != 0 && !errors.Is(err, c.code), c.status != 0 && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.status != 0 && res.Response.Status != c.status:
			t.Errorf("%s: %d", name, res.Response.Status)
		}
		if !res.Unsent {
			t.Errorf("%s: something may have been applied", name)
		}
	}
}

// Nobody is asked where the task does not say so, and what was answered before needs no question.
func TestAnsweredBefore(t *testing.T) {
	srv, a, _ := guarded(t, task.Data)
	a.Spec.Policy.Ask.Challenge = false
	if res, err := Run(t.Context(), a); err != nil || res.Response.Status != 401 || a.Observer.(*observer).told() != "response 401" {
		t.Errorf("%+v, %v", res.Response, err)
	}
	at, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	origin := credential.Origin(at)
	a.Answered = &task.Answered{
		Challenge: task.Challenge{Space: task.ProtectionSpace{Scheme: "http", Host: origin.Host, Port: origin.Port, Realm: "gate", Method: "Basic"}},
		Answer:    use("p"),
	}
	a.Observer = &observer{}
	srv.Seen()
	res, err := Run(t.Context(), a)
	if err != nil || res.Response.Status != 200 {
		t.Errorf("%+v, %v", res.Response, err)
	}
	if seen := srv.Seen(); len(seen) != 1 || seen[0] != "POST / Basic 0" {
		t.Errorf("seen %q", seen)
	}
}

// A request that a redirect was followed after has been applied, however the next one ends.
func TestRefusedAfterARedirect(t *testing.T) {
	srv, a, _ := guarded(t, task.Upload)
	fromFile(t, a, urlsessiontest.Body{Seed: 3, Size: 1000})
	from := urlsessiontest.NewServer()
	t.Cleanup(from.Close)
	from.Always("/", urlsessiontest.Redirect(307, srv.URL+"/"))
	a.Spec.Request.URL = from.URL + "/"
	parked := errors.New("parked")
	a.Observer.(*observer).onChallenge = func(task.Challenge) (task.Answer, error) { return task.Answer{}, parked }
	if res, err := Run(t.Context(), a); err != parked || res.Unsent {
		t.Errorf("%v, unsent %v", err, res.Unsent)
	}
}
