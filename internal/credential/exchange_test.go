package credential_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// TestTakenLast: of two users whom one server takes at once, the later one's proof is sent from then on.
func TestTakenLast(t *testing.T) {
	a := NewAuthenticator(nil, Policy{})
	request := func() *http.Request { return httptest.NewRequest("GET", "http://h/", nil) }
	answer := func(status int) *http.Response {
		return &http.Response{StatusCode: status, Header: http.Header{"Www-Authenticate": {`Basic realm="r"`}}, Request: request()}
	}
	bob := alice("q")
	bob.User = "bob"
	var under []*Exchange
	for range 2 {
		x := a.Begin(request())
		x.Asks = true
		if x.Authorize(); x.Next(answer(401)).Action != Ask {
			t.Fatal("nobody was asked")
		}
		under = append(under, x)
	}
	for i, c := range []Credential{alice("p"), bob} {
		c.Persistence = Session
		sent := under[i].Answer(Answer{Disposition: Use, Credential: c}).Value
		under[i].Next(answer(200))
		if got := a.Begin(request()).Authorize(); got.IsZero() || !got.Equal(sent) {
			t.Errorf("after %s: %q, want %q", c.User, got.Reveal(), sent.Reveal())
		}
	}
}
