package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/credential/credentialtest"
	"github.com/urlsession/urlsession/internal/task"
	origin "github.com/urlsession/urlsession/urlsessiontest"
)

// ntlmUser is who an NTLM gate lets through.
func ntlmUser() credential.Credential {
	return credential.Credential{User: credentialtest.NTLMUser, Password: credential.NewSecret(credentialtest.NTLMPassword), Persistence: credential.Session}
}

func start(t *testing.T, s *credentialtest.Server) *credentialtest.Server {
	t.Helper()
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// seen checks what a server has seen since it was asked last.
func seen(t *testing.T, s *credentialtest.Server, want ...string) {
	t.Helper()
	if got := s.Seen(); !slices.Equal(got, want) {
		t.Errorf("the server has seen\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNTLM(t *testing.T) {
	for _, scheme := range []string{"NTLM", "Negotiate"} {
		s := start(t, credentialtest.NewServer(credentialtest.NTLM(scheme), nil))
		req := put(t, s.URL+"/")
		tr := newTransport(t, Options{Authenticator: knowing(t, req, ntlmUser())})
		ask := func(status int, req *http.Request, want ...string) {
			t.Helper()
			resp, _, err := fetch(tr, req)
			if err != nil || resp.StatusCode != status {
				t.Fatalf("%s: %v, %v", scheme, resp, err)
			}
			seen(t, s, want...)
		}
		whole := []string{"PUT / - 4", "PUT / " + scheme + " 0", "PUT / " + scheme + " 4"}
		ask(200, req, whole...)
		ask(200, put(t, s.URL+"/"), "PUT / - 4") // by the connection that is the user's
		ask(200, put(t, s.URL+"/"), "PUT / - 4")
		tr.CloseIdleConnections()
		ask(200, put(t, s.URL+"/"), whole...)
		// What is the user's is for nobody else.
		withUser := put(t, strings.Replace(s.URL, "//", "//bob:secret@", 1)+"/")
		ask(401, withUser, "PUT / Basic 4", "PUT / "+scheme+" 0", "PUT / "+scheme+" 4")
		own := put(t, s.URL+"/")
		own.Header.Set("Authorization", "Mine x")
		ask(401, own, "PUT / Mine 4")
		tr.opts.Authenticator.Forget()
		ask(200, put(t, s.URL+"/"), whole...)
	}
}

// A body goes with the last message alone, also where it asks first, and whoever is refused is asked.
func TestNTLMAsksAgain(t *testing.T) {
	s := start(t, credentialtest.NewServer(credentialtest.NTLM("NTLM"), nil))
	tr := newTransport(t, Options{MaxConnsPerHost: 1, Authenticator: credential.NewAuthenticator(nil, credential.Policy{})})
	wrong := ntlmUser()
	wrong.Password = credential.NewSecret("wrong")
	right := ntlmUser()
	right.Persistence = credential.None
	var failures []int
	do := func() {
		t.Helper()
		req := put(t, s.URL+"/")
		req.Header.Set("Expect", "100-continue")
		asked := 0
		req = asking(req, func(_ context.Context, c credential.Challenge) (credential.Answer, error) {
			l, err := tr.leases.take(t.Context(), credential.Origin(req.URL), as(users{})) // who is asked holds none
			if err != nil {
				t.Error(err)
			}
			tr.leases.give(credential.Origin(req.URL), l)
			failures = append(failures, c.Failures)
			asked++
			return credential.Answer{Disposition: credential.Use, Credential: []credential.Credential{wrong, right}[asked-1]}, nil
		})
		if resp, body, err := fetch(tr, req); err != nil || resp.StatusCode != 200 || string(body) != "body" {
			t.Fatalf("%v, %q, %v", resp, body, err)
		}
	}
	do()
	got := s.Seen()
	if fmt.Sprint(failures) != "[0 1]" || len(got) != 5 || got[4] != "PUT / NTLM 4" || got[1] != "PUT / NTLM 0" || got[3] != "PUT / NTLM 0" {
		t.Errorf("asked %v, seen %q", failures, got)
	}
	do() // what was for one request leaves no connection behind
	if got := s.Seen(); len(got) != 5 {
		t.Errorf("seen %q", got)
	}
}

// Between the messages the connection must stay. Where it does not, all begins anew, and that has an end.
func TestNTLMLosesItsConnection(t *testing.T) {
	var cut atomic.Int32
	var gate credentialtest.Gate = func(r *http.Request, value string) (string, bool) {
		return credentialtest.NTLM("NTLM")(r, value)
	}
	inner := credentialtest.NewServer(gate, nil)
	handler := inner.Config.Handler
	inner.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Authorization"), "NTLM TlRMTVNTUAAB") && cut.Add(-1) >= 0 {
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	})
	s := start(t, inner)
	for times, code := range map[int32]task.Code{2: 0, 100: task.ConnectionLost} {
		cut.Store(times)
		req := put(t, s.URL+"/")
		tr := newTransport(t, Options{Authenticator: knowing(t, req, ntlmUser())})
		resp, _, err := fetch(tr, req)
		if code != 0 {
			if e := wantCode(t, err, code); !e.Unsent {
				t.Errorf("%+v: nothing was looked at", e)
			}
		} else if err != nil || resp.StatusCode != 200 {
			t.Errorf("%v, %v", resp, err)
		}
		if list := s.Seen(); len(list) > 12 {
			t.Errorf("sent %d times", len(list))
		}
	}
}

// Over TLS a server that would have HTTP/2 gets HTTP/1.1 for NTLM.
func TestNTLMOverTLS(t *testing.T) {
	s := credentialtest.NewServer(credentialtest.NTLM("NTLM"), nil)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	req := put(t, s.URL+"/")
	tr := newTransport(t, Options{Authenticator: knowing(t, req, ntlmUser()), TLS: TLS{Insecure: true}})
	ctx, m := Trace(t.Context(), nil)
	if resp, _, err := fetch(tr, req.WithContext(ctx)); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	var protos []string
	for _, x := range m.Transactions() {
		protos = append(protos, x.Proto)
	}
	if fmt.Sprint(protos) != "[HTTP/2.0 HTTP/1.1 HTTP/1.1]" {
		t.Errorf("by %v", protos)
	}
}

// A server that will not have a request by HTTP/2 gets it by HTTP/1.1.
func TestHTTP11Required(t *testing.T) {
	config := serverTLS()
	config.NextProtos = []string{"h2", "http/1.1"}
	addr := serveRaw(t, func(raw net.Conn) {
		c := tls.Server(raw, config)
		defer c.Close()
		if c.Handshake() != nil {
			return
		}
		if c.ConnectionState().NegotiatedProtocol != "h2" {
			if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				body, _ := io.ReadAll(req.Body)
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
			return
		}
		io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
		f := http2.NewFramer(c, bufio.NewReader(c))
		f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if frame.Header().Type == http2.FrameHeaders {
				f.WriteRSTStream(frame.Header().StreamID, http2.ErrCodeHTTP11Required)
			}
		}
	})
	tr := newTransport(t, Options{TLS: TLS{Insecure: true}, Authenticator: credential.NewAuthenticator(nil, credential.Policy{})})
	if resp, body, err := fetch(tr, put(t, "https://"+addr+"/")); err != nil || string(body) != "body" || resp.Proto != "HTTP/1.1" {
		t.Errorf("%q, %v", body, err)
	}
}

// 64 requests at once, twice: none is another's, and the connections that are known are given back, no more than may be.
func TestNTLMAtOnce(t *testing.T) {
	s := start(t, credentialtest.NewServer(credentialtest.NTLM("NTLM"), nil))
	req := put(t, s.URL+"/")
	tr := newTransport(t, Options{Authenticator: knowing(t, req, ntlmUser())})
	round := func() {
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				body := fmt.Sprint("body ", i)
				req, _ := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/", strings.NewReader(body))
				if resp, got, err := fetch(tr, req); err != nil || resp.StatusCode != 200 || string(got) != body {
					t.Errorf("%v, %q, %v", resp, got, err)
				}
			})
		}
		wg.Wait()
	}
	round()
	round()
	tr.leases.mu.Lock()
	defer tr.leases.mu.Unlock()
	for _, o := range tr.leases.origins {
		if o.using != 0 || len(o.slots) != 0 || len(o.idle) == 0 || len(o.idle) > defaultConnsPerHost {
			t.Errorf("%d in use, %d slots, %d idle", o.using, len(o.slots), len(o.idle))
		}
	}
}

func as(u users) func() users { return func() users { return u } }

func TestLeases(t *testing.T) {
	srv := origin.NewServer()
	t.Cleanup(srv.Close)
	srv.Publish("/", origin.Resource{Content: origin.Bytes("hello")})
	tr := newTransport(t, Options{MaxConnsPerHost: 2})
	at := credential.Origin(get(t, srv.URL).URL)
	p := &tr.leases
	take := func() *lease {
		t.Helper()
		l, err := p.take(t.Context(), at, as(users{}))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := fetch(l, get(t, srv.URL+"/")); err != nil {
			t.Fatal(err)
		}
		return l
	}
	give := func(l *lease, u users) { l.users = u; p.give(at, l) }
	a, b := take(), take()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.take(ctx, at, as(users{})); err != context.Canceled {
		t.Errorf("a third: %v", err)
	}
	give(a, users{origin: 1})
	give(b, users{})
	if b.alive() {
		t.Error("one that is nobody's stays open")
	}
	for _, u := range []users{{}, {origin: 2}, {1, 1}} {
		l, err := p.take(t.Context(), at, as(u))
		if err != nil || l == a {
			t.Errorf("one is given to others than its users: %v", err)
		}
		p.give(at, l)
	}
	if l, err := p.take(t.Context(), at, as(users{origin: 1})); l != a || err != nil {
		t.Errorf("it is not given to its user: %v", err)
	}
	give(a, users{origin: 1})
	c, d := take(), take() // the idle one makes room
	if a.alive() {
		t.Error("more are open than may be")
	}
	give(c, users{origin: 1})
	give(d, users{origin: 2})
	p.closeIdle()
	if c.alive() || d.alive() || len(p.origins) != 0 {
		t.Error("idle ones are left")
	}
	e := take()
	srv.Close()
	<-e.newest.Load().readEnded
	give(e, users{origin: 1})
	if len(p.origins) != 0 {
		t.Error("a dead one is kept")
	}
	e.held.Store(true)
	if _, err := e.RoundTrip(get(t, srv.URL+"/")); err != errLost {
		t.Errorf("one that is held is made anew: %v", err)
	}
}

// A connection is as many users' as have proven it for more than one request; whoever has for one only leaves it to nobody.
func TestWhoHasAConnection(t *testing.T) {
	for _, c := range []struct {
		origin, proxy party
		upgraded      bool
		want          users
	}{
		{party{user: 1, proved: true}, party{}, false, users{1, 0}},
		{party{user: 1}, party{user: 2, proved: true}, false, users{1, 2}},
		{party{}, party{user: 2, proved: true}, false, users{0, 2}},
		{party{proved: true}, party{user: 2, proved: true}, false, users{}},
		{party{user: 1, proved: true}, party{proved: true}, false, users{}},
		{party{user: 1, proved: true}, party{}, true, users{}},
	} {
		tr := newTransport(t, Options{})
		l, err := tr.leases.take(t.Context(), credential.Space{}, as(users{}))
		if err != nil {
			t.Fatal(err)
		}
		e := &errand{t: tr, origin: c.origin, proxy: &c.proxy, lease: l}
		resp := &http.Response{Body: http.NoBody}
		if c.upgraded {
			resp.Body = struct {
				io.ReadCloser
				io.Writer
			}{http.NoBody, io.Discard}
		}
		if e.deliver(resp); l.users != c.want || e.lease != nil {
			t.Errorf("%+v: %v", c, l.users)
		}
	}
}

// A response that is not read to its end, or has no body, ends its lease too.
func TestLeaseEndsWithItsResponse(t *testing.T) {
	for name, end := range map[string]func(io.ReadCloser){
		"closed":          func(b io.ReadCloser) { b.Close() },
		"read":            func(b io.ReadCloser) { io.Copy(io.Discard, b) },
		"read and closed": func(b io.ReadCloser) { io.Copy(io.Discard, b); b.Close(); b.Close() },
		"no body":         func(io.ReadCloser) {},
	} {
		s := start(t, credentialtest.NewServer(credentialtest.NTLM("NTLM"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if name == "no body" {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			w.Write(make([]byte, 1<<20))
		})))
		req := get(t, s.URL+"/")
		tr := newTransport(t, Options{MaxConnsPerHost: 1, Authenticator: knowing(t, req, ntlmUser())})
		for range 3 { // the second and third wait for ever where the first has not ended
			resp, err := tr.RoundTrip(get(t, s.URL+"/"))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			end(resp.Body)
		}
	}
}

// A URL that has the name of a code of HTTP/2 in it says nothing of what the server did: a POST is sent once.
func TestCodeInAURL(t *testing.T) {
	var came atomic.Int32
	addr := serveRaw(t, func(c net.Conn) {
		if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.Copy(io.Discard, req.Body)
			came.Add(1)
		}
	})
	tr := newTransport(t, Options{Authenticator: credential.NewAuthenticator(nil, credential.Policy{})})
	req := put(t, "http://"+addr+"/HTTP_1_1_REQUIRED/REFUSED_STREAM")
	req.Method = "POST"
	if e := wantCode(t, second(tr.RoundTrip(req)), task.ConnectionLost); came.Load() != 1 || e.Unsent {
		t.Errorf("sent %d times, unsent %v", came.Load(), e.Unsent)
	}
}
