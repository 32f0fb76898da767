package credential_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	. "github.com/urlsession/urlsession/internal/credential"
)

// A background task parks with its question, and a later attempt has the answer.
func TestAnsweredLater(t *testing.T) {
	a := NewAuthenticator(New(), Policy{})
	refusal := &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {`Digest realm="r", nonce="n"`, `Basic realm="b"`}}}
	req := httptest.NewRequest("GET", "http://h/", nil)
	first := a.Begin(req)
	first.Asks = true
	step := first.Next(refusal)
	if step.Action != Ask || step.Challenge.Space.Method != Digest {
		t.Fatalf("%+v", step)
	}
	c := *step.Challenge
	c.Failures = 2
	for name, check := range map[string]struct {
		answer Answer
		ok     func(x *Exchange, s Step) bool
	}{
		"use": {Answer{Disposition: Use, Credential: alice("p")}, func(x *Exchange, s Step) bool {
			if s.Action != Send || !strings.Contains(s.Value.Reveal(), "alice") {
				return false
			}
			again := x.Next(refusal)
			return again.Action == Ask && again.Challenge.Failures == 3
		}},
		"default": {Answer{}, func(_ *Exchange, s Step) bool { return s.Action == Deliver }},
		"reject":  {Answer{Disposition: Reject}, func(_ *Exchange, s Step) bool { return s.Action == Ask && s.Challenge.Space.Realm == "b" }},
	} {
		x := a.Begin(req)
		x.Asks = true
		x.Answered(c, check.answer)
		if s := x.Next(refusal); !check.ok(x, s) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// What came for Basic and Bearer is sent at once, so that no body is sent in vain, and only to the origin that had asked.
func TestAnsweredUnasked(t *testing.T) {
	a := NewAuthenticator(New(), Policy{})
	token := Credential{Token: NewSecret("t"), Persistence: Session}
	for _, c := range []struct {
		url    string
		method Method
		answer Answer
		begins string
	}{
		{"http://h/x", Basic, Answer{Disposition: Use, Credential: alice("p")}, "Basic "},
		{"http://bob:q@h/x", Basic, Answer{Disposition: Use, Credential: alice("p")}, "Basic YWxpY2U6cA=="},
		{"http://h/x", Bearer, Answer{Disposition: Use, Credential: token}, "Bearer t"},
		{"http://h/x", Basic, Answer{Disposition: Use, Credential: alice("e\u0301")}, ""}, // depends on the charset
		{"http://h/x", Basic, Answer{Disposition: Use, Credential: token}, ""},
		{"http://h/x", Digest, Answer{Disposition: Use, Credential: alice("p")}, ""},
		{"http://h/x", NTLM, Answer{Disposition: Use, Credential: alice("p")}, ""},
		{"http://h/x", Basic, Answer{Disposition: UseDefault}, ""},
		{"http://h:81/x", Basic, Answer{Disposition: Use, Credential: alice("p")}, ""},
		{"https://h/x", Basic, Answer{Disposition: Use, Credential: alice("p")}, ""},
	} {
		x := a.Begin(httptest.NewRequest("POST", c.url, nil))
		x.Asks = true
		asked := Challenge{Space: Space{Scheme: "http", Host: "h", Port: 80, Realm: "r", Method: c.method}, Failures: 1}
		x.Answered(asked, c.answer)
		value := x.Authorize().Reveal()
		if !strings.HasPrefix(value, c.begins) || c.begins == "" && value != "" {
			t.Errorf("%s, %s: %q", c.url, c.method, value)
			continue
		}
		if c.begins == "" {
			continue
		}
		if s := x.Next(&http.Response{StatusCode: 200}); s.Keep == nil || s.Keep.Space != asked.Space {
			t.Errorf("%s: what was taken is not kept: %+v", c.url, s)
		}
		y := a.Begin(httptest.NewRequest("POST", c.url, nil))
		y.Asks = true
		y.Answered(asked, c.answer)
		y.Authorize()
		again := y.Next(&http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {string(c.method) + ` realm="r"`}}})
		if again.Action != Ask && !strings.Contains(c.url, "@") || again.Action == Ask && again.Challenge.Failures != 2 {
			t.Errorf("%s: %+v", c.url, again)
		}
	}
}

// A token that came as the answer where a password was asked for goes by the method that takes it.
func TestAnsweredByAnotherMethod(t *testing.T) {
	x := NewAuthenticator(New(), Policy{}).Begin(httptest.NewRequest("GET", "http://h/", nil))
	x.Asks = true
	x.Answered(Challenge{Space: Space{Scheme: "http", Host: "h", Port: 80, Realm: "b", Method: Basic}},
		Answer{Disposition: Use, Credential: Credential{Token: NewSecret("t")}})
	refusal := &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {`Basic realm="b"`, `Bearer realm="t"`}}}
	if s := x.Next(refusal); s.Action != Send || s.Value.Reveal() != "Bearer t" {
		t.Errorf("%+v", s)
	}
	if s := x.Next(refusal); s.Action != Ask || s.Challenge.Failures != 1 {
		t.Errorf("refused: %+v", s)
	}
}

// An answer that nothing can be proved by is a failure, so that who gives it again and again does so for Policy.Tries at most.
func TestAnsweredInVain(t *testing.T) {
	for offer, c := range map[string]struct {
		method Method
		answer Credential
	}{
		`Basic realm="r"`:  {Basic, Credential{Token: NewSecret("t")}},
		`Bearer realm="r"`: {Bearer, Credential{Token: NewSecret("t\r\nX: y")}},
	} {
		asked := Challenge{Space: Space{Scheme: "http", Host: "h", Port: 80, Realm: "r", Method: c.method}}
		for n := 1; ; n++ {
			x := NewAuthenticator(New(), Policy{Tries: 3}).Begin(httptest.NewRequest("GET", "http://h/", nil))
			x.Asks = true
			x.Answered(asked, Answer{Disposition: Use, Credential: c.answer})
			if v := x.Authorize(); !v.IsZero() {
				t.Fatalf("%s: it was sent", offer)
			}
			s := x.Next(&http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {offer}}})
			if n == 3 {
				if s.Action == Ask {
					t.Errorf("%s: asked a %dth time", offer, n)
				}
				break
			}
			if s.Action != Ask || s.Challenge.Failures != n || s.Challenge.Err == nil || s.Challenge.Space != asked.Space {
				t.Fatalf("%s: answered %d times: %+v %+v", offer, n, s, s.Challenge)
			}
			asked = *s.Challenge
		}
	}
}

// Answers for several spaces stand beside each other: of one origin each waits for its realm to ask.
func TestAnsweredInSeveralSpaces(t *testing.T) {
	x := NewAuthenticator(New(), Policy{}).Begin(httptest.NewRequest("GET", "http://h/", nil))
	x.Asks = true
	space := func(realm string) Space {
		return Space{Scheme: "http", Host: "h", Port: 80, Realm: realm, Method: Basic}
	}
	for realm, who := range map[string]Credential{"a": alice("of a"), "b": alice("of b")} {
		x.Answered(Challenge{Space: space(realm)}, Answer{Disposition: Use, Credential: who})
	}
	if v := x.Authorize(); !v.IsZero() {
		t.Errorf("one of two was sent unasked: %s", v.Reveal())
	}
	for _, realm := range []string{"a", "b"} {
		s := x.Next(&http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {fmt.Sprintf("Basic realm=%q", realm)}}})
		if want := base64.StdEncoding.EncodeToString([]byte("alice:of " + realm)); s.Action != Send || s.Value.Reveal() != "Basic "+want {
			t.Errorf("asked for %s: %+v", realm, s)
		}
	}
}

// A request that another server wants to be sent again has what this one has taken, also where it is for the request only.
func TestAuthorizeAgain(t *testing.T) {
	proxy, _ := url.Parse("http://proxy.test:3128")
	for _, offer := range []string{`Basic realm="r"`, `Digest realm="r", nonce="n", qop=auth`} {
		x := NewAuthenticator(nil, Policy{}).BeginProxy(proxy, httptest.NewRequest("GET", "http://h/", nil))
		x.Asks = true
		if s := x.Next(&http.Response{StatusCode: 407, Header: http.Header{"Proxy-Authenticate": {offer}}}); s.Action != Ask {
			t.Fatalf("%+v", s)
		}
		cred := alice("p")
		cred.Persistence = None
		first := x.Answer(Answer{Disposition: Use, Credential: cred})
		x.Next(&http.Response{StatusCode: 401})
		again := x.Authorize().Reveal()
		if first.Action != Send || again == "" || (again == first.Value.Reveal()) != strings.HasPrefix(offer, "Basic") {
			t.Errorf("%s: first %q, then %q", offer, first.Value.Reveal(), again)
		}
	}
}
