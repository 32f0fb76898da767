package credential

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/credential/credentialtest"
	"github.com/urlsession/urlsession/internal/task"
)

// talk drives an Exchange by responses that are made up: each is the fields of a 401, or none for a 200.
func talk(t *testing.T, x *Exchange, responses ...[]string) (steps []Step) {
	t.Helper()
	for _, fields := range responses {
		resp := &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": fields}}
		if fields == nil {
			resp.StatusCode = 200
		}
		steps = append(steps, x.Next(resp))
	}
	return steps
}

func domainUser(t *testing.T, password string) *Authenticator {
	t.Helper()
	s := New()
	c := user(`Domain\User`, password)
	must(t, s.Set(t.Context(), Space{Scheme: "http", Host: "h", Port: 80}, c))
	return NewAuthenticator(s, Policy{})
}

func TestNTLMExchange(t *testing.T) {
	for _, m := range []string{"NTLM", "Negotiate"} {
		a := domainUser(t, "Password")
		x := a.Begin(httptest.NewRequest("PUT", "http://h/", strings.NewReader("body")))
		x.req.GetBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
		steps := talk(t, x, []string{"Negotiate", "NTLM", `Basic realm="x"`}[map[string]int{"Negotiate": 0, "NTLM": 1}[m]:], []string{m + " " + credentialtest.NTLMChallenge()}, nil)
		first, second := steps[0], steps[1]
		if first.Action != Send || !first.HTTP1 || first.SameConnection || !first.NoBody || !strings.HasPrefix(first.Value.Reveal(), m+" TlRMTVNTUAAB") {
			t.Errorf("%s: NEGOTIATE: %+v", m, first)
		}
		if second.Action != Send || !second.HTTP1 || !second.SameConnection || second.NoBody || !credentialtest.NTLMProves(strings.TrimPrefix(second.Value.Reveal(), m+" ")) {
			t.Errorf("%s: AUTHENTICATE: %+v", m, second)
		}
		if steps[2].Action != Deliver {
			t.Errorf("%s: then %+v", m, steps[2])
		}
		if v := a.Begin(httptest.NewRequest("GET", "http://h/", nil)).Authorize(); !v.IsZero() {
			t.Errorf("%s: a request is authenticated: %s", m, v.Reveal())
		}
	}
}

// As whom a connection is known is for requests that have the same user to name.
func TestNTLMUser(t *testing.T) {
	s := New()
	space := Space{Scheme: "http", Host: "h", Port: 80}
	must(t, s.Set(t.Context(), space, user(`Domain\User`, "Password")))
	a := NewAuthenticator(s, Policy{})
	begin := func(url string) *Exchange { return a.Begin(httptest.NewRequest("GET", url, nil)) }
	prove := func(url string) uint64 {
		steps := talk(t, begin(url), []string{"NTLM"}, []string{"NTLM " + credentialtest.NTLMChallenge()}, nil)
		return steps[2].User
	}
	if begin("http://h/").User() != 0 {
		t.Error("somebody is known from the start")
	}
	if id := prove(`http://Domain%5CUser:Password@h/`); id != 0 || begin("http://h/").User() != 0 {
		t.Error("the user of a URL is known to requests without it")
	}
	id := prove("http://h/")
	if id == 0 || begin("http://h/x").User() != id || prove("http://h/") != id {
		t.Errorf("not known: %d, then %d", id, begin("http://h/x").User())
	}
	own := httptest.NewRequest("GET", "http://h/", nil)
	own.Header.Set("Authorization", "own")
	if begin("http://u:p@h/").User() != 0 || a.Begin(own).User() != 0 || begin("http://h:81/").User() != 0 || begin("https://h/").User() != 0 {
		t.Error("known to requests that are not the user's")
	}
	must(t, s.Set(t.Context(), space, user(`Domain\User`, "other")))
	if begin("http://h/").User() != 0 {
		t.Error("known after the credential was replaced")
	}
	if next := prove("http://h/"); next == 0 || next == id {
		t.Errorf("another credential is named %d as %d", next, id)
	}
	a.Forget()
	if begin("http://h/").User() != 0 {
		t.Error("known after it was forgotten")
	}
}

// A server that answers NEGOTIATE as if nothing had been asked has got a request without its body.
func TestNTLMThatIsNotAsked(t *testing.T) {
	x := domainUser(t, "Password").Begin(httptest.NewRequest("PUT", "http://h/", strings.NewReader("body")))
	x.req.GetBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
	steps := talk(t, x, []string{"NTLM"}, nil, nil)
	if s := steps[1]; s.Action != Send || s.NoBody || !s.Value.IsZero() {
		t.Errorf("%+v", s)
	}
	if s := steps[2]; s.Action != Deliver || s.User != 0 {
		t.Errorf("%+v", s)
	}
}

func TestNTLMRefused(t *testing.T) {
	x := domainUser(t, "wrong").Begin(httptest.NewRequest("GET", "http://h/", nil))
	offers := []string{"Negotiate, NTLM", `Basic realm="x"`}
	steps := talk(t, x, offers, []string{"Negotiate " + credentialtest.NTLMChallenge()}, offers)
	if steps[2].Action != Deliver {
		t.Errorf("what NTLM has refused is sent by %+v", steps[2])
	}
}

func TestNegotiateThatIsKerberos(t *testing.T) {
	x := domainUser(t, "Password").Begin(httptest.NewRequest("GET", "http://h/", nil))
	offers := []string{"Negotiate", "NTLM"}
	steps := talk(t, x, offers, offers, []string{"NTLM " + credentialtest.NTLMChallenge()}, nil)
	for i, want := range []string{"Negotiate TlRMTVNTUAAB", "NTLM TlRMTVNTUAAB", "NTLM TlRMTVNTUAAD", ""} {
		if !strings.HasPrefix(steps[i].Value.Reveal(), want) || (want == "") != (steps[i].Action == Deliver) {
			t.Errorf("step %d: %s", i, steps[i].Value.Reveal())
		}
	}
}

func TestNTLMThatGoesWrong(t *testing.T) {
	x := domainUser(t, "Password").Begin(httptest.NewRequest("GET", "http://h/", nil))
	steps := talk(t, x, []string{"NTLM"}, []string{"NTLM TlRMTVNTUAACAAAA"}) // cut
	if steps[1].Action != Deliver {
		t.Errorf("%+v", steps[1])
	}
	x = domainUser(t, "Password").Begin(httptest.NewRequest("GET", "http://h/", nil))
	talk(t, x, []string{"NTLM"})
	sends := 0
	for range 20 {
		talk(t, x, []string{"NTLM " + credentialtest.NTLMChallenge()})
		step := x.Lost()
		if step.Action == Fail {
			if task.CodeOf(step.Err) != task.ConnectionLost {
				t.Error(step.Err)
			}
			return
		}
		if sends++; step.Action != Send || step.SameConnection || !strings.HasPrefix(step.Value.Reveal(), "NTLM TlRMTVNTUAAB") {
			t.Fatalf("%+v", step)
		}
	}
	t.Errorf("it begins anew for ever: %d times", sends)
}
