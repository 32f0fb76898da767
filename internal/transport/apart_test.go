package transport

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/credential/credentialtest"
	"github.com/urlsession/urlsession/internal/task"
	origin "github.com/urlsession/urlsession/urlsessiontest"
)

// meeting is a server of HTTP/2, and of HTTP/1.1, whose requests to /meet are answered once as many are there as are to
// meet; the answer is the protocol and which connection it came by.
type meeting struct {
	*httptest.Server
	all     sync.WaitGroup
	conns   sync.WaitGroup // that are open
	open    atomic.Int32
	offers  chan []string
	resumed atomic.Int32 // handshakes that were
}

func newMeeting(t *testing.T) *meeting {
	m := &meeting{offers: make(chan []string, 100)}
	m.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && r.TLS.DidResume {
			m.resumed.Add(1)
		}
		if r.URL.Path == "/meet" {
			m.all.Done()
			m.all.Wait()
		}
		fmt.Fprint(w, r.Proto, " ", r.RemoteAddr)
	}))
	m.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			m.conns.Add(1)
			m.open.Add(1)
		case http.StateClosed:
			m.open.Add(-1)
			m.conns.Done()
		}
	}
	m.TLS, m.EnableHTTP2 = serverTLS(), true
	m.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		m.offers <- slices.Clone(hello.SupportedProtos)
		return nil, nil
	}
	t.Cleanup(m.Close)
	return m
}

// meet sends requests, of which the first are Apart, all at once, and returns the protocols and connections that they came by.
func (m *meeting) meet(t *testing.T, tr *Transport, apart, ordinary int) (answers []string, connections int) {
	t.Helper()
	m.all.Add(apart + ordinary)
	answers = make([]string, apart+ordinary)
	var wg sync.WaitGroup
	for i := range answers {
		req := get(t, m.URL+"/meet")
		if i < apart {
			req = req.WithContext(Apart(req.Context()))
		}
		wg.Go(func() {
			_, body, err := fetch(tr, req)
			if err != nil {
				t.Error(err)
			}
			answers[i] = string(body)
		})
	}
	wg.Wait()
	connections = len(slices.Compact(slices.Sorted(slices.Values(answers))))
	for i := range answers {
		answers[i], _, _ = strings.Cut(answers[i], " ")
	}
	return answers, connections
}

func TestApart(t *testing.T) {
	eachJudge(t, "", trusted(), func(t *testing.T, o TLS) {
		m := newMeeting(t)
		m.StartTLS()
		tr := newTransport(t, Options{TLS: o})
		if _, _, err := fetch(tr, get(t, m.URL+"/")); err != nil { // or those at once would dial each
			t.Fatal(err)
		}
		want := []string{"HTTP/1.1", "HTTP/1.1", "HTTP/2.0", "HTTP/2.0"}
		for range 2 { // again by the same
			if got, n := m.meet(t, tr, 2, 2); !slices.Equal(got, want) || n != 3 {
				t.Errorf("by %v, over %d connections", got, n)
			}
		}
		if n := m.open.Load(); n != 3 {
			t.Errorf("%d connections are open", n)
		}
		var offers []string
		for range len(m.offers) {
			offers = append(offers, strings.Join(<-m.offers, " "))
		}
		slices.Sort(offers)
		if want := []string{"h2 http/1.1", "http/1.1", "http/1.1"}; !slices.Equal(offers, want) {
			t.Errorf("ALPN offers %q", offers)
		}
		for _, pool := range []*http.Transport{tr.base, tr.apart} {
			ctx, trace := Trace(t.Context(), nil)
			if pool == tr.apart {
				ctx = Apart(ctx)
			}
			if _, _, err := fetch(tr, get(t, m.URL+"/").WithContext(ctx)); err != nil || !trace.Transactions()[0].Reused {
				t.Errorf("%+v, %v", trace.Transactions(), err)
			}
		}
		tr.Close()
		m.conns.Wait() // for the server to see it
	})
}

// A further connection resumes the TLS session that the ordinary one began.
func TestApartResumes(t *testing.T) {
	m := newMeeting(t)
	m.TLS.MaxVersion = tls.VersionTLS12 // whose ticket has come with the handshake
	m.StartTLS()
	tr := newTransport(t, Options{TLS: trusted()})
	for _, apart := range []int{0, 1} {
		m.meet(t, tr, apart, 1-apart)
	}
	if n := m.resumed.Load(); n != 1 {
		t.Errorf("%d were resumed", n)
	}
}

// Over http the ordinary connections are as good: a kept one is used.
func TestApartWithoutTLS(t *testing.T) {
	m := newMeeting(t)
	m.Start()
	tr := newTransport(t, Options{})
	for _, apart := range []int{0, 1, 0} {
		m.meet(t, tr, apart, 1-apart)
	}
	if n := m.open.Load(); n != 1 {
		t.Errorf("%d connections are open", n)
	}
	if got, n := m.meet(t, tr, 2, 1); n != 3 {
		t.Errorf("by %v, over %d connections", got, n)
	}
}

// Of those Apart no more are open than may be, whatever others are, and an idle one keeps none from going on.
func TestApartAtMost(t *testing.T) {
	m := newMeeting(t)
	m.StartTLS()
	tr := newTransport(t, Options{MaxConnsPerHost: 2, TLS: trusted()})
	m.meet(t, tr, 2, 1)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			req := get(t, m.URL+"/")
			if _, _, err := fetch(tr, req.WithContext(Apart(req.Context()))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := m.open.Load(); n != 3 {
		t.Errorf("%d connections are open", n)
	}
}

// Pins, cookies, credentials, proxies and codes are those of any request.
func TestApartHasTheRest(t *testing.T) {
	proxy := origin.NewProxy()
	t.Cleanup(proxy.Close)
	s := credentialtest.NewServer(credentialtest.Basic("alice", "p"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "sent", Value: "1"})
		io.WriteString(w, r.Proto+" "+r.Header.Get("Cookie"))
	}))
	s.EnableHTTP2, s.TLS = true, serverTLS()
	s.StartTLS()
	t.Cleanup(s.Close)
	jar, _ := cookiejar.New(nil)
	req := get(t, s.URL+"/")
	req = req.WithContext(Apart(req.Context()))
	o := Options{
		Jar: jar, SetCookies: true, AcceptPolicy: AcceptAlways, Proxy: Proxy{URL: proxy.URL}, TLS: trusted(),
		Authenticator: knowing(t, req, alice("p")),
	}
	tr := newTransport(t, o)
	for _, cookies := range []string{"", "sent=1"} {
		if _, body, err := fetch(tr, req); err != nil || string(body) != "HTTP/1.1 "+cookies {
			t.Errorf("%q, %v", body, err)
		}
	}
	if n := len(proxy.Requests()); n != 1 {
		t.Errorf("the proxy has made %d tunnels", n)
	}
	o.TLS.Pins = map[string][]string{"*": {"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}
	wantCode(t, second(newTransport(t, o).RoundTrip(req)), task.CertificateUntrusted)
}

// NTLM leases a connection all the same, and what is Apart beside it is nobody's.
func TestApartWithNTLM(t *testing.T) {
	s := credentialtest.NewServer(credentialtest.NTLM("NTLM"), nil)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	first := put(t, s.URL+"/")
	tr := newTransport(t, Options{Authenticator: knowing(t, first, ntlmUser()), TLS: TLS{Insecure: true}})
	for i, want := range [][]string{{"PUT / - 4", "PUT / NTLM 0", "PUT / NTLM 4"}, {"PUT / - 4"}} { // the second is known
		req := put(t, s.URL+"/")
		if resp, _, err := fetch(tr, req.WithContext(Apart(req.Context()))); err != nil || resp.StatusCode != 200 || resp.Proto != "HTTP/1.1" {
			t.Fatalf("%d: %v, %v", i, resp, err)
		}
		seen(t, s, want...)
	}
	anonymous := newTransport(t, Options{Authenticator: credential.NewAuthenticator(nil, credential.Policy{}), TLS: TLS{Insecure: true}})
	req := get(t, s.URL+"/")
	if resp, _, err := fetch(anonymous, req.WithContext(Apart(req.Context()))); err != nil || resp.StatusCode != 401 {
		t.Errorf("%v, %v", resp, err)
	}
	if list := tr.leases.origins[credential.Origin(req.URL)]; list == nil || list.using != 0 || len(list.idle) != 1 {
		t.Errorf("leases: %+v", list)
	}
}
