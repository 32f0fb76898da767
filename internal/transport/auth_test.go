package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/credential/credentialtest"
	"github.com/urlsession/urlsession/internal/task"
)

// gate is a server that wants alice's password, p, by Basic, and says what it has seen.
type gate struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // method, path, scheme, user, length of the body
}

func newGate(t *testing.T, then http.HandlerFunc) *gate {
	t.Helper()
	g := &gate{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		g.mu.Lock()
		g.seen = append(g.seen, fmt.Sprintf("%s %s %q %d", r.Method, r.URL.Path, user, len(body)))
		g.mu.Unlock()
		if user != "alice" || password != "p" {
			w.Header().Set("WWW-Authenticate", `Basic realm="staff"`)
			w.Header().Set("Set-Cookie", "gate=1")
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, "who are you?")
			return
		}
		if then != nil {
			then(w, r)
			return
		}
		io.WriteString(w, "hello")
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gate) has(t *testing.T, want ...string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if got := strings.Join(g.seen, ", "); got != strings.Join(want, ", ") {
		t.Errorf("the server has seen\n%s\nwant\n%s", got, strings.Join(want, ", "))
	}
	g.seen = nil
}

func alice(password string) credential.Credential {
	return credential.Credential{User: "alice", Password: credential.NewSecret(password), Persistence: credential.Session}
}

// knowing is an Authenticator that has a credential for all of the origin of req.
func knowing(t *testing.T, req *http.Request, c credential.Credential) *credential.Authenticator {
	t.Helper()
	s := credential.New()
	if err := s.Set(t.Context(), credential.Origin(req.URL), c); err != nil {
		t.Fatal(err)
	}
	return credential.NewAuthenticator(s, credential.Policy{})
}

// asking is req with somebody to ask.
func asking(req *http.Request, fn Asker) *http.Request {
	return req.WithContext(WithAsker(req.Context(), fn))
}

// put is a PUT of a body of four bytes that can be opened again.
func put(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "PUT", url, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestOriginAsks(t *testing.T) {
	g := newGate(t, nil)
	req := put(t, g.URL+"/a b?q=a b")
	tr := newTransport(t, Options{Authenticator: knowing(t, req, alice("p"))})
	ctx, m := Trace(t.Context(), nil)
	resp, body, err := fetch(tr, req.WithContext(ctx))
	if err != nil || string(body) != "hello" || resp.Request.Header.Get("Authorization") != "" {
		t.Fatalf("%q, %v", body, err)
	}
	g.has(t, `PUT /a b "" 4`, `PUT /a b "alice" 4`)
	if list := m.Transactions(); len(list) != 2 || list[0].Status != 401 || list[1].Status != 200 || !list[1].Reused || list[0].End == 0 {
		t.Errorf("transactions %+v", list)
	}
	fetch(tr, put(t, g.URL+"/again"))
	g.has(t, `PUT /again "alice" 4`) // what it has taken it gets unasked
}

// Whoever is asked takes no connection, may answer more than once, and may keep what the server takes.
func TestAsker(t *testing.T) {
	g := newGate(t, nil)
	var kept []credential.Stored
	tr := newTransport(t, Options{
		MaxConnsPerHost: 1, Authenticator: credential.NewAuthenticator(nil, credential.Policy{}),
		Keep: func(_ context.Context, s credential.Stored) error {
			kept = append(kept, s)
			return errors.New("the disk is full")
		},
	})
	var asked []credential.Challenge
	req := asking(put(t, g.URL+"/"), func(_ context.Context, c credential.Challenge) (credential.Answer, error) {
		if resp, body, err := fetch(tr, get(t, g.URL+"/meanwhile")); err != nil || resp.StatusCode != 401 || string(body) != "who are you?" {
			t.Errorf("another request: %q, %v", body, err)
		}
		asked = append(asked, c)
		return credential.Answer{Disposition: credential.Use, Credential: alice([]string{"q", "p"}[len(asked)-1])}, nil
	})
	if resp, _, err := fetch(tr, req); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	g.has(t, `PUT / "" 4`, `GET /meanwhile "" 0`, `PUT / "alice" 4`, `GET /meanwhile "" 0`, `PUT / "alice" 4`)
	if len(asked) != 2 || asked[1].Failures != 1 || asked[1].Err == nil || asked[0].Space.Realm != "staff" {
		t.Errorf("asked %+v", asked)
	}
	if len(kept) != 1 || kept[0].Space != asked[0].Space || !kept[0].Credential.Equal(alice("p")) {
		t.Errorf("kept %+v", kept)
	}
}

func TestAskerEndsIt(t *testing.T) {
	g := newGate(t, nil)
	tr := newTransport(t, Options{Authenticator: credential.NewAuthenticator(nil, credential.Policy{})})
	parked := errors.New("parked")
	coded := &task.Error{Op: "ask", Code: task.Cancelled}
	for name, c := range map[string]struct {
		answer credential.Answer
		err    error
		code   task.Code
		body   string
	}{
		"its own error":      {err: parked},
		"an error of a task": {err: coded},
		"cancel":             {answer: credential.Answer{Disposition: credential.Cancel}, code: task.UserCancelledAuth},
		"default":            {body: "who are you?"},
		"reject":             {answer: credential.Answer{Disposition: credential.Reject}, body: "who are you?"},
	} {
		req := asking(put(t, g.URL+"/"), func(context.Context, credential.Challenge) (credential.Answer, error) { return c.answer, c.err })
		resp, err := Follow(tr, req, Redirects{})
		switch {
		case c.err != nil:
			if err != c.err {
				t.Errorf("%s: %v", name, err)
			}
		case c.code != 0:
			if e := wantCode(t, err, c.code); !e.Unsent || e.Status != 401 {
				t.Errorf("%s: %+v", name, e)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		default:
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(body) != c.body || resp.StatusCode != 401 || err != nil {
				t.Errorf("%s: %d, %q, %v", name, resp.StatusCode, body, err)
			}
		}
	}
}

// The answer of an earlier attempt goes with the first request: a body is not sent in vain.
func TestAnsweredBefore(t *testing.T) {
	g := newGate(t, nil)
	tr := newTransport(t, Options{Authenticator: credential.NewAuthenticator(nil, credential.Policy{})})
	req := put(t, g.URL+"/")
	space := credential.Origin(req.URL)
	space.Realm, space.Method = "staff", credential.Basic
	answer := credential.Answer{Disposition: credential.Use, Credential: alice("p")}
	elsewhere, wrong := space, credential.Answer{Disposition: credential.Use, Credential: alice("another's")}
	elsewhere.Host = "other.example"
	ctx := WithAnswer(WithAnswer(req.Context(), credential.Challenge{Space: space}, answer), credential.Challenge{Space: elsewhere}, wrong)
	req = req.WithContext(ctx)
	if resp, _, err := fetch(tr, req); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v, %v", resp, err)
	}
	g.has(t, `PUT / "alice" 4`)
}

// Nothing that is known of one origin goes to another, also where a redirect leads from one to the other and back.
func TestRedirectsCarryNoCredential(t *testing.T) {
	var other *gate
	home := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, other.URL+"/other", http.StatusTemporaryRedirect)
		}
	})
	other = newGate(t, nil)
	for name, url := range map[string]string{"stored": home.URL + "/", "userinfo": strings.Replace(home.URL, "//", "//alice:p@", 1) + "/"} {
		req := put(t, url)
		a := credential.NewAuthenticator(nil, credential.Policy{})
		if name == "stored" {
			a = knowing(t, req, alice("p"))
		}
		resp, err := Follow(newTransport(t, Options{Authenticator: a}), req, Redirects{})
		if err != nil || resp.StatusCode != 401 {
			t.Errorf("%s: %v, %v", name, resp, err)
			continue
		}
		resp.Body.Close()
		other.has(t, `PUT /other "" 4`)
	}
}

func TestBodyThatIsSentOnce(t *testing.T) {
	g := newGate(t, nil)
	req := put(t, g.URL+"/")
	req.GetBody = nil
	tr := newTransport(t, Options{Authenticator: knowing(t, req, alice("p"))})
	wantCode(t, second(tr.RoundTrip(req)), task.BodyStreamExhausted)
	req = put(t, g.URL+"/")
	req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("it is gone") }
	e := wantCode(t, second(tr.RoundTrip(req)), task.BodyStreamExhausted)
	if !strings.Contains(e.Error(), "it is gone") {
		t.Error(e)
	}
}

func TestRefusalIsSetAside(t *testing.T) {
	for size, want := range map[int]bool{0: true, 100: true, refusalLimit: true, refusalLimit + 1: false, refusalLimit * 3: false} {
		closed := false
		text := strings.Repeat("x", size)
		resp := &http.Response{ContentLength: -1, Body: aside{strings.NewReader(text), closer(func() { closed = true })}}
		setAside(resp)
		body, err := io.ReadAll(resp.Body)
		if string(body) != text || err != nil || closed != want {
			t.Errorf("%d bytes: %d, %v, closed %v", size, len(body), err, closed)
		}
		resp.Body.Close()
		if !closed {
			t.Errorf("%d bytes: not closed", size)
		}
	}
	resp := &http.Response{ContentLength: 9, Body: io.NopCloser(io.MultiReader(strings.NewReader("cut"), failing{io.ErrUnexpectedEOF}))}
	setAside(resp)
	if body, err := io.ReadAll(resp.Body); string(body) != "cut" || err != io.ErrUnexpectedEOF {
		t.Errorf("%q, %v", body, err)
	}
}

func TestSchemes(t *testing.T) {
	token := credential.Credential{Token: credential.NewSecret("t"), Persistence: credential.Session}
	for name, c := range map[string]struct {
		gate   credentialtest.Gate
		cred   credential.Credential
		scheme string
	}{
		"Basic":              {credentialtest.Basic("alice", "pässword"), alice("pässword"), "Basic"},
		"Digest MD5":         {credentialtest.Digest("MD5", "alice", "p"), alice("p"), "Digest"},
		"Digest SHA-256":     {credentialtest.Digest("SHA-256", "alice", "p"), alice("p"), "Digest"},
		"Digest SHA-512-256": {credentialtest.Digest("SHA-512-256", "alice", "p"), alice("p"), "Digest"},
		"Bearer":             {credentialtest.Bearer("t"), token, "Bearer"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, secure := range []bool{false, true} {
				s := credentialtest.NewServer(c.gate, nil)
				s.EnableHTTP2 = true
				if secure {
					s.StartTLS()
				} else {
					s.Start()
				}
				t.Cleanup(s.Close)
				req := put(t, s.URL+"/a b?q=c d")
				tr := newTransport(t, Options{Authenticator: knowing(t, req, c.cred), TLS: TLS{Insecure: true}})
				if resp, body, err := fetch(tr, req); err != nil || string(body) != "body" {
					t.Fatalf("%v, %q, %v", resp, body, err)
				}
				seen(t, s, "PUT /a%20b?q=c%20d - 4", "PUT /a%20b?q=c%20d "+c.scheme+" 4")
				var wg sync.WaitGroup
				for i := range 64 { // each with a count of its own, where there is one
					wg.Go(func() {
						body := fmt.Sprint("body ", i)
						req, _ := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/", strings.NewReader(body))
						if resp, got, err := fetch(tr, req); err != nil || resp.StatusCode != 200 || string(got) != body {
							t.Errorf("%v, %q, %v", resp, got, err)
						}
					})
				}
				wg.Wait()
				for _, line := range s.Seen() {
					if !strings.HasPrefix(line, "POST / "+c.scheme+" ") {
						t.Errorf("seen %s", line)
					}
				}
				wrong := c.cred
				wrong.Password, wrong.Token = credential.NewSecret("secret"), credential.Secret{}
				wrong.User = "alice"
				tr = newTransport(t, Options{Authenticator: knowing(t, req, wrong), TLS: TLS{Insecure: true}})
				if resp, body, err := fetch(tr, put(t, s.URL+"/")); err != nil || resp.StatusCode != 401 || string(body) != "who are you?" {
					t.Errorf("%v, %q, %v", resp, body, err)
				}
			}
		})
	}
}

// The idle timer stands still while a token is refreshed, which is once for all that wait.
func TestTokenIsRefreshed(t *testing.T) {
	s := start(t, credentialtest.NewServer(credentialtest.Bearer("new"), nil))
	var refreshes, queued atomic.Int32
	known := credential.New()
	if err := known.Set(t.Context(), credential.Origin(get(t, s.URL).URL), credential.Credential{Token: credential.NewSecret("old"), Persistence: credential.Session}); err != nil {
		t.Fatal(err)
	}
	var stands atomic.Int32
	tr := newTransport(t, Options{Authenticator: credential.NewAuthenticator(known, credential.Policy{
		Refresh: func(context.Context, credential.Space, credential.Credential) (credential.Credential, error) {
			refreshes.Add(1)
			stands.Store(queued.Load())
			return credential.Credential{Token: credential.NewSecret("new")}, nil
		},
	})})
	ctx, _ := Trace(t.Context(), activity{func() { queued.Add(1) }, func() { queued.Store(0) }})
	if resp, _, err := fetch(tr, put(t, s.URL+"/").WithContext(ctx)); err != nil || resp.StatusCode != 200 || stands.Load() != 1 {
		t.Errorf("%v, %v, queued %d times", resp, err, stands.Load())
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if resp, _, err := fetch(tr, put(t, s.URL+"/")); err != nil || resp.StatusCode != 200 {
				t.Errorf("%v, %v", resp, err)
			}
		})
	}
	wg.Wait()
	if refreshes.Load() != 1 {
		t.Errorf("%d refreshes", refreshes.Load())
	}
}

// A request that the refresh sends does not wait for the refresh, and is no transaction of the request that does.
func TestRefreshSendsRequests(t *testing.T) {
	s := start(t, credentialtest.NewServer(credentialtest.Bearer("new"), nil))
	known := credential.New()
	if err := known.Set(t.Context(), credential.Origin(get(t, s.URL).URL), credential.Credential{Token: credential.NewSecret("old"), Persistence: credential.Session}); err != nil {
		t.Fatal(err)
	}
	var tr *Transport
	tr = newTransport(t, Options{Authenticator: credential.NewAuthenticator(known, credential.Policy{
		Refresh: func(ctx context.Context, _ credential.Space, _ credential.Credential) (credential.Credential, error) {
			if resp, _, err := fetch(tr, put(t, s.URL+"/token").WithContext(ctx)); err != nil || resp.StatusCode != 401 {
				t.Errorf("the request in between: %v, %v", resp, err)
			}
			return credential.Credential{Token: credential.NewSecret("new")}, nil
		},
	})})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx, m := Trace(ctx, nil)
	if resp, _, err := fetch(tr, put(t, s.URL+"/").WithContext(ctx)); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v, %v", resp, err)
	}
	if list := m.Transactions(); len(list) != 3 {
		t.Errorf("transactions %+v", list)
	}
}

// A cookie that a refusal sets goes with the next sending.
func TestRefusalSetsCookies(t *testing.T) {
	var cookies []string
	g := newGate(t, func(_ http.ResponseWriter, r *http.Request) { cookies = append(cookies, r.Header.Get("Cookie")) })
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	req := put(t, g.URL+"/")
	tr := newTransport(t, Options{Authenticator: knowing(t, req, alice("p")), Jar: jar, SetCookies: true, AcceptPolicy: AcceptAlways})
	if _, _, err := fetch(tr, req); err != nil || fmt.Sprint(cookies) != "[gate=1]" {
		t.Errorf("%q, %v", cookies, err)
	}
}

// Who stands in the URL is said before anybody asks.
func TestUserinfoUnasked(t *testing.T) {
	g := newGate(t, nil)
	tr := newTransport(t, Options{Authenticator: credential.NewAuthenticator(nil, credential.Policy{})})
	req := put(t, strings.Replace(g.URL, "//", "//alice:p@", 1)+"/")
	if resp, _, err := fetch(tr, req); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	g.has(t, `PUT / "alice" 4`)
}
