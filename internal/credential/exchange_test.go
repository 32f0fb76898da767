package credential_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/credential/credentialtest"
	"github.com/urlsession/urlsession/internal/task"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func alice(password string) Credential {
	return Credential{User: "alice", Password: NewSecret(password), Persistence: Session}
}

// bench is a server, and a client that authenticates to it.
type bench struct {
	*driver
	t      *testing.T
	server *httptest.Server
	asked  []Challenge
	answer func(Challenge) Answer

	mu       sync.Mutex
	requests []string // method, path, what Authorization begins with, length of the body
}

func newBench(t *testing.T, p Policy, handler http.HandlerFunc) *bench {
	b := &bench{t: t}
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		b.mu.Lock()
		b.requests = append(b.requests, strings.Join(strings.Fields(fmt.Sprint(r.Method, " ", r.URL.Path, " ", scheme, " ", len(body))), " "))
		b.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		handler(w, r)
	}))
	t.Cleanup(b.server.Close)
	base := b.server.Client().Transport.(*http.Transport)
	base.MaxConnsPerHost = 1
	storage := New()
	b.driver = &driver{base: base, storage: storage, auth: NewAuthenticator(storage, p)}
	return b
}

// space is the server's.
func (b *bench) space(realm string, m Method) Space {
	u, _ := url.Parse(b.server.URL)
	s := Origin(u)
	s.Realm, s.Method = realm, m
	return s
}

func (b *bench) do(method, path, body string) (int, error) {
	b.t.Helper()
	if b.answer != nil {
		b.ask = func(_ context.Context, c *Challenge) (Answer, error) {
			b.asked = append(b.asked, *c)
			return b.answer(*c), nil
		}
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	must(b.t, err)
	if body == "" {
		req.Body, req.GetBody = nil, nil
	}
	resp, err := b.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	must(b.t, err)
	resp.Body.Close()
	return resp.StatusCode, nil
}

// get does a GET of path that is to end with status, and returns what the server has seen.
func (b *bench) get(path string, status int) string {
	b.t.Helper()
	return b.send("GET", path, "", status)
}

func (b *bench) send(method, path, body string, status int) string {
	b.t.Helper()
	b.requests = nil
	got, err := b.do(method, b.server.URL+path, body)
	if err != nil || got != status {
		b.t.Errorf("%s %s: %d, %v, want %d", method, path, got, err, status)
	}
	return strings.Join(b.requests, ", ")
}

func (b *bench) expect(got, want string) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("the server has seen\n%s\nwant\n%s", got, want)
	}
}

// wants is a handler that takes alice's password by Basic in a realm.
func wants(password, challenge string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, p, _ := r.BasicAuth(); p != password {
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
}

func TestBasicUnasked(t *testing.T) {
	b := newBench(t, Policy{}, wants("p", `Basic realm="r"`))
	b.expect(b.get("/a/b/c", 401), "GET /a/b/c 0")
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("p")))
	b.expect(b.get("/a/b/c", 200), "GET /a/b/c 0, GET /a/b/c Basic 0")
	b.expect(b.get("/a/b/", 200), "GET /a/b/ Basic 0") // the depth of c, and below
	b.expect(b.get("/a/b/d/e", 200), "GET /a/b/d/e Basic 0")
	b.expect(b.get("/a/b", 200), "GET /a/b 0, GET /a/b Basic 0")
	b.expect(b.get("/a/x", 200), "GET /a/x Basic 0")
	b.expect(b.get("/a/b/../../x/y", 200), "GET /a/b/../../x/y 0, GET /a/b/../../x/y Basic 0")
	// Removed, replaced, forgotten.
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("q")))
	b.expect(b.get("/a/b/c", 401), "GET /a/b/c 0, GET /a/b/c Basic 0")
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("p")))
	b.get("/a/b/c", 200)
	must(t, b.storage.Remove(t.Context(), b.space("", AnyMethod), alice("")))
	b.expect(b.get("/a/b/c", 401), "GET /a/b/c 0")
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("p")))
	b.get("/a/b/c", 200)
	b.auth.Forget()
	b.expect(b.get("/a/b/c", 200), "GET /a/b/c 0, GET /a/b/c Basic 0")
}

func TestUserinfoAndNetrc(t *testing.T) {
	netrc, err := ParseNetrc("machine 127.0.0.1 login alice password p")
	must(t, err)
	b := newBench(t, Policy{Netrc: netrc}, wants("p", `Basic realm="r"`))
	b.expect(b.get("/", 200), "GET / 0, GET / Basic 0")
	b.auth.Forget()
	with := func(userinfo string) string { return strings.Replace(b.server.URL, "//", "//"+userinfo+"@", 1) + "/x" }
	b.requests = nil
	if status, err := b.do("GET", with("alice:p"), ""); status != 200 || err != nil || len(b.requests) != 1 {
		t.Errorf("%d, %v, %v", status, err, b.requests)
	}
	b.expect(b.get("/x", 200), "GET /x 0, GET /x Basic 0") // what a URL has is for that URL
	b.requests = nil
	if status, err := b.do("GET", with("alice"), ""); status != 200 || err != nil || len(b.requests) != 1 {
		t.Errorf("the netrc's password of a user: %d, %v, %v", status, err, b.requests)
	}
	// A user that the server does not take is not taken for another.
	b.requests = nil
	if status, err := b.do("GET", with("bob:q"), ""); status != 401 || err != nil {
		t.Errorf("%d, %v, %v", status, err, b.requests)
	}
	b.expect(strings.Join(b.requests, ", "), "GET /x Basic 0")
}

// TestUserinfoAndStorage: a URL that names a user gets that one's stored credential, and no other's.
func TestUserinfoAndStorage(t *testing.T) {
	b := newBench(t, Policy{}, wants("p", `Basic realm="r"`))
	bob := alice("q")
	bob.User = "bob"
	must(t, b.storage.SetDefault(t.Context(), b.space("", AnyMethod), bob))
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("p")))
	for userinfo, want := range map[string]int{"alice": 200, "alice:wrong": 200, "bob": 401, "carol": 401, "carol:x": 401} {
		url := strings.Replace(b.server.URL, "//", "//"+userinfo+"@", 1)
		if status, err := b.do("GET", url, ""); status != want || err != nil {
			t.Errorf("%s: %d, %v", userinfo, status, err)
		}
	}
	b.expect(b.get("/", 401), "GET / 0, GET / Basic 0")
}

func TestRefusedUserinfoIsAFailure(t *testing.T) {
	b := newBench(t, Policy{}, wants("p", `Basic realm="r"`))
	b.answer = func(Challenge) Answer { return Answer{Disposition: Use, Credential: alice("p")} }
	if status, err := b.do("GET", strings.Replace(b.server.URL, "//", "//bob:x@", 1), ""); status != 200 || err != nil {
		t.Errorf("%d, %v", status, err)
	}
	if len(b.asked) != 1 || b.asked[0].Failures != 1 || b.asked[0].Proposed != nil || b.asked[0].Err == nil || strings.Contains(b.asked[0].Err.Error(), "bob") {
		t.Errorf("asked %+v", b.asked) // bob may be a token
	}
}

func TestOwnAuthorization(t *testing.T) {
	b := newBench(t, Policy{}, wants("p", `Basic realm="r"`))
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("p")))
	req, err := http.NewRequestWithContext(t.Context(), "GET", b.server.URL, nil)
	must(t, err)
	req.Header.Set("Authorization", "Basic x")
	resp, err := b.RoundTrip(req)
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != 401 || len(b.requests) != 1 {
		t.Errorf("%d, %v", resp.StatusCode, b.requests)
	}
}

func TestNeverToAnotherOrigin(t *testing.T) {
	b := newBench(t, Policy{}, wants("p", `Basic realm="r"`))
	other := newBench(t, Policy{}, wants("p", `Basic realm="r"`))
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("p")))
	b.get("/", 200)
	if status, err := b.do("GET", other.server.URL, ""); status != 401 || err != nil {
		t.Errorf("%d, %v", status, err)
	}
	other.expect(strings.Join(other.requests, ", "), "GET / 0")
	// A response that came from elsewhere, by a redirect that somebody below has followed.
	req := httptest.NewRequest("GET", b.server.URL, nil)
	resp := &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {`Basic realm="r"`}}, Request: httptest.NewRequest("GET", other.server.URL, nil)}
	if step := b.auth.Begin(req).Next(resp); step.Action != Deliver {
		t.Errorf("%+v", step)
	}
}

func TestDispositions(t *testing.T) {
	two := func(w http.ResponseWriter, r *http.Request) {
		if _, p, _ := r.BasicAuth(); p != "p" {
			w.Header().Add("WWW-Authenticate", `Digest realm="strong", nonce="n", qop="auth"`)
			w.Header().Add("WWW-Authenticate", `Basic realm="weak"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	for name, c := range map[string]struct {
		answer      func(Challenge) Answer
		status      int
		code        task.Code
		asked, seen string
	}{
		"default": {func(Challenge) Answer { return Answer{} }, 401, 0, "strong 0", "GET / 0"},
		"cancel":  {func(Challenge) Answer { return Answer{Disposition: Cancel} }, 0, task.UserCancelledAuth, "strong 0", "GET / 0"},
		"reject, then use": {func(c Challenge) Answer {
			if c.Space.Method == Digest {
				return Answer{Disposition: Reject}
			}
			return Answer{Disposition: Use, Credential: alice("p")}
		}, 200, 0, "strong 0, weak 0", "GET / 0, GET / Basic 0"},
		"reject all": {func(Challenge) Answer { return Answer{Disposition: Reject} }, 401, 0, "strong 0, weak 0", "GET / 0"},
		"always wrong": {func(Challenge) Answer { return Answer{Disposition: Use, Credential: alice("x")} }, 401, 0,
			"strong 0, strong 1, strong 2", "GET / 0, GET / Digest 0, GET / Digest 0, GET / Digest 0"},
		"of another kind": {func(Challenge) Answer { return Answer{Disposition: Use, Credential: Credential{Token: NewSecret("t")}} }, 0,
			task.AuthenticationRequired, "strong 0", "GET / 0"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Policy{Tries: 3}, two)
			b.answer = c.answer
			status, err := b.do("GET", b.server.URL, "")
			if status != c.status || task.CodeOf(err) != c.code {
				t.Errorf("%d, %v", status, err)
			}
			var asked []string
			for _, a := range b.asked {
				asked = append(asked, fmt.Sprint(a.Space.Realm, " ", a.Failures))
				if (a.Failures > 0) != (a.Err != nil && a.Proposed != nil && a.Proposed.User == "alice") {
					t.Errorf("%+v", a)
				}
			}
			b.expect(strings.Join(asked, ", "), c.asked)
			b.expect(strings.Join(b.requests, ", "), c.seen)
			if err != nil && strings.Contains(err.Error(), "127.0.0.1") == false {
				t.Errorf("the error does not say who: %v", err)
			}
		})
	}
}

func TestAskFirst(t *testing.T) {
	b := newBench(t, Policy{AskFirst: true}, wants("p", `Basic realm="r"`))
	b.answer = func(c Challenge) Answer { return Answer{Disposition: UseDefault} }
	must(t, b.storage.Set(t.Context(), b.space("r", Basic), alice("p")))
	b.get("/", 200)
	if len(b.asked) != 1 || b.asked[0].Proposed == nil || b.asked[0].Proposed.User != "alice" || b.asked[0].Failures != 0 {
		t.Errorf("asked %+v", b.asked)
	}
}

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
	if s := x.Next(refusal); s.Action != Ask {
		t.Errorf("refused: %+v", s)
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

func TestAnswersAreKept(t *testing.T) {
	for _, keep := range []Persistence{None, Session, Permanent} {
		b := newBench(t, Policy{}, wants("p", `Basic realm="r"`))
		b.answer = func(Challenge) Answer {
			c := alice("p")
			c.Persistence = keep
			return Answer{Disposition: Use, Credential: c}
		}
		b.get("/", 200)
		b.get("/", 200)
		if want := map[bool]int{true: 2, false: 1}[keep == None]; len(b.asked) != want {
			t.Errorf("%v: asked %d times", keep, len(b.asked))
		}
		if all := b.storage.All(); (len(all) == 1 && all[0].Default) != (keep != None) {
			t.Errorf("%v: %v", keep, all)
		}
	}
}

// A server that feigns a strong method gets no password by a weak one after it.
func TestNoDowngrade(t *testing.T) {
	b := newBench(t, Policy{}, func(w http.ResponseWriter, r *http.Request) {
		challenge := `Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256`
		if r.Header.Get("Authorization") != "" {
			challenge = `Basic realm="r"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(401)
	})
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("p")))
	b.expect(b.get("/", 401), "GET / 0, GET / Digest 0")
}

// digestServer is a server of RFC 7616 as a test has it.
type digestServer struct {
	t                    *testing.T
	algorithm, qop, more string
	hash                 func() hash.Hash
	sess                 bool
	stale                int    // nonces that are called stale at their first use
	next                 bool   // nextnonce
	proof                string // in place of rspauth; "": the right one

	mu    sync.Mutex
	count map[string]int // by nonce: the last nc
	a1    string
}

func (s *digestServer) h(parts ...string) string {
	h := s.hash()
	io.WriteString(h, strings.Join(parts, ":"))
	return hex.EncodeToString(h.Sum(nil))
}

func (s *digestServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == nil {
		s.count = map[string]int{}
	}
	challenge := func(stale bool) {
		nonce := rand.Text()
		s.count[nonce], s.a1 = 0, ""
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Digest realm="the \"realm\"", nonce="%s", opaque="o", algorithm=%s, stale=%v%s`, nonce, s.algorithm, stale, s.more))
		if s.qop != "" {
			w.Header().Add("WWW-Authenticate", "Basic realm=x")
			w.Header()["Www-Authenticate"][0] += fmt.Sprintf(", qop=%q", s.qop)
		}
		w.WriteHeader(401)
	}
	offers := ParseOffers(r.Header["Authorization"])
	if len(offers) != 1 {
		challenge(false)
		return
	}
	p := offers[0].Param
	last, known := s.count[p("nonce")]
	if known && s.stale > 0 {
		s.stale--
		known = false
	}
	if !known {
		challenge(true)
		return
	}
	user := "alice"
	if p("userhash") == "true" && p("username") == s.h("alice", `the "realm"`) {
	} else if p("username") != "alice" {
		s.t.Errorf("username %s", p("username"))
	}
	if s.a1 == "" {
		s.a1 = s.h(user, `the "realm"`, "pässword")
		if s.sess {
			s.a1 = s.h(s.a1, p("nonce"), p("cnonce"))
		}
	}
	body, _ := io.ReadAll(r.Body)
	hashed := s.hash()
	hashed.Write(body)
	suffix := ""
	if p("qop") == "auth-int" {
		suffix = ":" + hex.EncodeToString(hashed.Sum(nil))
	}
	respond := func(method string) string {
		a2 := s.h(method + ":" + r.RequestURI + suffix)
		if p("qop") == "" {
			return s.h(s.a1, p("nonce"), a2)
		}
		return s.h(s.a1, p("nonce"), p("nc"), p("cnonce"), p("qop"), a2)
	}
	if s.qop != "" {
		if nc := fmt.Sprintf("%08x", last+1); p("nc") != nc {
			s.t.Errorf("nc is %s, want %s", p("nc"), nc)
		}
	}
	if p("uri") != r.RequestURI || p("opaque") != "o" || p("response") != respond(r.Method) {
		challenge(false)
		return
	}
	s.count[p("nonce")]++
	suffix = ""
	info := fmt.Sprintf(`rspauth="%s", qop=auth`, respond(""))
	if s.proof != "" {
		info = fmt.Sprintf("rspauth=%q", s.proof)
	}
	if s.next {
		nonce := rand.Text()
		s.count[nonce] = 0
		info += fmt.Sprintf(", nextnonce=%q", nonce)
	}
	w.Header().Set("Authentication-Info", info)
}

func TestDigestExchanges(t *testing.T) {
	md5s := func(s *digestServer) *digestServer { s.algorithm, s.hash = "MD5", md5.New; return s }
	for name, c := range map[string]struct {
		server *digestServer
		first  string // seen of a first PUT
		later  string // of a second
	}{
		"MD5":                 {md5s(&digestServer{qop: "auth"}), "PUT /x 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"MD5, auth-int alone": {md5s(&digestServer{qop: "auth-int"}), "PUT /x 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"RFC 2069":            {md5s(&digestServer{}), "PUT /x 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"SHA-256, both": {&digestServer{qop: "auth-int, auth", algorithm: "SHA-256", hash: sha256.New},
			"PUT /x 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"SHA-256-sess, nextnonce": {&digestServer{qop: "auth", algorithm: "SHA-256-sess", hash: sha256.New, sess: true, next: true},
			"PUT /x 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"SHA-512-256, userhash": {&digestServer{qop: "auth", algorithm: "SHA-512-256", hash: sha512.New512_256, more: ", userhash=true, charset=UTF-8"},
			"PUT /x 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"stale": {md5s(&digestServer{qop: "auth", stale: 2}), "PUT /x 4, PUT /x Digest 4, PUT /x Digest 4, PUT /x Digest 4", "PUT /x Digest 4"},
		"always stale": {md5s(&digestServer{qop: "auth", stale: 5}), "PUT /x 4, PUT /x Digest 4, PUT /x Digest 4, PUT /x Digest 4, PUT /x Digest 4",
			"PUT /x 4, PUT /x Digest 4, PUT /x Digest 4"},
		"domain": {md5s(&digestServer{qop: "auth", more: `, domain="/y https://other.example/"`}), "PUT /x 4, PUT /x Digest 4", "PUT /x 4, PUT /x Digest 4"},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.server
			s.t = t
			b := newBench(t, Policy{}, s.ServeHTTP)
			must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("pässword")))
			status := 200
			if name == "always stale" {
				status = 401
			}
			b.expect(b.send("PUT", "/x?q=1", "body", status), c.first)
			b.expect(b.send("PUT", "/x?q=1", "body", 200), c.later)
		})
	}
}

func TestDigestThatTheServerHasForgotten(t *testing.T) {
	s := &digestServer{t: t, qop: "auth", algorithm: "MD5", hash: md5.New}
	b := newBench(t, Policy{Tries: 1}, s.ServeHTTP)
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("pässword")))
	b.get("/", 200)
	s.mu.Lock()
	clear(s.count)
	s.mu.Unlock()
	b.expect(b.get("/", 200), "GET / Digest 0, GET / Digest 0") // which is no refusal of the credential
}

func TestDigestOfAnImpostor(t *testing.T) {
	s := &digestServer{t: t, qop: "auth", algorithm: "MD5", hash: md5.New, proof: strings.Repeat("0", 32)}
	b := newBench(t, Policy{}, s.ServeHTTP)
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("pässword")))
	if _, err := b.do("GET", b.server.URL, ""); !errors.Is(err, task.BadServerResponse) || !strings.Contains(err.Error(), "proven") {
		t.Errorf("got %v", err)
	}
}

func TestDigestAtOnce(t *testing.T) {
	s := &digestServer{t: t, algorithm: "MD5", hash: md5.New} // without qop: its nc may come in any order
	b := newBench(t, Policy{}, s.ServeHTTP)
	b.base.(*http.Transport).MaxConnsPerHost = 0
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("pässword")))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if status, err := b.do("GET", b.server.URL, ""); status != 200 || err != nil {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
	wg.Wait()
}

func TestNTLMOverOneConnection(t *testing.T) {
	for _, scheme := range []string{"NTLM", "Negotiate"} {
		b := newBench(t, Policy{}, nil)
		s := credentialtest.NewServer(credentialtest.NTLM(scheme), nil)
		s.Start()
		t.Cleanup(s.Close)
		b.server = s.Server
		cred := Credential{User: credentialtest.NTLMUser, Password: NewSecret(credentialtest.NTLMPassword), Persistence: Session}
		must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), cred))
		see := func(want string) {
			t.Helper()
			b.send("PUT", "/", "body", 200)
			b.expect(strings.Join(s.Seen(), ", "), want)
		}
		see(fmt.Sprintf("PUT / - 4, PUT / %s 0, PUT / %s 4", scheme, scheme))
		see("PUT / - 4") // the connection is the user's
		b.base.(*http.Transport).CloseIdleConnections()
		see(fmt.Sprintf("PUT / - 4, PUT / %s 0, PUT / %s 4", scheme, scheme))
	}
}

func TestBodyThatCanBeReadOnce(t *testing.T) {
	b := newBench(t, Policy{}, wants("p", `Basic realm="r"`))
	must(t, b.storage.Set(t.Context(), b.space("", AnyMethod), alice("p")))
	req, err := http.NewRequestWithContext(t.Context(), "PUT", b.server.URL, io.NopCloser(strings.NewReader("body")))
	must(t, err)
	if _, err := b.RoundTrip(req); !errors.Is(err, task.BodyStreamExhausted) {
		t.Errorf("got %v", err)
	}
}

func TestBearer(t *testing.T) {
	var refreshes int
	valid := "new"
	policy := Policy{Refresh: func(_ context.Context, s Space, old Credential) (Credential, error) {
		refreshes++
		if old.Token.Reveal() != "old" || s.Realm != "r" {
			return Credential{}, fmt.Errorf("nothing for %v in %v", old, s)
		}
		return Credential{Token: NewSecret("new")}, nil
	}}
	b := newBench(t, policy, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+valid {
			w.Header().Set("WWW-Authenticate", `Bearer realm="r", error="invalid_token", Basic realm="r"`)
			w.WriteHeader(401)
		}
	})
	must(t, b.storage.Set(t.Context(), b.space("r", Bearer), Credential{Token: NewSecret("old"), Persistence: Session}))
	b.expect(b.get("/a", 200), "GET /a 0, GET /a Bearer 0, GET /a Bearer 0")
	b.expect(b.get("/b", 200), "GET /b Bearer 0")
	if c, ok := b.storage.Default(b.space("r", Bearer)); !ok || c.Token.Reveal() != "new" || refreshes != 1 {
		t.Errorf("%v stored after %d refreshes", c, refreshes)
	}
	// Whoever still has the old one gets what was made of it.
	must(t, b.storage.Set(t.Context(), b.space("r", Bearer), Credential{Token: NewSecret("old"), Persistence: Session}))
	b.get("/b", 200)
	if refreshes != 1 {
		t.Errorf("%d refreshes", refreshes)
	}
	valid = "newer"
	b.expect(b.get("/a", 401), "GET /a Bearer 0")
}

func TestProxy(t *testing.T) {
	storage := New()
	proxy, err := url.Parse("http://alice:p@proxy.example:3128")
	must(t, err)
	bare := *proxy
	bare.User = nil
	must(t, storage.Set(t.Context(), Proxy(proxy), alice("q")))
	a := NewAuthenticator(storage, Policy{})
	req := httptest.NewRequest("GET", "http://example.com/x", nil)
	refusal := func(field string, status int) *http.Response {
		return &http.Response{StatusCode: status, Header: http.Header{field: {`Basic realm="r"`}}, Request: req}
	}
	x := a.BeginProxy(proxy, req)
	if v := x.Authorize(); x.Field() != "Proxy-Authorization" || v.Reveal() != "Basic YWxpY2U6cA==" {
		t.Errorf("%s: %s", x.Field(), v.Reveal())
	}
	x = a.BeginProxy(&bare, req)
	if v := x.Authorize(); !v.IsZero() {
		t.Error("unasked")
	}
	if step := x.Next(refusal("Proxy-Authenticate", 407)); step.Action != Send || step.Field != "Proxy-Authorization" || step.Value.Reveal() != "Basic YWxpY2U6cQ==" {
		t.Errorf("%+v", step)
	}
	if step := x.Next(refusal("Www-Authenticate", 401)); step.Action != Deliver { // the origin's: the proxy has let it pass
		t.Errorf("%+v", step)
	}
	if v := a.BeginProxy(&bare, httptest.NewRequest("GET", "http://example.org/", nil)).Authorize(); v.IsZero() {
		t.Error("the proxy is not known for another origin")
	}
	if step := a.Begin(req).Next(refusal("Proxy-Authenticate", 407)); step.Action != Deliver {
		t.Errorf("the origin's exchange: %+v", step)
	}
	if v := a.Begin(req).Authorize(); !v.IsZero() {
		t.Error("the proxy's credential is the origin's")
	}
}
